"""Losses from 0 to 1 of every kind of task, and samples of them as a record keeps them."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.losses import (
    CELLS,
    LEAST_ROWS,
    MAX_SEGMENTS,
    describe_losses,
    has_no_scores,
    loss_scale,
    profile,
    row_losses,
    segment_values,
)
from homeostat.metrics import compute_metrics
from homeostat.project import Task

SAMPLES = st.lists(st.floats(0, 1), min_size=1, max_size=50)


def binary(prediction: list[str], score: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame({"prediction": prediction, "score": score}, schema_overrides={"score": pl.Float64})


def multiclass(prediction: list[str], scores: list[list[float] | None]) -> pl.DataFrame:
    classes = [None if s is None else ["a", "b", "c"] for s in scores]
    types = {"classes": pl.List(pl.String), "scores": pl.List(pl.Float64)}
    return pl.DataFrame({"prediction": prediction, "classes": classes, "scores": scores}, schema_overrides=types)


def test_the_mean_of_binary_losses_is_the_brier_score() -> None:
    truth, scored = pl.Series(["1", "0", "1"]), binary(["1", "0", "0"], [0.9, 0.4, 0.3])
    losses = row_losses(Task.BINARY, truth, scored, "1")
    assert losses.tolist() == pytest.approx([0.01, 0.16, 0.49])
    assert losses.mean() == pytest.approx(compute_metrics(Task.BINARY, truth, scored, "1")["brier"])


def test_a_binary_batch_of_one_class_needs_the_positive_one() -> None:
    scored = binary(["0", "0"], [0.2, 0.3])
    assert row_losses(Task.BINARY, pl.Series(["0", "0"]), scored, "1").tolist() == pytest.approx([0.04, 0.09])
    with pytest.raises(ValueError, match="positive"):
        row_losses(Task.BINARY, pl.Series(["0", "0"]), scored)


def test_several_classes_have_half_the_squared_distance() -> None:
    scored = multiclass(["a", "a", "b"], [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0]])
    losses = row_losses(Task.MULTICLASS, pl.Series(["a", "b", "c"]), scored)
    assert losses.tolist() == pytest.approx([0, 0.25, 1])


def test_a_class_that_the_model_does_not_know_is_its_error() -> None:
    scored = multiclass(["a"], [[1.0, 0.0, 0.0]])
    assert row_losses(Task.MULTICLASS, pl.Series(["new"]), scored).tolist() == [1.0]


def test_without_scores_a_wrong_prediction_is_one() -> None:
    scored = binary(["1", "0"], [None, None])
    assert row_losses(Task.BINARY, pl.Series(["1", "1"]), scored, "1").tolist() == [0.0, 1.0]
    assert has_no_scores(Task.BINARY, scored) and not has_no_scores(Task.BINARY, binary(["1"], [0.5]))
    mixed = multiclass(["a", "b"], [None, [0.5, 0.5, 0]])
    assert row_losses(Task.MULTICLASS, pl.Series(["b", "b"]), mixed).tolist() == [1.0, 0.25]
    assert not has_no_scores(Task.MULTICLASS, mixed)


def test_a_regression_loss_is_scaled_and_clipped() -> None:
    scored = pl.DataFrame({"prediction": [1.0, 2.0, 9.0, None, math.nan]})
    truth = pl.Series([1.0, 3.0, 0.0, 1.0, 1.0])
    assert row_losses(Task.REGRESSION, truth, scored, scale=4.0).tolist() == [0.0, 0.25, 1.0, 1.0, 1.0]
    assert row_losses(Task.REGRESSION, truth, scored, scale=0.0).tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]
    assert not has_no_scores(Task.REGRESSION, scored)


def test_the_scale_is_a_large_squared_error() -> None:
    scored = pl.DataFrame({"prediction": [float(v) for v in range(101)]})
    assert loss_scale(pl.Series([0.0] * 101), scored) == pytest.approx(99**2)
    assert loss_scale(pl.Series([None], dtype=pl.Float64), scored[:1]) == 1.0


@pytest.mark.parametrize("task", list(Task))
def test_where_no_label_is_there_is_no_loss(task: Task) -> None:
    label = pl.Series([None, None], dtype=pl.Float64 if task is Task.REGRESSION else pl.String)
    scored = pl.DataFrame({"prediction": [1.0, 2.0]}) if task is Task.REGRESSION else binary(["1", "0"], [0.5, 0.5])
    assert np.isnan(row_losses(task, label, scored, "1")).all()


@given(SAMPLES)
def test_a_profile_keeps_the_number_and_the_mean(sample: list[float]) -> None:
    counts = np.array(profile(np.array(sample)))
    assert counts.sum() == pytest.approx(len(sample))
    assert counts @ np.linspace(0, 1, CELLS + 1) == pytest.approx(sum(sample))
    assert (counts >= -1e-12).all()


@given(SAMPLES, st.floats(0, 1), st.floats(0, 0.95))
def test_a_profile_never_makes_a_bet_look_better(sample: list[float], mean: float, size: float) -> None:
    def win(losses: np.ndarray) -> np.ndarray:
        return np.log1p(size * (mean - losses))

    assert np.array(profile(np.array(sample))) @ win(np.linspace(0, 1, CELLS + 1)) <= win(np.array(sample)).sum() + 1e-9


def test_a_description_holds_the_large_segments_and_survives_json() -> None:
    losses = np.array([0.5] * 300 + [math.nan] * 10 + [0.25] * 90)
    frame = pl.DataFrame({"c": ["a"] * 310 + ["b"] * 41 + [None] * 49, "n": [1] * 400})
    told = describe_losses(losses, segment_values(frame, ["c", "n"]), scale=1.0, zero_one=False)
    assert (told["rows"], told["mean"]) == (390.0, pytest.approx((150 + 22.5) / 390))
    assert list(told["segments"]) == ["n=1", "c=a"] and sum(told["segments"]["c=a"]) == 300
    assert json.loads(json.dumps(told)) == told
    assert describe_losses(losses[300:310], {}, scale=1.0, zero_one=False) == {}


def test_a_description_has_a_bound() -> None:
    values = [f"v{i % 80}" for i in range(80 * LEAST_ROWS)]
    told = describe_losses(np.full(len(values), 0.5), {"c": values}, scale=1.0, zero_one=False)
    assert len(told["segments"]) == MAX_SEGMENTS
