"""The trial of `check`: candidates are fitted and saved on a sample, a feature that knows the answer is named."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from test_training import frame_of, project_of

from homeostat.hooks import Hooks
from homeostat.pipelines.setup.trial import MOST_ROWS, try_out


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_each_candidate_is_fitted_and_says_what_it_got(task: str) -> None:
    found = try_out(project_of(task, rounds=10), Hooks(), frame_of(600, task))
    assert [(f.level, f.where) for f in found] == [("ok", "training.candidates")] * 2
    assert "xgboost has" in found[0].message and "linear has" in found[1].message and "bytes" in found[0].message


def test_a_sample_is_enough() -> None:
    found = try_out(project_of("binary", rounds=5), Hooks(), frame_of(3 * MOST_ROWS))
    assert all(f"{MOST_ROWS:,} rows" in f.message for f in found)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_feature_that_alone_knows_the_answer_is_named(task: str) -> None:
    frame = frame_of(600, task)
    answer = pl.col("label").cast(pl.Float64) + (pl.col("id") % 3) / 100
    found = try_out(project_of(task, rounds=5), Hooks(), frame.with_columns(z=answer))
    (warned,) = (f for f in found if f.level == "warning")
    assert warned.where == "feature z" and "'z' alone predicts" in warned.message


def test_what_cannot_be_fitted_is_an_error_of_its_name() -> None:
    found = try_out(project_of("binary", candidates=["linear", "hook"]), Hooks(), frame_of(600))
    assert [f.level for f in found] == ["ok", "error"]
    assert "'hook' cannot be fitted" in found[1].message


def test_too_little_says_nothing() -> None:
    frame = frame_of(600)
    assert try_out(project_of("binary"), Hooks(), frame.head(40)) == []
    one = frame.with_columns(label=pl.lit("1"), event_at=pl.col("event_at") + timedelta(days=1))
    assert try_out(project_of("binary"), Hooks(), one) == []
