"""Durations and instants: read and written the same way everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.durations import format_duration, instant, parse_duration

WHOLE_SECONDS = st.integers(0, 10**9).map(lambda seconds: timedelta(seconds=seconds))
OFFSETS = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2200, 1, 1), timezones=OFFSETS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", timedelta(minutes=90)),
        (" 7 d ", timedelta(days=7)),
        ("0s", timedelta(0)),
        ("2w", timedelta(days=14)),
        (timedelta(hours=3), timedelta(hours=3)),
    ],
)
def test_a_duration_is_a_whole_number_and_a_unit(text: str | timedelta, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "1 day", "7D", "1d2h", "٣d x", 7, None, True])
def test_anything_else_is_told_with_what_came_and_what_was_expected(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a whole number and s, m, h, d or w, as in '7d'"):
        parse_duration(text)  # type: ignore[arg-type]


def test_a_duration_past_all_measure_is_told_so() -> None:
    with pytest.raises(ValueError, match="longer than a duration can be"):
        parse_duration("9" * 20 + "w")


@given(WHOLE_SECONDS)
def test_a_duration_written_is_read_as_itself(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@given(MOMENTS)
def test_an_instant_written_is_read_as_itself_in_utc(at: datetime) -> None:
    assert datetime.fromisoformat(instant(at)) == at
    assert instant(at) == instant(at.astimezone(UTC))
    assert instant(at).endswith("Z")


@given(MOMENTS, MOMENTS)
def test_instants_to_the_second_sort_as_text(one: datetime, other: datetime) -> None:
    one, other = one.replace(microsecond=0), other.replace(microsecond=0)
    assert (instant(one) < instant(other)) == (one < other)
