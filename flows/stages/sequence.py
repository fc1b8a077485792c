"""The stages of a tick, their order, and which ticks are due; what orchestrates them is not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from homeostat.durations import instant
from homeostat.flows.labeling.ask import ask
from homeostat.flows.labeling.collect import collect
from homeostat.flows.loop import Loop, open_loop, slot, tick_index
from homeostat.flows.stages.act import act
from homeostat.flows.stages.check import check
from homeostat.flows.stages.decide import decide
from homeostat.flows.stages.feedback import feedback
from homeostat.flows.stages.ingest import ingest
from homeostat.flows.stages.notify import notify
from homeostat.flows.stages.predict import predict
from homeostat.records import Document, Scope

WORK: dict[str, Callable[[Loop, datetime], Document]] = {
    "ingest": ingest,
    "predict": predict,
    "collect": collect,
    "feedback": feedback,
    "check": check,
    "decide": decide,
    "act": act,
    "ask": ask,
    "notify": notify,
}
STAGES = tuple(WORK)


def run_stage(
    folder: Path | str,
    scope: str,
    stage: str,
    at: str,
    clock: datetime | None = None,
    begun_at: datetime | None = None,
) -> Document:
    """Run one stage of the tick at `at` (an ISO instant); what is done already is not done again.

    `clock` is what the clock says: who is asked or told at a tick of the past is asked and told as of then. `begun_at`
    is what it said when the ticks to run were listed: only the newest of them tells.
    """
    loop, now = open_loop(folder, Scope(scope)), datetime.fromisoformat(at)
    done = loop.store.get_stage(now, stage)
    if done is not None:
        return done
    timed = loop if loop.replaying or clock is None else replace(loop, clock=clock, begun_at=begun_at)
    return WORK[stage](timed, now)


def run_tick(
    folder: Path | str,
    scope: str,
    at: str,
    run: Callable[[str], Any] | None = None,
    *,
    clock: datetime | None = None,
    begun_at: datetime | None = None,
) -> Document:
    """Run every stage of a tick in order; `run` runs one by its name, directly unless it is given."""
    runner = run if run is not None else lambda stage: run_stage(folder, scope, stage, at, clock, begun_at)
    return {stage: runner(stage) for stage in STAGES}


def due_slots(folder: Path | str, now: datetime, scope: str = Scope.LIVE) -> list[str]:
    """The slots that are due at `now` and not done, oldest first."""
    return list_due(open_loop(folder, Scope(scope)), now)


def list_due(loop: Loop, now: datetime) -> list[str]:
    """The slots of a loop that are due at `now` and not done, oldest first."""
    return [instant(at) for at in _slots(loop, now)]


def _slots(loop: Loop, until: datetime) -> Iterator[datetime]:
    if until < loop.project.start_at:
        return
    last = loop.store.last_tick("notify")
    first = 0 if last is None or last < loop.project.start_at else tick_index(loop.project, last) + 1
    for index in range(first, tick_index(loop.project, until) + 1):
        yield slot(loop.project, index)
