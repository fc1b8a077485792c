from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from homeostat.pipelines.models.splits import split_by_time

START = datetime(2020, 1, 1, tzinfo=UTC)


def frame_of(hours: list[int]) -> pl.DataFrame:
    times = [START + timedelta(hours=hour) for hour in hours]
    return pl.DataFrame({"event_at": times}, schema={"event_at": pl.Datetime("us", "UTC")})


@given(st.lists(st.integers(0, 40), min_size=0, max_size=120))
def test_parts_hold_every_row_once_in_time_order(hours: list[int]) -> None:
    frame = frame_of(hours)
    parts = split_by_time(frame)
    joined = np.concatenate(parts)
    assert sorted(joined.tolist()) == list(range(len(hours)))
    assert frame["event_at"].gather(joined).is_sorted()


@given(st.lists(st.integers(0, 40), min_size=3, max_size=120).filter(lambda hours: len(set(hours)) >= 3))
def test_equal_times_stay_together_and_no_part_is_empty(hours: list[int]) -> None:
    frame = frame_of(hours)
    times = [set(frame["event_at"].gather(part)) for part in split_by_time(frame)]
    assert all(times)
    assert not times[0] & times[1] and not times[1] & times[2] and not times[0] & times[2]


def test_shares_are_kept_where_times_are_distinct() -> None:
    assert [len(part) for part in split_by_time(100)] == [70, 15, 15]
    assert [len(part) for part in split_by_time(frame_of(list(range(100))), (0.8, 0.2))] == [80, 20]
