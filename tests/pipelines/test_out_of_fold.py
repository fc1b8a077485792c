"""Chances of rows by models that have not learned from them, and what they cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from test_training import frame_of, project_of

from homeostat.errors import DataError
from homeostat.hooks import Hooks
from homeostat.pipelines.labels.out_of_fold import LEAST_CHANCE, ROUNDS, OutOfFold, score_out_of_fold


def scored(
    frame: pl.DataFrame, task: str = "multiclass", families: tuple[str, ...] = ("linear",), **more: Any
) -> OutOfFold:
    project = project_of(task, threads=1, candidates=list(families))
    return score_out_of_fold(frame, project, Hooks(), **more)


def accuracy(made: OutOfFold, frame: pl.DataFrame) -> float:
    said = [made.classes[at] for at in made.chances.argmax(axis=1)]
    return float((pl.Series(said) == frame["label"]).mean())  # pyright: ignore[reportArgumentType]


def flip(frame: pl.DataFrame, which: np.ndarray) -> pl.DataFrame:
    """Turn binary labels round where `which` (rows,) says so."""
    other = frame["label"].replace({"0": "1", "1": "0"})
    return frame.with_columns(label=pl.when(pl.Series(which)).then(other).otherwise("label"))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_each_row_has_chances_in_the_order_of_the_classes_that_say_something(task: str) -> None:
    frame = frame_of(600, task)
    made = scored(frame, task, ("xgboost", "linear"))
    assert made.classes == ("0", "1", "2")[: 2 + (task == "multiclass")]
    assert made.chances.shape == (600, len(made.classes)) and made.chances.min() > 0
    assert made.chances.sum(axis=1) == pytest.approx(np.ones(600))
    assert accuracy(made, frame) > frame["label"].value_counts()["count"].max() / 600 + 0.1


def test_no_row_has_learned_from_its_own_label() -> None:
    """Labels without any reason: a model that saw them would know them, one that did not cannot."""
    draw = np.random.default_rng(0)
    frame = frame_of(400, "binary").with_columns(label=pl.Series(draw.choice(["0", "1"], 400)))
    assert accuracy(scored(frame, "binary", ("xgboost",)), frame) < 0.58


def test_the_chances_of_a_row_do_not_change_with_its_label_and_those_of_others_do() -> None:
    frame = frame_of(300, "binary")
    other = flip(frame, np.arange(300) == 7)
    first, second = (scored(each, "binary").chances for each in (frame, other))
    assert (
        other["label"][7] != frame["label"][7] and first[7].tolist() == second[7].tolist() and (first != second).any()
    )


def test_it_is_the_same_each_time_bit_for_bit() -> None:
    frame = frame_of(300, "multiclass")
    one, two = (scored(frame, families=("xgboost", "linear")).chances for _ in range(2))
    assert one.tobytes() == two.tobytes()


def test_a_row_without_a_label_is_scored_and_nobody_learns_from_it() -> None:
    frame = frame_of(400, "multiclass")
    holes = frame.with_columns(label=pl.when(pl.col("id") % 4 == 0).then(None).otherwise("label"))
    made = scored(holes)
    assert made.chances.shape == (400, 3) and accuracy(made, frame) > 0.55
    kept = scored(holes.filter(pl.col("label").is_not_null()))
    assert made.chances[holes["label"].is_not_null().to_numpy()] == pytest.approx(kept.chances, abs=0.02)


@pytest.mark.parametrize("family", ["xgboost", "linear"])
def test_a_class_that_was_not_seen_has_a_tiny_chance(family: str) -> None:
    frame = frame_of(200, "binary")
    lone = frame.with_columns(label=pl.when(pl.col("id") == 5).then(pl.lit("2")).otherwise("label"))
    made = scored(lone, "multiclass", (family,))
    assert made.classes == ("0", "1", "2") and 0 < made.chances[5, 2] < 0.05
    assert made.chances.min() >= LEAST_CHANCE / 2


def test_where_all_but_one_label_are_the_same_there_are_still_chances() -> None:
    frame = frame_of(60, "binary").with_columns(
        label=pl.when(pl.col("id") == 0).then(pl.lit("1")).otherwise(pl.lit("0"))
    )
    made = scored(frame, "binary")
    assert np.isfinite(made.chances).all() and made.chances[0, 1] == pytest.approx(LEAST_CHANCE, rel=0.01)


def test_the_better_family_gives_the_chances_and_the_average_is_that_of_all() -> None:
    frame = frame_of(600, "multiclass")
    best = scored(frame, families=("xgboost", "linear"))
    alone = {family: scored(frame, families=(family,)) for family in ("xgboost", "linear")}
    assert best.losses is not None and best.losses == {name: alone[name].losses[name] for name in alone}  # pyright: ignore
    winner = min(best.losses, key=lambda name: best.losses[name])  # pyright: ignore
    assert best.families == (winner,) and best.chances.tolist() == alone[winner].chances.tolist()
    mixed = scored(frame, families=("xgboost", "linear"), average=True)
    assert mixed.families == ("xgboost", "linear")
    assert mixed.chances == pytest.approx((alone["xgboost"].chances + alone["linear"].chances) / 2)


def test_all_fits_are_counted() -> None:
    cost = scored(frame_of(300, "multiclass"), families=("xgboost",), folds=3).cost
    assert cost.fits == 3 and cost.row_rounds == 300 * 2 * ROUNDS and cost.cpu_seconds > 0


@pytest.mark.parametrize("family", ["xgboost", "linear"])
def test_rows_without_weight_are_as_good_as_absent(family: str) -> None:
    frame = frame_of(500, "binary")
    wrong = np.arange(500) % 3 == 0
    flipped = flip(frame, wrong)
    weighed = scored(flipped, "binary", (family,), weights=np.where(wrong, 1e-6, 1.0))
    plain = scored(flipped, "binary", (family,))
    assert accuracy(weighed, frame) > accuracy(plain, frame) + 0.03
    assert weighed.losses[family] < plain.losses[family]  # pyright: ignore


def test_what_cannot_be_learned_is_refused() -> None:
    with pytest.raises(ValueError, match="regression"):
        scored(frame_of(100, "regression"), "regression")
    with pytest.raises(DataError, match="labelled rows"):
        scored(frame_of(20))
    with pytest.raises(DataError, match="at least two classes"):
        scored(frame_of(100).with_columns(label=pl.lit("0")))
