"""Catching up: which due slots are run as ticks, and which are passed together because nothing came in them.

A slot is passed only where its tick would have found nothing new and decided nothing new: the tick before it did
nothing, no row and no label came, no deadline fell into it, every batch is past its horizon, and the policy would
wait as it did before. A run of such slots is one transaction.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from homeostat.decisions import IDLE
from homeostat.flows.loop import Loop, alert
from homeostat.flows.stages.arrivals import list_arrivals
from homeostat.flows.stages.check import check_inputs
from homeostat.flows.stages.decide import weigh
from homeostat.flows.stages.sequence import STAGES, list_due, run_stage
from homeostat.records import Batch, BatchState, Document, Purpose, Severity

LEAST = 3
"""So few slots are run without looking ahead."""
KNOWN_POLICIES = frozenset({"forecast", "threshold", "never", "every_tick", "periodic"})
"""Policies of which it is known that time alone changes what they say once, and not back again."""


class CatchUp(StrEnum):
    """What is done about slots that are due and past.

    ALL runs them, SCORES scores what came in them and learns once, at the newest, and SKIP leaves them out.
    """

    ALL = "all"
    SCORES = "scores"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Passed:
    """A run of slots that were not run as ticks: the first, the last, how many, and what is to be said of them."""

    first: str
    last: str
    slots: int
    message: str


Tell = Callable[[Passed], None]


def due_ticks(loop: Loop, now: datetime, how: CatchUp = CatchUp.ALL, tell: Tell = lambda passed: None) -> Iterator[str]:
    """The slots to run as ticks at `now`, oldest first; each must be run before the next is asked for.

    What lies between two of them is passed meanwhile, and told. The newest slot is always run.
    """
    due = list_due(loop, now)
    if how is not CatchUp.ALL and len(due) > 1 and loop.version_of("champion") is None:
        yield due.pop(0)  # Without a first champion nothing could be scored.
    if how is CatchUp.ALL or len(due) < 2:
        yield from _all(loop, now, due, tell)
        return
    passing = _score if how is CatchUp.SCORES else _skip
    tell(passing(loop, now, due[:-1]))
    yield due[-1]


def _all(loop: Loop, now: datetime, due: list[str], tell: Tell) -> Iterator[str]:
    came = list_arrivals(loop, now) if len(due) >= LEAST else []
    place = 0
    while place < len(due):
        yield due[place]
        place += 1
        rest = due[place:-1]
        count = _passable(loop, due[place - 1], rest, came) if len(due) >= LEAST and len(rest) > 1 else 0
        if count:
            tell(_pass(loop, due[place - 1], rest[:count]))
            place += count


def _passable(loop: Loop, before: str, rest: Sequence[str], came: Sequence[datetime]) -> int:
    """How many of the slots after the tick `before` would do what it did: nothing."""
    done = datetime.fromisoformat(before)
    if loop.project.retraining.policy not in KNOWN_POLICIES or not _was_still(loop, done):
        return 0
    place = bisect_left(came, done)
    slots = [datetime.fromisoformat(slot) for slot in rest]
    count = len(slots) if place == len(came) else bisect_left(slots, came[place])
    if not count or done <= _settled_at(loop):
        return 0
    said = _said(loop, done)
    return bisect_left(range(count), True, key=lambda at: _said(loop, slots[at]) != said)


def _was_still(loop: Loop, at: datetime) -> bool:
    """Whether a tick found nothing and did nothing."""
    did = {stage: loop.store.get_stage(at, stage) for stage in STAGES}
    if any(outcome is None or outcome.get("problem") for outcome in did.values()):
        return False
    counts = {
        "ingest": ("rows", "quarantined", "held"), "predict": ("scored",), "feedback": ("labels", "quarantined"),
        "collect": ("settled", "expired", "by_rule", "dropped"), "ask": tuple(Purpose),
    }  # fmt: skip
    found = any((did[stage] or {}).get(name) for stage, names in counts.items() for name in names)
    acted = did["act"] or {}
    return not found and acted.get("did") in IDLE and "overtaken" not in acted


def _settled_at(loop: Loop) -> datetime:
    """When the horizon of the newest rows is over, after which no window changes by time alone."""
    newest = loop.store.last_arrival()
    return loop.project.start_at if newest is None else newest + loop.project.data.feedback.horizon


def _said(loop: Loop, at: datetime) -> tuple[str, str]:
    alarm, decision = weigh(loop, at)
    return alarm.kind, decision.kind


def _pass(loop: Loop, before: str, slots: Sequence[str]) -> Passed:
    """Note that a run of slots did what the tick `before` them did."""
    start, end = datetime.fromisoformat(before), datetime.fromisoformat(slots[-1])
    message = f"nothing came in {_slots(slots)}, which were passed together"
    outcomes = {stage: dict(loop.store.get_stage(start, stage) or {}) for stage in STAGES}
    outcomes["ingest"]["batch"] = slots[-1]
    champion = loop.version_of("champion")
    state = BatchState.HISTORY if champion is None else BatchState.SCORED
    batch = Batch(slots[-1], start, end, state, 0, 0, message, champion, None if champion is None else end)
    with loop.store.write("passed") as write:
        write.put_batch(batch)
        for stage, outcome in outcomes.items():
            write.put_stage(end, stage, outcome | {"passed": len(slots)})
        write.append_journal(end, f"{slots[-1]}/slots_passed", "slots_passed", _body(slots, message))
    return Passed(slots[0], slots[-1], len(slots), message)


def _score(loop: Loop, now: datetime, slots: Sequence[str]) -> Passed:
    """Take in and score what came, each slot's rows as a batch of their own; the tick after them learns from all."""
    rows, came, folder, scope = 0, list_arrivals(loop, now), loop.project.folder, loop.scope.value
    before = loop.store.last_tick("notify") or loop.project.start_at
    for slot in slots:
        at = datetime.fromisoformat(slot)
        place = bisect_left(came, before)
        if slot != slots[0] and (place == len(came) or came[place] > at):
            continue
        rows += run_stage(folder, scope, "ingest", slot)["rows"]
        run_stage(folder, scope, "predict", slot)
        check_inputs(loop, at)
        before = at
    message = f"{_slots(slots)} were not run: the {rows} rows that came in them were scored, and nothing was decided"
    with loop.store.write("passed") as write:
        end = datetime.fromisoformat(slots[-1])
        write.append_journal(end, f"{slots[-1]}/slots_passed", "slots_passed", _body(slots, message))
    return Passed(slots[0], slots[-1], len(slots), message)


