"""Requests and responses of the API, as models, from which its description is made."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Value = str | int | float | bool | None


class _Record(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Problem(BaseModel):
    """Why a request failed."""

    detail: str = Field(
        description="What was wrong, what was expected, and what to do.",
        examples=["there is no project 'orders' here."],
    )


class LoopProblem(BaseModel):
    """One thing that is wrong with a project."""

    code: str = Field(description="What kind of problem it is, for programs.", examples=["labels_stopped"])
    message: str
    since: datetime | None = Field(description="Since when, as far as that is known.")
    advice: str = Field(description="What to do; empty where the message says it.")


class ProjectLine(BaseModel):
    """One project at a glance."""

    name: str
    healthy: bool = Field(description="Whether there are no problems.")
    problems: list[str] = Field(description="What is wrong; empty where the project is healthy.")
    problem_details: list[LoopProblem] = Field([], description="The same, each with since when and what to do.")
    last_tick: datetime | None = Field(None, description="The newest tick that is done.")
    next_tick: datetime | None = Field(None, description="The end of the current slot.")
    next_run: datetime | None = Field(None, description="When the schedule runs the slot after the newest tick.")
    champion: int | None = Field(None, description="The version of the champion.")
    metric: str | None = Field(None, description="The metric that is monitored.")
    realized: float | None = Field(None, description="That metric over the newest window with labels.")
    realized_status: str | None = Field(None, description="final, provisional or unknown.")
    alerts_open: int = Field(0, description="Open alerts.")
    challengers_waiting: int = Field(0, description="Challengers that wait for approval.")
    labels_waiting: int = Field(0, description="Rows that wait for labels from people.")


class ProjectStatus(ProjectLine):
    """Where one project stands."""

    scope: str = Field(description="live, or replay where the live loop has not started.")
    coverage: float | None = Field(None, description="Labels over rows of that window.")
    batches_waiting: int = Field(description="Batches that wait to be scored.")
    batches_held: int = Field(description="Batches that are held in quarantine.")
    alerts_undelivered: int
    rollback_holds: str | None = Field(None, description="The rollback by a person that holds, in words.")
    nobody_asked_until: datetime | None = Field(
        None, description="After a rejection: until when nobody is asked to approve again."
    )
    posts_waiting: dict[str, int] = Field(description="Posts of inputs and of feedback that no batch has ingested yet.")


class Rows(BaseModel):
    """Rows to be ingested."""

    rows: list[dict[str, Value]] = Field(
        min_length=1,
        max_length=10_000,
        description="Each an object of the project's columns: a value is text, a number, true, false or null.",
    )


class Receipt(BaseModel):
    """The post is stored, and will be ingested."""

    id: str = Field(description="The id of the post: the idempotency key, where there is one.")
    rows: int
    received_at: datetime


class Score(BaseModel):
    """One score of a row."""

    batch: str
    role: str = Field(description="champion, challenger or baseline.")
    model_version: int
    prediction: Any
    score: float | dict[str, float] | None = Field(
        description="Binary: the probability of the positive class. Multiclass: that of each class."
    )
    event_at: datetime
    scored_at: datetime


class Predictions(BaseModel):
    """Predictions for one key."""

    key: str
    latest: Score | None = Field(description="The newest score by a champion.")
    scores: list[Score] = Field(description="Every score, newest first.")


class DecisionOut(_Record):
    """What a policy or a person decided."""

    tick_at: datetime
    stage: str = Field(description="The question: validation, alarm, retraining, promotion, labeling or rollback.")
    kind: str = Field(description="The answer.")
    reasons: list[str]
    evidence: dict[str, Any] = Field(description="The facts that it was based on.")
    model_version: int | None


class WindowOut(_Record):
    """The champion's performance over one batch, as known when it was last checked."""

    batch: str
    start_at: datetime
    end_at: datetime
    rows: int
    labels: int
    coverage: float
    status: str = Field(description="final, provisional or unknown.")
    metric: str
    realized: float | None
    realized_low: float | None
    realized_high: float | None
    estimated: float | None
    estimated_low: float | None
    estimated_high: float | None
    model_version: int
    checked_at: datetime


class AlertOut(BaseModel):
    """Something a person should know, and its status."""

    key: str
    at: datetime
    severity: str
    title: str
    body: str
    delivered_at: datetime | None
    problem: str | None = Field(description="Why a route did not deliver it.")
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None
    snoozed_until: datetime | None


class ApprovalOut(_Record):
    """A challenger that passed its gates and needed approval."""

    version: int
    asked_at: datetime
    due_at: datetime
    state: str = Field(description="open, approved, rejected, expired or superseded.")
    decided_at: datetime | None
    by: str | None
    why: str | None


class TaskOut(BaseModel):
    """A row that people are asked to label."""

    id: str
    key: str
    purpose: str
    wanted: int
    asked_at: datetime
    due_at: datetime
    columns: dict[str, Any] = Field(description="The columns of the row that people are shown.")
    classes: list[str] = Field(description="The classes to choose from; empty where the answer is a number.")


class AnswerOut(_Record):
    """An answer to a task that counts."""

    task: str
    who: str
    label: str | None
    at: datetime


class JournalOut(_Record):
    """One link of the journal's chain."""

    seq: int
    at: datetime
    key: str
    kind: str
    body: dict[str, Any]
    previous_hash: str
    hash: str


class Note(BaseModel):
    """An acknowledgement."""

    model_config = ConfigDict(extra="forbid")
    note: str = Field("", max_length=2000, description="What is being done about it.")


class Snooze(BaseModel):
    """Until when an alert is snoozed."""

    model_config = ConfigDict(extra="forbid")
    until: datetime


class Reason(BaseModel):
    """Why a version is approved."""

    model_config = ConfigDict(extra="forbid")
    why: str = Field("", max_length=2000)


class Rejection(BaseModel):
    """Why a version is rejected."""

    model_config = ConfigDict(extra="forbid")
    why: str = Field(min_length=1, max_length=2000)


class Return(BaseModel):
    """Which version to roll back to, and why."""

    model_config = ConfigDict(extra="forbid")
    version: int | None = Field(None, ge=1, description="By default, the last champion that nobody rolled back from.")
    why: str = Field(min_length=1, max_length=2000)


class ChampionOut(BaseModel):
    """The version that is champion from now on."""

    version: int


class RollbackOut(BaseModel):
    """What a rollback without a version would do, and the rollback that holds."""

    champion: int | None = Field(description="The version that is champion now.")
    target: int | None = Field(description="The version that a rollback goes back to unless one is named.")
    holds: str | None = Field(description="The rollback that holds, in words.")
    until: datetime | None = Field(None, description="Until when it holds; without it, until somebody lifts it.")


class Label(BaseModel):
    """An answer to a task."""

    model_config = ConfigDict(extra="forbid")
    label: Value = Field(description="A class, or a number for a regression; null to skip.")


class Wake(BaseModel):
    """What is new."""

    model_config = ConfigDict(extra="forbid")
    what: Literal["inputs", "labels"]


class WakeOut(BaseModel):
    """Whether the loop was told."""

    told: bool = Field(
        description="Whether the event was sent. Where no service listens, the next sweep finds what is new."
    )
