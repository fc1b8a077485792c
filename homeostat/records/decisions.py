"""What was decided, who was asked, and the journal of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class ApprovalState(StrEnum):
    """What became of an approval that was asked for; `superseded` means another took its place."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


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
class Approval:
    """A challenger that passed its gates and waits for approval until `due_at`.

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
class JournalEntry:
    """One link of the journal's chain."""

    seq: int
    at: datetime
    key: str
    kind: str
    body: Mapping[str, Any]
    previous_hash: str
    hash: str
