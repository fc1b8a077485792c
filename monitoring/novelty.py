"""What the champion's training data had never shown: it warns once, and counts as drift; it never quarantines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from homeostat.records import ColumnDrift, DriftResult, LearnedFact
from homeostat.sections.steering import Monitoring

WORTH_TELLING, BROKEN_SHARE = 0.01, 0.5
_WORDS = {
    "range": "outside of the range learned",
    "category": "in categories never seen",
    "null_rate": "more missing than learned",
}


def count_as_drift(result: DriftResult, facts: Sequence[LearnedFact], settings: Monitoring) -> DriftResult:
    """Count a column as drifted where more than `monitoring.drift_threshold` of its rows were never seen the like of.

    A result that is unknown stays so: too few rows say nothing.
    """
    if result.status == "unknown":
        return result
    strange = {f.column: f for f in sorted(facts, key=lambda f: f.share) if f.share > settings.drift_threshold}
    columns = tuple(_counted(column, strange.get(column.column)) for column in result.columns)
    measured = [column for column in columns if column.drifted is not None]
    share = sum(bool(column.drifted) for column in measured) / len(measured) if measured else None
    status = "unknown" if share is None else "drift" if share >= settings.drift_share else "stable"
    return dataclasses.replace(result, columns=columns, share=share, status=status)


def newly_seen(facts: Sequence[LearnedFact], earlier: Sequence[LearnedFact]) -> tuple[LearnedFact, ...]:
    """The facts worth telling whose column and kind were not told before."""
    known = {(f.column, f.kind) for f in earlier if f.share >= WORTH_TELLING}
    return tuple(f for f in facts if f.share >= WORTH_TELLING and (f.column, f.kind) not in known)


def describe(fact: LearnedFact) -> str:
    """One fact as a person reads it."""
    return f"{fact.column}: {fact.share:.0%} {_WORDS.get(fact.kind, fact.kind)} ({fact.detail})"


def _counted(column: ColumnDrift, fact: LearnedFact | None) -> ColumnDrift:
    if fact is None or column.drifted:
        return column
    return dataclasses.replace(column, drifted=True, reason=describe(fact))


def gone_columns(facts: Sequence[LearnedFact]) -> tuple[LearnedFact, ...]:
    """Columns of which so many values have gone that were there before that they are broken, not drifted."""
    return tuple(f for f in facts if f.kind == "null_rate" and f.share - f.learned >= BROKEN_SHARE)
