"""What came of earlier steps: measured on the first batch that was scored after them, once its labels are mature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeostat.durations import instant
from homeostat.errors import RegistryError
from homeostat.flows.facts import ATTEMPTS, OUTCOMES, Attempts, Outcomes
from homeostat.flows.learning.port import Attempt, LearningPort, Measured, Span
from homeostat.flows.learning.rules import paired_gain
from homeostat.monitoring.retraining.forecast import Outcome
from homeostat.pipelines.models.features import raw_view
from homeostat.registry.segments import mean_and_error
from homeostat.store import Writer

MOST_KEPT, MOST_A_TICK = 20, 5


@dataclass(frozen=True, slots=True)
class Ledger:
    """Steps that wait for their outcome, outcomes so far (oldest first), and which of them are new at this tick.

    `lost` counts those whose outcome can no longer be measured, since a model or every label is gone.
    """

    waiting: Sequence[Attempt] = ()
    known: Sequence[Measured] = ()
    new: Sequence[Measured] = ()
    lost: int = 0

    def outcomes(self, at: datetime, tick: timedelta) -> tuple[Outcome, ...]:
        """The outcomes as a forecast at `at` reads them."""
        return tuple(Outcome(o.kind, o.forecast, o.gained, o.rows, max((at - o.at) / tick, 0.0)) for o in self.known)

    def write(self, write: Writer, at: datetime) -> None:
        """Keep the ledger, and say each new outcome in the journal."""
        if not self.new and not self.lost:
            return
        write.put_fact(ATTEMPTS, Attempts(tuple(self.waiting)))
        write.put_fact(OUTCOMES, Outcomes(tuple(self.known)))
        for outcome in self.new:
            write.append_journal(at, f"{instant(outcome.at)}/outcome", "outcome", outcome.model_dump(mode="json"))


def settle_accounts(port: LearningPort, at: datetime) -> Ledger:
    """Measure what is due at `at`; writes nothing."""
    waiting, known = port.attempts(), port.outcomes()
    new: list[Measured] = []
    left: list[Attempt] = []
    broken = port.broken_batches() if waiting else set()
    spans = [span for span in port.spans(at) if broken.isdisjoint(span.batches)] if waiting else []
    for attempt in waiting:
        span = _first_after(spans, attempt)
        if span is None or len(new) >= MOST_A_TICK:
            left.append(attempt)
        elif (outcome := _measure(port, attempt, span, at)) is not None:
            new.append(outcome)
    return Ledger(left, [*known, *new][-MOST_KEPT:], new, lost=len(waiting) - len(left) - len(new))


def with_attempt(waiting: Sequence[Attempt], attempt: Attempt) -> list[Attempt]:
    """The steps that wait for their outcome, with one more; the newest `MOST_KEPT`."""
    return [*waiting, attempt][-MOST_KEPT:]


def _first_after(spans: list[Span], attempt: Attempt) -> Span | None:
    first = next((span for span in spans if span.end_at > attempt.at), None)
    return first if first is not None and first.mature else None


def _measure(port: LearningPort, attempt: Attempt, span: Span, at: datetime) -> Measured | None:
    rows = port.labelled_rows(span.batches, at)
    if rows is None or rows.is_empty():
        return None
    try:
        before, after = (port.model(version) for version in (attempt.before, attempt.after))
    except RegistryError:
        return None
    raw = raw_view(rows, port.project)
    saved = paired_gain(
        port.project.task, rows["label"], before=before.score(raw), after=after.score(raw), positive=after.positive
    )
    gained, error = mean_and_error(saved, None)
    return Measured(
        **attempt.model_dump(),
        gained=gained,
        error=error,
        rows=rows.height,
        batch=span.batch,
        message=_in_words(attempt, gained, rows.height),
    )


def _in_words(attempt: Attempt, gained: float, rows: int) -> str:
    what = f"the {attempt.kind} of {instant(attempt.at)}, which made version {attempt.after}"
    verdict = "saved" if gained >= 0 else "cost"
    return (
        f"{what}, was forecast to save {attempt.forecast:.4f} a row; over version {attempt.before} it {verdict} "
        f"{abs(gained):.4f} a row on the {rows} rows that were scored next"
    )
