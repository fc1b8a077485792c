"""A backtest of the policy `forecast` decides, tick by tick, what a replay of the project decides."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from worlds import DAY, PROJECT, START, draw, write

from homeostat.flows.backtest.run import read_history, run_backtest
from homeostat.flows.backtest.stepping import Stepping
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.replay.run import replay
from homeostat.project import load_project
from homeostat.records import Decision, Scope

# Losses lie between 0 and 1: with such a tolerance nothing is ever alarmed about.
QUIET = """
[gates]
min_rows = 40
[monitoring]
min_rows = 100
sample = 400
tolerance = 0.99
[retraining]
budget = 0.6
"""
TICKS = 9
Taken = list[tuple[str, str, str]]


def taken_of(decisions: list[Decision], until: str) -> Taken:
    """What was decided about retraining and about challengers, by tick."""
    wanted = [d for d in decisions if d.stage in {"retraining", "promotion", "rollback"} and d.kind != "train_first"]
    taken = [(d.tick_at.isoformat(), d.stage, d.kind) for d in wanted if d.reasons != ("it is the first champion",)]
    return sorted((at, stage, kind) for at, stage, kind in taken if at < until and stage != "rollback")


def in_the_loop(folder: Path) -> tuple[Loop, list[Decision]]:
    replay(folder)
    forget_open_loops()
    loop = open_loop(folder, Scope.REPLAY)
    return loop, [d for d in loop.store.list_decisions() if d.model_version is not None]


def in_a_backtest(folder: Path) -> tuple[Stepping, str]:
    """The policy after a backtest, and the last tick, after which nothing is decided."""
    history, stepping = read_history(load_project(folder), None), Stepping()
    outcome = run_backtest(history, [stepping])
    return stepping, history.at(outcome.ticks[-1]).isoformat()


@pytest.mark.parametrize("late", [0, 5], ids=["labels come soon", "labels come late"])
def test_a_replay_and_a_backtest_decide_the_same_at_the_same_ticks(tmp_path: Path, late: int) -> None:
    made = draw(160, START - (6 + late) * DAY, TICKS + 6 + late, seed=11, drift_after=8 + late)
    labels = made.with_columns(known_at=pl.col("known_at") + timedelta(days=late))
    labels = labels.filter(pl.col("known_at") <= START + TICKS * DAY)
    folder = write(tmp_path / "small", made, labels, PROJECT.replace('"3d"', f'"{3 + late}d"') + QUIET)
    loop, decisions = in_the_loop(folder)
    stepping, until = in_a_backtest(folder)
    taken = taken_of(decisions, until)
    assert taken_of(stepping.decisions, until) == taken
    assert {"recalibrate", "refresh", "retrain"} & {kind for _, _, kind in taken}
    assert {kind for _, stage, kind in taken if stage == "promotion"} >= ({"refuse"} if late else {"promote", "refuse"})
    assert not loop.store.list_decisions("alarm")
