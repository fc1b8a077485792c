"""Before labels come the loop says what it expects, warns once, and is held to what it said."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from worlds import DAY, PROJECT, START, after, draw, write

from homeostat.flows.exports import export_windows
from homeostat.flows.loop import open_loop
from homeostat.flows.replay.run import replay
from homeostat.records import Scope

TICKS, HARDER = 11, 8
LATE = PROJECT.replace('horizon = "3d"', 'horizon = "4d"') + "\n[gates]\nmin_rows = 9999\n"
"""Nothing can be compared, so nothing is learned, and whether labels are wanted is asked at each tick."""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world whose labels come two days late, and whose inputs come to lie where nobody can tell."""
    made = draw(200, START - 3 * DAY, TICKS + 3, seed=5)
    hard = pl.col("at") >= START + HARDER * DAY
    x = pl.when(hard).then(pl.col("x") / 20).otherwise("x")
    y = pl.when(hard).then(pl.col("id") % 2).otherwise("y")
    labels = made.with_columns(y=y, known_at=pl.col("known_at") + timedelta(hours=24))
    folder = tmp_path_factory.mktemp("late") / "world"
    write(folder, made.with_columns(x=x), labels.filter(pl.col("known_at") <= START + TICKS * DAY), LATE)
    replay(folder)
    return folder


def windows(folder: Path) -> pl.DataFrame:
    return export_windows(open_loop(folder, Scope.REPLAY)).sort("end")


def test_every_window_after_the_first_labelled_ones_is_estimated_and_keeps_its_estimate(lived: Path) -> None:
    found = windows(lived)
    assert found["estimated"].null_count() == found.filter(pl.col("end") <= after(4))["estimated"].null_count() < 4
    final = found.filter((pl.col("status") == "final") & pl.col("estimated").is_not_null())
    assert final.height >= 5 and (final["estimated"] - final["realized"]).abs().median() < 0.06
    waiting = found.filter(pl.col("status") != "final")
    assert waiting.height and waiting["estimated_low"].null_count() == 0


def test_a_provisional_window_carries_bounds_and_no_other_does(lived: Path) -> None:
    found = windows(lived)
    bounded = found.filter(pl.col("realized_low").is_not_null())
    assert set(bounded["status"]) == {"provisional"}
    assert (bounded["realized_low"] <= bounded["realized"]).all()
    assert (bounded["realized"] <= bounded["realized_high"]).all()


def test_the_error_of_the_estimates_is_published(lived: Path) -> None:
    summary = json.loads((lived / ".homeostat/replay/summary.json").read_text())
    final = windows(lived).filter((pl.col("status") == "final") & pl.col("estimated").is_not_null())
    assert summary["estimated_windows"] == final.height
    assert summary["estimate_error"] == pytest.approx((final["estimated"] - final["realized"]).abs().mean())
    assert 0.5 <= summary["estimate_held"] <= 1


def test_a_champion_that_looks_worse_is_warned_of_once_and_before_its_labels(lived: Path) -> None:
    alerts = [a for a in open_loop(lived, Scope.REPLAY).store.list_alerts() if a.key.endswith("/estimate")]
    assert len(alerts) == 1 and "by an estimate" in alerts[0].title
    assert alerts[0].at == after(HARDER + 1)
    seen = windows(lived).filter(pl.col("end") == alerts[0].at)
    assert seen["estimated"].item() < 0.7


def test_labels_that_are_on_schedule_are_not_wanted_whatever_is_estimated(lived: Path) -> None:
    decisions = open_loop(lived, Scope.REPLAY).store.list_decisions("retraining")
    assert {decision.kind for decision in decisions} == {"train_first", "wait"}
    assert any("of 9999 fresh labels" in decision.reasons[0] for decision in decisions)