def _skip(loop: Loop, now: datetime, slots: Sequence[str]) -> Passed:
    """Take in what came as history, which is not scored; labels and decisions are left to the tick after."""
    end = datetime.fromisoformat(slots[-1])
    rows = run_stage(loop.project.folder, loop.scope.value, "ingest", slots[-1])["rows"]
    message = f"{_slots(slots)} were skipped: the {rows} rows that came in them are not scored, and nothing was decided"
    batch = loop.store.get_batch(slots[-1])
    assert batch is not None
    with loop.store.write("passed") as write:
        if batch.state is BatchState.VALIDATED:
            write.put_batch(replace(batch, state=BatchState.HISTORY, reason=message))
        if rows:
            title = f"{rows} rows are not scored: their slots were skipped"
            write.append_alert(alert(end, Severity.WARNING, "skipped", title, f"{message}."))
        write.append_journal(end, f"{slots[-1]}/slots_passed", "slots_passed", _body(slots, message))
    return Passed(slots[0], slots[-1], len(slots), message)


def _slots(slots: Sequence[str]) -> str:
    return f"{len(slots)} slots, {slots[0]} to {slots[-1]}," if len(slots) > 1 else f"the slot {slots[0]}"


def _body(slots: Sequence[str], message: str) -> Document:
    return {"from": slots[0], "to": slots[-1], "slots": len(slots), "message": message}
