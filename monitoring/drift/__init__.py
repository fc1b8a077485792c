"""Drift: how far the columns of a batch have moved from the rows that the champion learned from."""

from homeostat.monitoring.drift.check import check_drift
from homeostat.monitoring.drift.measures import DRIFT_MEASURES, ColumnKind, DriftMeasure, require_measures

__all__ = ["DRIFT_MEASURES", "ColumnKind", "DriftMeasure", "check_drift", "require_measures"]
