"""How good a model is on what it scored: windows, and drift of what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class WindowStatus(StrEnum):
    """How far a window's realized metric can be trusted."""

    FINAL = "final"
    PROVISIONAL = "provisional"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Window:
    """Performance of the champion over one batch, as known at `checked_at`.

    `metric` names the metric whose value is `realized`; `metrics` holds all that apply to the task.
    `coverage` is labels over rows. `realized` is None exactly when `status` is unknown. `estimated`, between
    `estimated_low` and `estimated_high`, is what the metric was expected to be before any label of the window was
    looked at. `realized_low` and `realized_high` bound what the missing labels of a provisional window can make of it.
    """

    batch: str
    start_at: datetime
    end_at: datetime
    rows: int
    labels: int
    coverage: float
    status: WindowStatus
    metric: str
    realized: float | None
    metrics: Mapping[str, float]
    model_version: int
    checked_at: datetime
    estimated: float | None = None
    estimated_low: float | None = None
    estimated_high: float | None = None
    realized_low: float | None = None
    realized_high: float | None = None


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """Drift of one column: `drifted` is None where it could not be measured, and `reason` says why."""

    column: str
    method: str | None
    score: float | None
    threshold: float | None
    drifted: bool | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class DriftResult:
    """Drift of the current rows against the champion's reference.

    `status` is "drift", "stable" or "unknown"; `share` is drifted over measured columns.
    """

    status: str
    share: float | None
    columns: tuple[ColumnDrift, ...]
    reference_rows: int
    current_rows: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class UnseenValues:
    """Values of a column of a batch that the champion's training data did not have; they warn, no more.

    `share` is that of the rows it concerns, `learned` what it was in the training data.
    """

    column: str
    kind: str  # "range" | "null_rate" | "category"
    share: float
    detail: str
    learned: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One drift check of one batch against one champion."""

    tick_at: datetime
    batch: str
    model_version: int
    drift: DriftResult
    facts: tuple[UnseenValues, ...] = ()
    run_id: str | None = None
