"""What the loop takes in and scores: batches, what is posted, and who works on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Scope(StrEnum):
    """Which memory a run works on: life, or a replay that never touches it."""

    LIVE = "live"
    REPLAY = "replay"


class Role(StrEnum):
    """In which role a model scored a row; `correction` is a corrected row that a person had scored again."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    BASELINE = "baseline"
    CORRECTION = "correction"


class BatchState(StrEnum):
    """Where a batch is: `history` lies before the loop's start and is never scored."""

    HISTORY = "history"
    VALIDATED = "validated"
    HELD = "held"
    SCORED = "scored"


class PostKind(StrEnum):
    """What other systems post to the loop."""

    INPUTS = "inputs"
    FEEDBACK = "feedback"


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
class Lease:
    """Who works on something, and until when nobody else may; a holder that lives renews it in time."""

    name: str
    holder: str
    taken_at: datetime
    until: datetime
