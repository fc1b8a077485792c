"""Values that the champion's training data did not have: they warn once and count as drift, and are not quarantined."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from homeostat.monitoring.drift.verdict import judge_columns
from homeostat.records import ColumnDrift, DriftResult, UnseenValues
from homeostat.sections.steering import Monitoring

LEAST_SHARE, BROKEN_SHARE = 0.01, 0.5
_WORDS = {
    "range": "outside the range of the training data",
    "category": "in unseen categories",
    "null_rate": "more missing than in the training data",
}


def count_as_drift(result: DriftResult, facts: Sequence[UnseenValues], settings: Monitoring) -> DriftResult:
    """Count a column as drifted where more than `monitoring.drift_threshold` of its rows have unseen values.

    A result that is unknown stays so: too few rows say nothing.
    """
    if result.status == "unknown":
        return result
    unseen = {f.column: f for f in sorted(facts, key=lambda f: f.share) if f.share > settings.drift_threshold}
    columns = tuple(_counted(column, unseen.get(column.column)) for column in result.columns)
    status, share = judge_columns(columns, settings)
    return dataclasses.replace(result, columns=columns, share=share, status=status)


def newly_seen(facts: Sequence[UnseenValues], earlier: Sequence[UnseenValues]) -> tuple[UnseenValues, ...]:
    """The facts of at least 1% of the rows whose column and kind are not among the earlier ones."""
    known = {(f.column, f.kind) for f in earlier if f.share >= LEAST_SHARE}
    return tuple(f for f in facts if f.share >= LEAST_SHARE and (f.column, f.kind) not in known)


def describe(fact: UnseenValues) -> str:
    """One fact as a person reads it."""
    return f"{fact.column}: {fact.share:.0%} {_WORDS.get(fact.kind, fact.kind)} ({fact.detail})"


def _counted(column: ColumnDrift, fact: UnseenValues | None) -> ColumnDrift:
    if fact is None or column.drifted:
        return column
    return dataclasses.replace(column, drifted=True, reason=describe(fact))


def gone_columns(facts: Sequence[UnseenValues]) -> tuple[UnseenValues, ...]:
    """Columns with so many more missing values than in training that they are broken, not drifted."""
    return tuple(f for f in facts if f.kind == "null_rate" and f.share - f.learned >= BROKEN_SHARE)
