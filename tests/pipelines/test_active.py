"""Rows that are worth a label: unsure, seen differently, new, and not all alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.pipelines.labels.active import choose_rows, disagreement, uncertainty, unusualness


def chances(rows: int, classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), rows)


@given(st.integers(1, 6), st.integers(0, 99))
def test_uncertainty_is_in_0_to_1_and_the_same_whatever_the_classes_are_called(classes: int, seed: int) -> None:
    scores = chances(20, classes, seed)
    made = uncertainty(scores)
    assert made.min() >= 0 and made.max() <= 1
    assert (uncertainty(scores[:, ::-1]) == made).all()


def test_the_closer_the_two_best_the_less_sure() -> None:
    scores = np.array([[1, 0, 0], [0.6, 0.3, 0.1], [0.4, 0.35, 0.25], [0.5, 0.5, 0], [np.nan] * 3])
    assert uncertainty(scores) == pytest.approx([0, 0.7, 0.95, 1, 1])
    assert uncertainty(np.ones((2, 1))).tolist() == [0, 0]


@given(st.integers(0, 99))
def test_disagreement_is_a_distance(seed: int) -> None:
    one, two, three = (chances(10, 3, seed + i) for i in range(3))
    assert (disagreement(one, two) == disagreement(two, one)).all() and disagreement(one, one).max() == 0
    assert (disagreement(one, three) <= disagreement(one, two) + disagreement(two, three) + 1e-12).all()
    assert disagreement(np.eye(3), np.roll(np.eye(3), 1, axis=0)) == pytest.approx([1, 1, 1])


def frames(shift: float = 0.0, share: float = 0.0) -> tuple[pl.DataFrame, pl.DataFrame]:
    draw = np.random.default_rng(0)
    before = pl.DataFrame({"x": draw.normal(size=4000), "c": draw.choice(["a", "b"], 4000)})
    moved = draw.random(4000) < share
    x = draw.normal(size=4000) + np.where(moved, shift, 0)
    now = pl.DataFrame({"x": x, "c": np.where(moved, "new", draw.choice(["a", "b"], 4000))})
    return before, now.with_columns(moved=pl.Series(moved))


def test_where_nothing_changed_nothing_is_unusual_and_what_is_new_stands_out() -> None:
    before, now = frames()
    assert np.quantile(unusualness(before, now, ["x", "c"]), 0.99) < 0.1
    before, now = frames(6.0, 0.1)
    made, moved = unusualness(before, now, ["x", "c"]), now["moved"].to_numpy()
    assert made[moved].min() > 0.45 and made[moved].mean() > 0.9 and made[~moved].mean() < 0.1
    assert made.min() >= 0 and made.max() <= 1


def test_values_of_the_range_that_come_more_often_are_unusual_by_the_share_that_is_new() -> None:
    before = pl.DataFrame({"x": np.arange(1000.0)})
    now = pl.DataFrame({"x": np.concatenate([np.arange(1000.0), np.full(1000, 50.0)])})
    made = unusualness(before, now, ["x"])
    assert made[-1] == pytest.approx(1 - 0.1 / (1100 / 2000), abs=0.01) and made[500] == 0


def test_nulls_are_a_bin_of_their_own() -> None:
    before = pl.DataFrame({"x": [float(i) for i in range(100)], "c": ["a"] * 100})
    now = pl.DataFrame({"x": [None] * 50 + [float(i) for i in range(50)], "c": [None] * 50 + ["a"] * 50})
    for name in ("x", "c"):
        made = unusualness(before, now, [name])
        assert made[0] > 0.9 and made[-1] == 0
    assert unusualness(now, now, ["x", "c"]).max() == 0


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"x": [1.0, 2.0]}, {"x": ["1", "2"]}),
        ({"x": [None, None]}, {"x": [1.0, None]}),
        ({"x": [3.0, 3.0]}, {"x": [3.0, 4.0]}),
        ({"x": [True, False]}, {"x": [True, None]}),
        ({"y": [1.0]}, {"x": [1.0]}),
        ({"x": []}, {"x": [1.0]}),
        ({"x": [1.0]}, {"x": []}),
        ({"x": [float("nan"), 1.0]}, {"x": [float("inf"), float("nan")]}),
    ],
)
def test_odd_columns_are_borne(before: dict[str, Any], now: dict[str, Any]) -> None:
    current = pl.DataFrame(now)
    made = unusualness(pl.DataFrame(before), current, ["x"])
    assert made.shape == (current.height,) and np.isfinite(made).all() and (made >= 0).all() and (made <= 1).all()


def pool(rows: int = 400) -> tuple[pl.DataFrame, np.ndarray, list[str]]:
    draw = np.random.default_rng(3)
    frame = pl.DataFrame({"x": draw.normal(size=rows), "c": draw.choice(["a", "b", "c"], rows), "z": [None] * rows})
    return frame, draw.random(rows).round(1), [f"k{i}" for i in range(rows)]


@pytest.mark.parametrize("wanted", [-1, 0, 1, 7, 60, 399, 400, 450])
def test_as_many_rows_are_chosen_as_are_wanted_each_once_in_order(wanted: int) -> None:
    frame, worth, keys = pool()
    made = choose_rows(frame, worth, wanted, keys=keys)
    assert len(made) == min(max(wanted, 0), 400) and (np.diff(made) > 0).all()


@settings(max_examples=20)
@given(st.permutations(range(400)))
def test_the_order_of_rows_is_of_no_matter_even_among_equals(order: list[int]) -> None:
    frame, worth, keys = pool()
    first = {keys[i] for i in choose_rows(frame, worth, 12, keys=keys)}
    mixed = [keys[i] for i in order]
    again = choose_rows(frame[order], worth[order], 12, keys=mixed)
    assert {mixed[i] for i in again} == first


def test_only_the_ten_times_most_worthy_are_looked_at() -> None:
    frame, _, keys = pool()
    worth = np.linspace(0, 1, 400)
    assert choose_rows(frame, worth, 4, keys=keys).min() >= 400 - 40
    worth[200] = np.nan
    assert 200 not in choose_rows(frame, worth, 39, keys=keys)


def test_what_is_chosen_differs_and_is_the_most_worthy_of_its_kind() -> None:
    """Forty rows in four far groups: one of each is chosen, though one group alone is worth the most."""
    group = np.repeat(np.arange(4), 10)
    frame = pl.DataFrame({"x": np.select([group == 1, group == 3], [50.0, 50.0], 0.0), "y": (group > 1) * 50.0})
    worth = np.where(group == 0, 0.9, 0.5) + np.tile(np.arange(10), 4) * 0.001
    made = choose_rows(frame, worth, 4, keys=[str(i) for i in range(40)])
    assert made.tolist() == [9, 19, 29, 39]


def test_categories_tell_rows_apart_as_well() -> None:
    frame = pl.DataFrame({"c": ["a"] * 20 + ["b"] * 5 + [None] * 5})
    worth = np.concatenate([np.full(20, 0.9), np.full(10, 0.4)])
    made = choose_rows(frame, worth, 3, keys=[str(i) for i in range(30)])
    assert (made < 20).sum() == ((made >= 20) & (made < 25)).sum() == (made >= 25).sum() == 1


def test_rows_that_are_all_alike_or_all_worth_nothing_are_chosen_all_the_same() -> None:
    frame = pl.DataFrame({"x": [1.0] * 50})
    keys = [str(i) for i in range(50)]
    assert len(choose_rows(frame, np.zeros(50), 7, keys=keys)) == 7
    worth = np.arange(50.0)
    assert choose_rows(frame, worth, 5, keys=keys).tolist() == [45, 46, 47, 48, 49]
