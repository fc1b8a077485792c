"""The store's tables, as SQLAlchemy models; each row belongs to one project in one scope (`owner`)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Index, String, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from homeostat.records import Document


class Instant(TypeDecorator[datetime]):
    """A timezone-aware instant, UTC in and out on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware time into UTC; a naive one is a defect of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} carries no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the time back as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """How a value of the database becomes a time; of SQLite's texts in one step, since a page may read 10,000s."""
        return _read_text if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


def _read_text(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(f"{text}+00:00")


class Base(DeclarativeBase):
    """What every table shares."""

    type_annotation_map = {datetime: Instant(), Document: JSON(), list[Any]: JSON()}


class BatchRow(Base):
    """One batch and its state."""

    __tablename__ = "batches"
    __table_args__ = (Index("ix_batches_state", "owner", "state"),)
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    start_at: Mapped[datetime]
    end_at: Mapped[datetime] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(String(16))
    rows: Mapped[int]
    quarantined: Mapped[int]
    reason: Mapped[str | None] = mapped_column(Text)
    model_version: Mapped[int | None]
    scored_at: Mapped[datetime | None]


class WindowRow(Base):
    """Performance over one batch for one role, the last time it was measured."""

    __tablename__ = "windows"
    __table_args__ = (Index("ix_windows_role_end_at", "owner", "role", "end_at"),)
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    batch: Mapped[str] = mapped_column(String(64), primary_key=True)
    start_at: Mapped[datetime]
    end_at: Mapped[datetime]
    rows: Mapped[int]
    labels: Mapped[int]
    coverage: Mapped[float]
    status: Mapped[str] = mapped_column(String(16))
    metric: Mapped[str] = mapped_column(String(32))
    realized: Mapped[float | None]
    metrics: Mapped[Document]
    model_version: Mapped[int]
    checked_at: Mapped[datetime]
    estimated: Mapped[float | None]
    estimated_low: Mapped[float | None]
    estimated_high: Mapped[float | None]
    realized_low: Mapped[float | None]
    realized_high: Mapped[float | None]


class CheckRow(Base):
    """One drift check; `status` and `share` are those of `drift`, so that years of them are read from an index."""

    __tablename__ = "checks"
    __table_args__ = (Index("ix_checks_share", "owner", "tick_at", "status", "share"),)
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    tick_at: Mapped[datetime] = mapped_column(primary_key=True)
    batch: Mapped[str] = mapped_column(String(64), primary_key=True)
    model_version: Mapped[int]
    drift: Mapped[Document]
    facts: Mapped[list[Any]]
    run_id: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[str | None] = mapped_column(String(16))
    share: Mapped[float | None]


class DecisionRow(Base):
    """One decision of one policy at one tick."""

    __tablename__ = "decisions"
    __table_args__ = (Index("ix_decisions_kind", "owner", "tick_at", "kind"),)
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    tick_at: Mapped[datetime] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    reasons: Mapped[list[Any]]
    evidence: Mapped[Document]
    model_version: Mapped[int | None]


class ModelRow(Base):
    """One registered version and what it was made of."""

    __tablename__ = "models"
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(200))
    as_of: Mapped[datetime]
    family: Mapped[str] = mapped_column(String(64))
    rows: Mapped[int]
    reference: Mapped[Document]
    cost: Mapped[Document]
    run_id: Mapped[str | None] = mapped_column(String(64))
    trained_until: Mapped[datetime | None]
    promoted_at: Mapped[datetime | None]
    lineage: Mapped[int | None]
    loss: Mapped[Document] = mapped_column(server_default="{}")


class AlertRow(Base):
    """One alert; `delivered_at` is set once every route took it, `problem` says why one did not."""

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_at", "owner", "at"),)
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    at: Mapped[datetime]
    severity: Mapped[str] = mapped_column(String(16))
    title: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    delivered_at: Mapped[datetime | None]
    problem: Mapped[str | None] = mapped_column(Text)
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None] = mapped_column(String(200))
    note: Mapped[str | None] = mapped_column(Text)
    snoozed_until: Mapped[datetime | None]


class ApprovalRow(Base):
    """An approval that was asked for, and what came of it."""

    __tablename__ = "approvals"
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    asked_at: Mapped[datetime]
    due_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))
    decided_at: Mapped[datetime | None]
    by: Mapped[str | None] = mapped_column(String(200))
    why: Mapped[str | None] = mapped_column(Text)


class LeaseRow(Base):
    """Who works on something, and until when."""

    __tablename__ = "leases"
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(200))
    taken_at: Mapped[datetime]
    until: Mapped[datetime]


class PostRow(Base):
    """Rows that were posted; `batch` is the one that took them into the lake."""

    __tablename__ = "posts"
    __table_args__ = (Index("ix_posts_waiting", "owner", "kind", "batch", "received_at"),)
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    rows: Mapped[list[Any]]
    digest: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(200))
    batch: Mapped[str | None] = mapped_column(String(64))


class ReplyRow(Base):
    """What was answered to a request that carried a key of its own."""

    __tablename__ = "replies"
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(200))
    status: Mapped[int | None]
    body: Mapped[Document | None]


class TaskRow(Base):
    """One row that people are asked to label, and what their answers settled on."""

    __tablename__ = "label_tasks"
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    id: Mapped[str] = mapped_column(String(300), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), index=True)
    batch: Mapped[str] = mapped_column(String(64))
    purpose: Mapped[str] = mapped_column(String(16))
    wanted: Mapped[int]
    asked_at: Mapped[datetime] = mapped_column(index=True)
    due_at: Mapped[datetime]
    propensity: Mapped[float | None]
    suggestion: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), index=True)
    sent_at: Mapped[datetime | None]
    remote: Mapped[str | None] = mapped_column(String(200))
    settled_at: Mapped[datetime | None]
    label: Mapped[str | None] = mapped_column(Text)
    quality: Mapped[float | None]
    agreement: Mapped[float | None]


class AnswerRow(Base):
    """What one person said of one task."""

    __tablename__ = "label_answers"
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    task: Mapped[str] = mapped_column(String(300), primary_key=True)
    who: Mapped[str] = mapped_column(String(200), primary_key=True)
    label: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]
    remote: Mapped[str | None] = mapped_column(String(200))


class ReleaseRow(Base):
    """A person's word that a quarantined row may pass; `batch` is the one that took it in."""

    __tablename__ = "releases"
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    row_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(200))
    batch: Mapped[str | None] = mapped_column(String(64))


class StageRow(Base):
    """A stage of a tick that is done, with its outcome."""

    __tablename__ = "stages"
    __table_args__ = (Index("ix_stages_stage_tick_at", "owner", "stage", "tick_at"),)
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    tick_at: Mapped[datetime] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(String(32), primary_key=True)
    outcome: Mapped[Document]


class FactRow(Base):
    """A named fact about the loop itself, such as which version is champion."""

    __tablename__ = "facts"
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[Document]


class JournalRow(Base):
    """One link of a journal's chain."""

    __tablename__ = "journal"
    __table_args__ = (
        UniqueConstraint("owner", "previous_hash", name="one_successor"),
        UniqueConstraint("owner", "key", name="said_once"),
        Index("ix_journal_at", "owner", "at", "kind"),
    )
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    key: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(64))
    body: Mapped[Document]
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
