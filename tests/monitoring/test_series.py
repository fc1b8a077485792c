"""The loop over time as series: nothing that matters is lost, however many ticks are one point."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.monitoring.report.decisions import mark_of
from homeostat.monitoring.report.series import MARKS_LIMIT, build_series
from homeostat.store.narrow import Gist, Point

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def point(hour: int, realized: float | None = 0.7, status: str = "final", rows: int = 10, labels: int = 10) -> Point:
    """A window of one hour."""
    bounds = (0.5, 0.9) if status == "provisional" else (None, None)
    return Point(START + hour * HOUR, rows, labels, status, "auc", realized, *bounds, 0.7, 0.6, 0.8, 1)


def gist(hour: int, stage: str, kind: str, step: str | None = None) -> Gist:
    """A decision at an hour."""
    return Gist(START + hour * HOUR, stage, kind, ["it pays"], 2, step)


STATUSES = st.sampled_from(["final", "provisional"])
KNOWN = st.tuples(st.floats(0, 1), STATUSES, st.integers(1, 50), st.integers(0, 50))
WINDOWS = st.lists(st.none() | KNOWN, max_size=60).map(
    lambda each: [
        point(i, None, "unknown", 10, 0) if w is None else point(i, w[0], w[1], w[2] + w[3], w[2])
        for i, w in enumerate(each)
    ]
)
SHARES = st.lists(st.none() | st.floats(0, 1), max_size=60).map(
    lambda each: [(START + i * HOUR, share, "stable") for i, share in enumerate(each)]
)


def test_few_ticks_stand_as_they_are() -> None:
    told = build_series([point(0, 0.7), point(1, 0.8, "provisional"), point(2, None, "unknown", labels=0)])
    assert told["per"] == 1
    assert told["realized"] == [0.7, 0.8, None]
    assert told["status"] == ["final", "provisional", "unknown"]
    assert (told["low"], told["high"]) == ([None, 0.5, None], [None, 0.9, None])
    assert told["coverage"] == [1.0, 1.0, 0.0]


def test_many_ticks_become_one_point_that_is_no_surer_than_the_least_sure_of_them() -> None:
    points = [point(0, 0.6, labels=30, rows=30), point(1, 0.9, "provisional", labels=10), point(2, 0.8), point(3, 0.8)]
    told = build_series(points, limit=2)
    assert (told["per"], told["ticks"]) == (2, 4)
    assert told["realized"] == [0.675, 0.8]
    assert (told["lowest"], told["highest"]) == ([0.6, 0.8], [0.9, 0.8])
    assert told["status"] == ["provisional", "final"]


@pytest.mark.parametrize(
    ("stage", "kind", "step", "mark"),
    [
        ("alarm", "alarm", None, "alarm"),
        ("alarm", "quiet", None, None),
        ("retraining", "retrain", None, "retraining"),
        ("retraining", "refresh", None, "step"),
        ("promotion", "promote", None, "promotion"),
        ("promotion", "promote", "refresh", None),
        ("promotion", "refuse", None, "refusal"),
        ("rollback", "rollback", None, "rollback"),
        ("validation", "hold", None, None),
    ],
)
def test_what_changed_the_loop_is_marked_and_a_small_step_once(
    stage: str, kind: str, step: str | None, mark: str | None
) -> None:
    assert mark_of(stage, kind, step) == mark


@given(WINDOWS, SHARES, st.integers(1, 30))
def test_series_are_of_one_length_within_the_limit_and_in_order(
    points: list[Point], shares: list[tuple[datetime, float | None, str]], limit: int
) -> None:
    told = build_series(points, shares, limit=limit)
    lengths = {len(told[name]) for name in ("at", "realized", "estimated", "coverage", "status", "drift", "low")}
    assert lengths == {len(told["at"])} and len(told["at"]) <= limit
    assert told["at"] == sorted(set(told["at"]))


@given(WINDOWS, SHARES, st.integers(1, 30))
def test_no_extreme_is_smoothed_away_and_a_mean_lies_between_them(
    points: list[Point], shares: list[tuple[datetime, float | None, str]], limit: int
) -> None:
    told = build_series(points, shares, limit=limit)
    known = [p.realized for p in points if p.realized is not None]
    assert max((v for v in told["highest"] if v is not None), default=0) == pytest.approx(
        max(known, default=0), rel=1e-5
    )
    assert min((v for v in told["lowest"] if v is not None), default=1) == pytest.approx(
        min(known, default=1), rel=1e-5
    )
    for low, mean, high in zip(told["lowest"], told["realized"], told["highest"], strict=True):
        assert (low is None) == (mean is None) == (high is None)
        assert mean is None or low - 1e-5 <= mean <= high + 1e-5
    moved = [share for _, share, _ in shares if share is not None]
    assert max((v for v in told["drift"] if v is not None), default=0) == pytest.approx(max(moved, default=0), rel=1e-5)


@given(WINDOWS, st.integers(1, 30))
def test_a_point_is_final_only_where_all_that_is_known_is(points: list[Point], limit: int) -> None:
    told = build_series(points, limit=limit)
    assert [s == "unknown" for s in told["status"]] == [v is None for v in told["realized"]]
    surely = sum(s == "final" for s in told["status"])
    final = [all(p.status == "final" for p in part) for part in chunks(points, told["per"])]
    assert surely == sum(final)


def chunks(points: list[Point], size: int) -> list[list[Point]]:
    """What of each point is known, so many windows at a time; a point of which nothing is known is left out."""
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [known for part in parts if (known := [p for p in part if p.realized is not None])]


@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from(["promote", "refuse"])), unique=True, max_size=600))
def test_no_mark_is_lost_however_many_fall_together(marked: list[tuple[int, str]]) -> None:
    points = [point(hour) for hour in range(500)]
    told = build_series(points, gists=[gist(hour, "promotion", kind) for hour, kind in marked], limit=50)
    assert sum(mark[3] for mark in told["marks"]) == len(marked)
    assert len(told["marks"]) <= max(MARKS_LIMIT, 2 * 50)
    assert [mark[0] for mark in told["marks"]] == sorted(mark[0] for mark in told["marks"])


def test_an_empty_loop_gives_empty_series() -> None:
    told = build_series([])
    assert (told["at"], told["marks"], told["per"], told["ticks"]) == ([], [], 1, 0)
