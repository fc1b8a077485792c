"""A feed is missed when its gap exceeds every gap before by a margin, and never by its own rhythm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.monitoring.supply import ENOUGH, LEAST_TICKS, MARGIN, find_lag, find_silence

T0 = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def days(*numbers: float) -> list[datetime]:
    return [T0 + number * DAY for number in numbers]


WORKDAYS = [day for day in range(60) if day % 7 < 5]


@pytest.mark.parametrize(
    ("arrivals", "told_on"),
    [
        (range(20), 22),  # every day, until day 19: told after three ticks
        (WORKDAYS, 66),  # a weekend is 3 days without rows: told once 6 have passed, WORKDAYS[-1] is 59
        (range(0, 70, 7), 78),  # every week
        (range(5), 4 + 11),  # too few to know a rhythm: after `patience`
    ],
)
def test_a_silence_is_told_at_the_first_tick_that_exceeds_every_gap_by_the_margin(arrivals, told_on):
    came = days(*arrivals)
    ticks = [day for day in range(int((came[-1] - T0) / DAY), 120) if find_silence(came, T0 + day * DAY, DAY, 10 * DAY)]
    assert ticks[0] == told_on and ticks == list(range(told_on, 120))


def test_a_silence_says_since_when_and_what_was_usual():
    silence = find_silence(days(*range(12)), T0 + 20 * DAY, DAY, 10 * DAY)
    assert silence is not None
    assert (silence.since, silence.lasted, silence.longest) == (T0 + 11 * DAY, 9 * DAY, DAY)


def test_a_gap_of_rows_that_comes_back_as_a_gap_of_labels_is_no_silence():
    labels, rows = days(*range(30, 50)), days(*range(12), *range(20, 55))
    assert find_silence(labels, T0 + 54 * DAY, DAY, DAY) is not None
    assert find_silence(labels, T0 + 54 * DAY, DAY, DAY, cause=rows) is None


@given(
    st.lists(st.integers(1, 50), min_size=ENOUGH, max_size=40),
    st.integers(0, 200),
)
def test_a_gap_within_the_margin_of_one_seen_is_never_told(gaps, waited):
    came = [T0]
    for gap in gaps:
        came.append(came[-1] + gap * DAY)
    silence = find_silence(came, came[-1] + waited * DAY, DAY, DAY)
    assert (silence is not None) == (waited > MARGIN * max(gaps) and waited >= LEAST_TICKS)


def test_rows_that_begin_to_come_late_are_told_as_long_as_they_do():
    on_time = [(T0 + day * DAY, T0 + (day - 0.1) * DAY) for day in range(15)]
    late = [(T0 + day * DAY, T0 + (day - 5) * DAY) for day in range(20, 24)]
    assert find_lag(on_time, DAY) is None
    for end in range(1, 5):
        lag = find_lag([*on_time, *late[:end]], DAY)
        assert lag is not None and lag.since == T0 + 20 * DAY and lag.delay == 5 * DAY
    assert find_lag([*on_time, *late, (T0 + 24 * DAY, T0 + 23.9 * DAY)], DAY) is None


def test_a_straggler_among_rows_on_time_is_not_a_late_feed():
    came = [(T0 + day * DAY, T0 + (day - 0.1) * DAY) for day in range(15)]
    assert find_lag([*came, (T0 + 15 * DAY, T0 + 2 * DAY)], DAY) is None


def test_events_that_lie_ahead_say_nothing_of_delay():
    booked = [(T0 + day * DAY, T0 + (day + 200 - 3 * day) * DAY) for day in range(40)]
    assert find_lag(booked, DAY) is None
