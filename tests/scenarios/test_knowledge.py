"""Nothing that is known only later changes what happens now, and no row is scored by what learned its label."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from worlds import DAY, PROJECT, START, after, assert_same, draw, snapshot, write

from homeostat.flows.learning.versions import training_frame
from homeostat.flows.loop import open_loop
from homeostat.flows.replay.run import replay
from homeostat.records import Scope

EAGER = """
[gates]
min_gain = -1.0
min_rows = 20
[monitoring]
min_rows = 20
[retraining]
policy = "every_tick"
"""
TICKS, DAYS = 5, (0, 2, 4)


def believed(folder: Path, at: datetime) -> dict[str, Any]:
    """What the loop has done and would learn from at `at`."""
    replay(folder, until=at)
    seen = snapshot(folder)
    loop = open_loop(folder, Scope.REPLAY)
    return seen | {"training": training_frame(loop, at).rows(), "decided": len(seen["decisions"])}


def parts() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Inputs, some of which come a day late, and their labels; four batches have rows."""
    made = draw(40, START - 3 * DAY, TICKS + 3, seed=11, drift_after=5)
    late = pl.when(pl.col("id") % 9 == 0).then(pl.col("seen_at") + DAY).otherwise("seen_at")
    return made.with_columns(seen_at=late), made


def perturb_inputs(rows: pl.DataFrame, known: pl.Expr, chance: np.random.Generator) -> pl.DataFrame:
    """Keep what is known; change, drop and add to the rest, corrections of what is known among it."""
    later = rows.filter(~known).sample(fraction=chance.uniform(0.3, 1), seed=int(chance.integers(1 << 30)))
    count = later.height
    changed = later.with_columns(
        x=pl.Series(chance.normal(0, 3, count)),
        z=pl.Series(chance.normal(5, 1, count)),
        c=pl.Series([f"n{v}" for v in chance.integers(0, 3, count)], dtype=pl.String),
    )
    added = changed.head(20).with_columns(id=pl.col("id") + 100_000)
    corrected = rows.filter(known).tail(15).with_columns(x=pl.lit(1.0), seen_at=later["seen_at"].max())
    return pl.concat([rows.filter(known), changed, added, corrected])


def perturb_labels(
    rows: pl.DataFrame, known: pl.Expr, inputs: pl.DataFrame, chance: np.random.Generator
) -> pl.DataFrame:
    """Keep what is known; change, drop and add to the rest, corrections of what is known among it."""
    later = rows.filter(~known).sample(fraction=chance.uniform(0.3, 1), seed=int(chance.integers(1 << 30)))
    delay = pl.duration(minutes=pl.Series(chance.integers(0, 900, later.height)))
    changed = later.with_columns(y=pl.Series(chance.integers(0, 2, later.height)), known_at=pl.col("known_at") + delay)
    corrected = rows.filter(known).tail(25).with_columns(y=1 - pl.col("y"), known_at=later["known_at"].max())
    added = changed.head(10).with_columns(id=pl.col("id") + 100_000)
    return pl.concat([rows.filter(known), changed, corrected, added]).join(inputs, on="id", how="semi")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What the loop believes at three ticks, on the data as they are."""
    folder = write(tmp_path_factory.mktemp("truth") / "small", *parts(), PROJECT + EAGER)
    return {day: believed(folder, after(day)) for day in DAYS}


@settings(
    max_examples=6, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(day=st.sampled_from(DAYS), seed=st.integers(0, 10_000))
def test_what_is_known_only_later_changes_nothing_now(
    truth: dict[int, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory, day: int, seed: int
) -> None:
    at, chance = after(day), np.random.default_rng(seed)
    inputs, labels = parts()
    moved = perturb_inputs(inputs, pl.col("seen_at") < at, chance)
    told = perturb_labels(labels, pl.col("known_at") <= at, moved, chance)
    folder = write(tmp_path_factory.mktemp("perturbed") / "small", moved, told, PROJECT + EAGER)
    assert_same(believed(folder, at), truth[day])


def test_the_world_that_is_perturbed_learns_and_promotes(truth: dict[int, dict[str, Any]]) -> None:
    assert len(truth[4]["versions"]) >= 3
    assert len({row["model_version"] for row in truth[4]["lake.predictions"]}) > 1
    learned = [len(truth[day]["training"]) for day in DAYS]
    assert learned == sorted(set(learned))


def test_on_pure_noise_known_at_once_nothing_is_foreseen(tmp_path: Path) -> None:
    made = draw(400, START - 2 * DAY, 14, seed=2)
    labels = made.with_columns(y=pl.Series(np.random.default_rng(8).integers(0, 2, made.height)), known_at=pl.col("at"))
    memorizing = PROJECT.replace("rounds = 12", 'rounds = 40\ncandidates = ["xgboost"]').replace(
        "depth = 3", "depth = 8"
    )
    summary = replay(write(tmp_path / "small", made, labels, memorizing.replace('"3d"', '"1h"') + EAGER))
    scored = labels.filter(pl.col("at") >= START)["y"]
    assert summary["predictions"] == summary["labels"] == len(scored)
    assert (summary["retrains"], summary["promotions"]) == (12, 13)
    error = ((len(scored) + 1) / (12 * scored.sum() * (len(scored) - scored.sum()))) ** 0.5
    assert abs(summary["loop_metric"] - 0.5) < 4 * error
    assert abs(summary["static_metric"] - 0.5) < 4 * error
