"""What people are asked to label, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
