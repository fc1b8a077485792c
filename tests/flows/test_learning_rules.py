"""What a step of learning is made of: the rows kept apart, the plans, and the comparison."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.flows.learning.rules import SPARE, compare_scores, kept_apart, list_plans, mean_losses, share_apart
from homeostat.losses import MAX_LOSS
from homeostat.project import Project, Task

KEYS = st.lists(st.integers(0, 10**6), unique=True, max_size=80)
SHARES = st.floats(0.01, 0.5)


def project(task: str = "binary", **sections: Any) -> Project:
    raw: dict[str, Any] = {"folder": Path("p"), "project": {"name": "p", "task": task}}
    raw |= {"data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]}}
    return Project.model_validate(raw | {"loop": {"tick": "1d", "start": datetime(2020, 1, 7, tzinfo=UTC)}} | sections)


def chosen(keys: list[int], share: float) -> set[int]:
    apart = kept_apart(pl.Series("id", keys, dtype=pl.Int64), share)
    assert apart.dtype == bool and apart.shape == (len(keys),)
    return {key for key, kept in zip(keys, apart, strict=True) if kept}


@given(KEYS, SHARES)
def test_the_same_rows_are_kept_apart_whatever_others_there_are(keys: list[int], share: float) -> None:
    found = chosen(keys, share)
    assert found == chosen(keys[::-1], share) == chosen(sorted(keys), share)
    assert found & set(keys[::2]) == chosen(keys[::2], share)


@given(KEYS, SHARES, SHARES)
def test_a_larger_share_keeps_what_a_smaller_one_does(keys: list[int], one: float, other: float) -> None:
    assert chosen(keys, min(one, other)) <= chosen(keys, max(one, other))


@given(KEYS)
def test_nothing_but_the_keys_decides_not_even_their_type(keys: list[int]) -> None:
    as_text = kept_apart(pl.Series("other", [str(key) for key in keys], dtype=pl.String), 0.3)
    assert as_text.tolist() == kept_apart(pl.Series("id", keys, dtype=pl.Int64), 0.3).tolist()


def test_keys_in_a_row_are_drawn_as_if_by_lot() -> None:
    apart = kept_apart(pl.Series(range(10_000)), 0.3)
    parts = apart.reshape(10, 1000).mean(axis=1)
    assert all(0.25 < part < 0.35 for part in parts)


@given(st.integers(0, 10**5), st.floats(0.01, 0.5), st.integers(1, 1000))
def test_more_is_kept_apart_where_there_is_little_and_never_more_than_half(
    labels: int, share: float, least: int
) -> None:
    found = share_apart(project(gates={"fresh_share": share, "min_rows": least}), labels)
    assert share <= found <= 0.5
    assert found >= share_apart(project(gates={"fresh_share": share, "min_rows": least}), labels + 100)
    if found < 0.5:
        assert math.ceil(found * labels) >= SPARE * least


def chances(*scores: float) -> pl.DataFrame:
    return pl.DataFrame({"prediction": ["1" if s >= 0.5 else "0" for s in scores], "score": scores})


def numbers(*values: float) -> pl.DataFrame:
    return pl.DataFrame({"prediction": values})


def compare(task: Task, labels: pl.Series, old: pl.DataFrame, new: pl.DataFrame) -> Any:
    positive = "1" if task is Task.BINARY else None
    return compare_scores(task, labels, champion=(3, old), challenger=(4, new), batches=("b",), positive=positive)


TRUTH = pl.Series(["1", "0", "1", "0"])
GOOD, POOR = chances(0.9, 0.1, 0.8, 0.3), chances(0.6, 0.4, 0.4, 0.5)


def test_who_says_the_truth_more_surely_gains_and_the_other_loses_as_much() -> None:
    made, back = compare(Task.BINARY, TRUTH, POOR, GOOD), compare(Task.BINARY, TRUTH, GOOD, POOR)
    saved = np.log([0.9 / 0.6, 0.9 / 0.6, 0.8 / 0.4, 0.7 / 0.5])
    assert made.gain == pytest.approx(saved.mean()) and made.gain_error == pytest.approx(saved.std(ddof=1) / 2)
    assert back.gain == -made.gain and back.gain_error == made.gain_error
    assert (made.champion, made.challenger, made.rows, made.batches) == (3, 4, 4, ("b",))
    assert made.challenger_metrics["accuracy"] == 1 and made.champion_metrics["accuracy"] == 0.5
    same = compare(Task.BINARY, TRUTH, GOOD, GOOD)
    assert (same.gain, same.gain_error) == (0, 0)


def test_one_row_has_a_gain_and_no_error_and_no_row_is_worth_more_than_the_largest_loss() -> None:
    made = compare(Task.BINARY, TRUTH[:1], chances(0.0), chances(1.0))
    assert made.gain == pytest.approx(MAX_LOSS) and made.gain_error == 0


VALUES = st.lists(st.tuples(*[st.floats(-100, 100)] * 3), min_size=2, max_size=20)


@given(VALUES, st.sampled_from([0.001, 1000.0]))
def test_the_gain_of_a_regression_does_not_depend_on_the_unit_of_its_target(
    rows: list[tuple[float, float, float]], unit: float
) -> None:
    truth, old, new = (np.array(column) for column in zip(*rows, strict=True))
    if np.mean((truth - old) ** 2) * min(unit, 1) ** 2 < 1e-9:
        return
    made = compare(Task.REGRESSION, pl.Series(truth), numbers(*old), numbers(*new))
    other = compare(Task.REGRESSION, pl.Series(truth * unit), numbers(*old * unit), numbers(*new * unit))
    assert made.gain == pytest.approx(other.gain, rel=1e-6, abs=1e-6)


def test_a_regression_counts_in_halves_of_the_champions_squared_error() -> None:
    truth = pl.Series([0.0, 0.0, 0.0, 0.0])
    worse, perfect = numbers(2, -2, 2, -2), numbers(0, 0, 0, 0)
    assert compare(Task.REGRESSION, truth, worse, perfect).gain == pytest.approx(0.5)
    assert compare(Task.REGRESSION, truth, perfect, worse).gain == -MAX_LOSS
    assert compare(Task.REGRESSION, truth, worse, numbers(4, 4, 4, 4)).gain == pytest.approx(-1.5)


def test_members_are_weighed_in_units_of_what_they_are_together() -> None:
    truth, together = pl.Series([0.0, 0.0]), numbers(2, -2)
    alone = {"near": numbers(0, 0), "far": numbers(4, 4)}
    found = mean_losses(Task.REGRESSION, truth, together, alone, None)
    assert found == pytest.approx({"near": 0, "far": 2})
    found = mean_losses(Task.BINARY, TRUTH, GOOD, {"good": GOOD, "poor": POOR}, "1")
    assert found["good"] == pytest.approx(-np.log([0.9, 0.9, 0.8, 0.7]).mean()) and found["poor"] > found["good"]


BOOSTED = {"name": "first", "family": "xgboost", "rounds": 40}
SMALL_STEPS = ["recalibrate", "refresh", "refresh"]
PLANS: dict[str, tuple[list[str], int, bool, float]] = {
    "few labels more": (SMALL_STEPS, 1499, False, 30),
    "half as many more": ([*SMALL_STEPS, "retrain"], 1500, False, 30),
    "half as many more, but nothing is free": (SMALL_STEPS, 1999, False, 0),
    "the labels have doubled": ([*SMALL_STEPS, "retrain"], 2000, False, 0),
    "an alarm, and half as many more": ([*SMALL_STEPS, "retrain"], 1500, True, 0),
    "an alarm, and fewer": (SMALL_STEPS, 1499, True, 0),
}


def manifest_of(members: int, rounds: int = 40) -> dict[str, Any]:
    return {"members": [BOOSTED | {"rounds": rounds}] * members, "features": ["x"], "classes": ["0", "1"]}


@pytest.mark.parametrize(("kinds", "labels", "alarmed", "seconds"), PLANS.values(), ids=PLANS)
def test_which_plans_there_are(kinds: list[str], labels: int, alarmed: bool, seconds: float) -> None:
    given = project(retraining={"free_seconds": seconds})
    plans = list_plans(given, manifest=manifest_of(2), whole=1000, labels=labels, rows_a_tick=50, alarmed=alarmed)
    assert [plan.kind for plan in plans] == kinds
    weights, short, windows = plans[:3]
    assert (weights.members, weights.row_rounds, weights.seconds, short.growth) == ((), 0, 0, 0)
    assert short.members == ("continued", "recent", "newest", "linear_recent")
    assert short.row_rounds == 400 * 10 + 400 * 20 + 150 * 12 + 400 * 10
    assert set(windows.members) - set(short.members) == {"growing", "long"}
    assert windows.row_rounds == short.row_rounds + labels * 4 + min(labels, 1600) * 10
    assert 0 < short.seconds < windows.seconds
    if len(plans) == 4:
        assert set(plans[3].members) > set(windows.members) and plans[3].growth > 0
        assert plans[3].row_rounds == windows.row_rounds + labels * (40 + 10)


def test_a_first_model_that_needed_many_rounds_has_members_with_many() -> None:
    few, many = (
        list_plans(project(), manifest=manifest_of(2, rounds), whole=1, labels=900, rows_a_tick=50, alarmed=False)[-1]
        for rounds in (10, 120)
    )
    assert few.row_rounds < many.row_rounds < 4 * few.row_rounds and few.seconds < many.seconds


def test_a_window_costs_no_more_than_the_labels_there_are() -> None:
    short, _ = list_plans(project(), manifest=manifest_of(1), whole=1000, labels=50, rows_a_tick=100, alarmed=False)
    assert short.row_rounds == 50 * (10 + 20 + 12 + 10)
