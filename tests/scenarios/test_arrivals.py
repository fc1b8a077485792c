"""Rows and labels that are taken in as they come: what is decided is what ticks alone would have decided."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from worlds import DAY, PROJECT, START, draw, write

from homeostat.durations import instant
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.operations import between
from homeostat.flows.stages.sequence import list_due, run_tick
from homeostat.records import Scope

TICKS = 9


def lived(folder: Path, *, hours: int | None) -> Loop:
    """A small world that turns, lived through live: by ticks alone, or looked at every so many hours too."""
    made = draw(60, START - 10 * DAY, TICKS + 10, seed=2, drift_after=13)
    write(folder, made, made, PROJECT)
    forget_open_loops()
    loop = open_loop(folder, Scope.LIVE)
    for tick in range(TICKS):
        at = START + tick * DAY
        assert list_due(loop, at) == [instant(at)]
        run_tick(folder, "live", instant(at))
        if hours is not None and tick < TICKS - 1:
            for hour in range(hours, 24, hours):
                look(loop, at + timedelta(hours=hour))
    return loop


def look(loop: Loop, now: datetime) -> None:
    """What a sweep between ticks does."""
    for name in between.find_work(loop, now):
        between.do_work(loop, now, name)


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loop, Loop]:
    """The same world lived by ticks alone, and with rows and labels taken in every nine hours."""
    base = tmp_path_factory.mktemp("arrivals")
    return lived(base / "ticks", hours=None), lived(base / "arrivals", hours=9)


def scores(loop: Loop) -> pl.DataFrame:
    rows = loop.lake.read("predictions", pl.col("role") == "champion")
    assert rows is not None
    return rows.select("id", "model_version", "score").sort("id")


def decided(loop: Loop) -> list[tuple[Any, ...]]:
    return [(d.tick_at, d.stage, str(d.kind), d.model_version) for d in loop.store.list_decisions()]


def test_every_row_gets_the_score_that_it_would_have_got_with_its_tick(twins: tuple[Loop, Loop]) -> None:
    alone, often = twins
    assert len(often.store.list_batches()) > 2 * len(alone.store.list_batches())
    assert scores(often).equals(scores(alone))


def test_what_is_decided_and_promoted_is_the_same(twins: tuple[Loop, Loop]) -> None:
    alone, often = twins
    assert decided(often) == decided(alone)
    assert [kind for _, stage, kind, _ in decided(alone) if stage == "promotion"].count("promote") > 1


def test_what_a_comparison_and_the_alarm_saw_is_the_same(twins: tuple[Loop, Loop]) -> None:
    alone, often = (
        [(d.evidence.get("rows"), d.evidence.get("gain")) for d in loop.store.list_decisions("promotion")]
        for loop in twins
    )
    assert often == alone
    alone, often = ([d.reasons for d in loop.store.list_decisions("alarm")] for loop in twins)
    assert often == alone and alone
