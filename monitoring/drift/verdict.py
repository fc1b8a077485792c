"""What the columns of a drift check say together: whether the inputs have drifted."""

from __future__ import annotations

from collections.abc import Sequence

from homeostat.monitoring.drift.measures import DRIFT_MEASURES
from homeostat.records import ColumnDrift
from homeostat.sections.steering import Monitoring


def judge_columns(columns: Sequence[ColumnDrift], settings: Monitoring) -> tuple[str, float | None]:
    """The status of a check, and the share of the measured columns that drifted.

    It is drift where that share is at least `monitoring.drift_share`, or where a single column has moved far.
    """
    measured = [column for column in columns if column.drifted is not None]
    if not measured:
        return "unknown", None
    share = sum(bool(column.drifted) for column in measured) / len(measured)
    return "drift" if share >= settings.drift_share or any(map(moved_far, measured)) else "stable", share


def moved_far(column: ColumnDrift) -> bool:
    """Whether a column has moved by so much more than its threshold that it counts alone; see `DriftMeasure.far`."""
    if not column.drifted or column.score is None or column.threshold is None or column.method is None:
        return False
    measure = dict(DRIFT_MEASURES.items()).get(column.method)
    return measure is not None and column.score >= measure.far * column.threshold
