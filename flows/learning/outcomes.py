"""What came of earlier steps: measured on the first batch that was scored after them, once its labels are mature."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime

import polars as pl

from homeostat.durations import instant
from homeostat.errors import RegistryError
from homeostat.flows.facts import ATTEMPTS, OUTCOMES, Attempt, Attempts, MeasuredAttempt, Outcomes
from homeostat.flows.learning.promotion import labelled_rows
from homeostat.flows.learning.rules import paired_gain
from homeostat.flows.loop import Loop
from homeostat.monitoring.alarm.rule import is_mature
from homeostat.monitoring.retraining.forecast import Outcome
from homeostat.pipelines.models.features import raw_view
from homeostat.records import Window
from homeostat.store import Writer

MOST_KEPT, MOST_A_TICK = 20, 5


@dataclass(frozen=True, slots=True)
class Ledger:
    """Steps that wait for their outcome, outcomes so far (oldest first), and which of them are new at this tick.

    `lost` counts those whose outcome can no longer be measured, since a model or every label is gone.
    """

    waiting: list[Attempt] = field(default_factory=list)
    known: list[MeasuredAttempt] = field(default_factory=list)
    new: list[MeasuredAttempt] = field(default_factory=list)
    lost: int = 0

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes as a forecast reads them."""
        return tuple(Outcome(step.kind, step.forecast, step.gained) for step in self.known)

    def write(self, write: Writer, at: datetime) -> None:
        """Keep the ledger, and say each new outcome in the journal."""
        if not self.new and not self.lost:
            return
        write.put_fact(ATTEMPTS, Attempts(tuple(self.waiting)))
        write.put_fact(OUTCOMES, Outcomes(tuple(self.known)))
        for step in self.new:
            body = {**asdict(step), "at": instant(step.at)}
            write.append_journal(at, f"{instant(step.at)}/outcome", "outcome", body)


def settle_accounts(loop: Loop, at: datetime) -> Ledger:
    """Measure what is due at `at`; writes nothing."""
    waiting, outcomes = _waiting(loop), loop.store.get_fact(OUTCOMES)
    known, new, left = [] if outcomes is None else outcomes.list, [], []
    windows = [w for w in loop.store.list_windows() if w.end_at <= at] if waiting else []
    for attempt in waiting:
        window = _first_after(loop, windows, attempt)
        if window is None or len(new) >= MOST_A_TICK:
            left.append(attempt)
        elif (outcome := _measure(loop, attempt, window, at)) is not None:
            new.append(outcome)
    return Ledger(left, [*known, *new][-MOST_KEPT:], new, lost=len(waiting) - len(left) - len(new))


def with_attempt(loop: Loop, attempt: Attempt) -> Attempts:
    """The fact that keeps a step waiting for its outcome, beside those that wait already."""
    return Attempts((*_waiting(loop), attempt)[-MOST_KEPT:])


def _waiting(loop: Loop) -> tuple[Attempt, ...]:
    fact = loop.store.get_fact(ATTEMPTS)
    return () if fact is None else fact.list


def _first_after(loop: Loop, windows: list[Window], attempt: Attempt) -> Window | None:
    later = [w for w in windows if w.end_at > attempt.at and w.rows]
    return later[0] if later and is_mature(later[0], loop.project.monitoring) else None


def _measure(loop: Loop, attempt: Attempt, window: Window, at: datetime) -> MeasuredAttempt | None:
    rows = labelled_rows(loop, (window.batch,), at)
    if rows is None or rows.is_empty():
        return None
    try:
        before, after = map(loop.models.load, (attempt.before, attempt.after))
    except RegistryError:
        return None
    raw = raw_view(rows, loop.project)
    saved = paired_gain(
        loop.project.task, rows["label"], before=before.score(raw), after=after.score(raw), positive=after.positive
    )
    gained = float(saved.mean())
    return MeasuredAttempt(
        **asdict(attempt), gained=gained, rows=rows.height, batch=window.batch, told=_summary(attempt, gained, rows)
    )


def _summary(attempt: Attempt, gained: float, rows: pl.DataFrame) -> str:
    what = f"the {attempt.kind} of {instant(attempt.at)}, which made version {attempt.after}"
    verdict = "saved" if gained >= 0 else "cost"
    return (
        f"{what}, was forecast to save {attempt.forecast:.4f} a row; over version {attempt.before} it {verdict} "
        f"{abs(gained):.4f} a row on the {rows.height} rows that were scored next"
    )
