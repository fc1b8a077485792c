"""The records that stages hand to each other; every one is frozen and holds plain values only.

Times are timezone-aware datetimes in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Scope(StrEnum):
    """Which memory a run works on: life, or a replay that never touches it."""

    LIVE = "live"
    REPLAY = "replay"


class Role(StrEnum):
    """In which role a model scored a row."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    BASELINE = "baseline"


class BatchState(StrEnum):
    """Where a batch is: `history` lies before the loop's start and is never scored."""

    HISTORY = "history"
    VALIDATED = "validated"
    HELD = "held"
    SCORED = "scored"


class WindowStatus(StrEnum):
    """How far a window's realized metric can be trusted."""

    FINAL = "final"
    PROVISIONAL = "provisional"
    UNKNOWN = "unknown"


class Purpose(StrEnum):
    """Why a row was handed to people: its chance of being asked is known only where it was drawn to measure."""

    MEASURE = "measure"
    LEARN = "learn"
    RELABEL = "relabel"


class TaskState(StrEnum):
    """Where a labeling task is: `expired` means its deadline passed with no usable answer."""

    OPEN = "open"
    SETTLED = "settled"
    EXPIRED = "expired"


class ApprovalState(StrEnum):
    """What became of a challenger that was put before a person; `superseded` means another took its place."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class PostKind(StrEnum):
    """What other systems post to the loop."""

    INPUTS = "inputs"
    FEEDBACK = "feedback"


class Severity(StrEnum):
    """How loud an alert is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one tick ingested: the inputs of the slot `[start_at, end_at)`; `id` is the slot's end."""

    id: str
    start_at: datetime
    end_at: datetime
    state: BatchState
    rows: int
    quarantined: int = 0
    reason: str | None = None
    model_version: int | None = None
    scored_at: datetime | None = None


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
class LearnedFact:
    """Something of a batch that the champion's training data had never shown; it warns, no more.

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
    facts: tuple[LearnedFact, ...] = ()
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy decided, why, and what it had before its eyes.

    `stage` is the question ("validation", "retraining", "promotion"), `kind` the answer.
    """

    tick_at: datetime
    stage: str
    kind: str
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any] = field(default_factory=dict)
    model_version: int | None = None


@dataclass(frozen=True, slots=True)
class FitCost:
    """What fitting cost: `fits` fits, `row_rounds` rows times boosting rounds (or passes), CPU seconds."""

    fits: int = 0
    row_rounds: int = 0
    cpu_seconds: float = 0.0

    def __add__(self, other: FitCost) -> FitCost:
        return FitCost(self.fits + other.fits, self.row_rounds + other.row_rounds, self.cpu_seconds + other.cpu_seconds)


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One registered version: what it learned from, how good it was on its holdout, what it cost.

    `key` is the idempotency tag of its registration. `reference` holds the metrics on the rows that
    were held out from it; empty where a model came from elsewhere. `lineage` is the root version of its lineage, whose
    `loss` on its holdout the alarm compares the whole lineage with; None means itself. `loss` is what
    `homeostat.losses.describe_losses` gives: mean, rows, scale and more; empty where nothing was held out.
    """

    version: int
    key: str
    as_of: datetime
    family: str
    rows: int
    reference: Mapping[str, float]
    cost: FitCost
    run_id: str | None = None
    trained_until: datetime | None = None
    promoted_at: datetime | None = None
    lineage: int | None = None
    loss: Mapping[str, Any] = field(default_factory=dict)

    @property
    def root_version(self) -> int:
        """The root version of this one's lineage."""
        return self.version if self.lineage is None else self.lineage


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person should know; `key` makes it the same alert however often it is raised."""

    key: str
    at: datetime
    severity: Severity
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """What became of the alert `key`: delivered or why not, seen by whom, and until when it is to be quiet."""

    key: str
    delivered_at: datetime | None = None
    problem: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    note: str | None = None
    snoozed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """A challenger that passed its gates and was put before a person until `due_at`.

    `by` and `why` are those of whoever decided at `decided_at`; both are None where it expired or was superseded.
    """

    version: int
    asked_at: datetime
    due_at: datetime
    state: ApprovalState = ApprovalState.OPEN
    decided_at: datetime | None = None
    by: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on something, and until when nobody else may; a holder that lives renews it in time."""

    name: str
    holder: str
    taken_at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Post:
    """Rows that another system posted: held here before it is told so, until a batch takes them into the lake.

    `id` is the poster's idempotency key, or made by us; `digest` tells whether the same id means the same rows.
    """

    id: str
    kind: PostKind
    rows: tuple[Mapping[str, Any], ...]
    digest: str
    received_at: datetime
    by: str
    batch: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered to a request of another system that carried a key of its own, so that it is done once.

    `digest` tells whether the same key means the same request. `at` is the time that the act counts from, however often
    it is tried; `status` and `body` are None while it is not done.
    """

    key: str
    digest: str
    at: datetime
    by: str
    status: int | None = None
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LabelTask:
    """One row that people are asked to label; `key` is the row's key as text, `wanted` how many people should answer.

    `propensity` is the chance with which the row was drawn, None where it was chosen for another reason. `suggestion`
    is what the model says of it. `label` is what the answers settled on, `quality` how likely that is right, and
    `agreement` the share of answers that say so. `remote` is what the backend calls the task once it was sent.
    """

    id: str
    key: str
    batch: str
    purpose: Purpose
    wanted: int
    asked_at: datetime
    due_at: datetime
    propensity: float | None = None
    suggestion: str | None = None
    state: TaskState = TaskState.OPEN
    sent_at: datetime | None = None
    remote: str | None = None
    settled_at: datetime | None = None
    label: str | None = None
    quality: float | None = None
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person said of one task; `label` is None where they passed. A person answers a task once."""

    task: str
    who: str
    label: str | None
    at: datetime
    remote: str | None = None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One link of the journal's chain."""

    seq: int
    at: datetime
    key: str
    kind: str
    body: Mapping[str, Any]
    previous_hash: str
    hash: str
