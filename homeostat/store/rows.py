"""Between records and rows: a record's fields are the columns of its table."""

from __future__ import annotations

import dataclasses
from typing import Any

from homeostat.records import (
    Alert,
    AlertStatus,
    Answer,
    Approval,
    ApprovalState,
    Batch,
    BatchState,
    CheckResult,
    ColumnDrift,
    Decision,
    Document,
    DriftResult,
    FitCost,
    JournalEntry,
    LabelTask,
    Lease,
    ModelRecord,
    Post,
    PostKind,
    Purpose,
    Reply,
    Severity,
    TaskState,
    UnseenValues,
    Window,
    WindowStatus,
)
from homeostat.store import schema


def values(record: Any) -> Document:
    """The columns of a record, nested records as plain JSON values."""
    return {f.name: plain(getattr(record, f.name)) for f in dataclasses.fields(record)}


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return value


def _fields(record: type, row: Any, **made: Any) -> Document:
    return {f.name: getattr(row, f.name) for f in dataclasses.fields(record)} | made


def batch(row: schema.BatchRow) -> Batch:
    """The record of a row."""
    return Batch(**_fields(Batch, row, state=BatchState(row.state)))


def window(row: schema.WindowRow) -> Window:
    """The record of a row."""
    return Window(**_fields(Window, row, status=WindowStatus(row.status)))


def check(row: schema.CheckRow) -> CheckResult:
    """The record of a row."""
    columns = tuple(ColumnDrift(**column) for column in row.drift["columns"])
    drift = DriftResult(**{**row.drift, "columns": columns})
    facts = tuple(UnseenValues(**fact) for fact in row.facts)
    return CheckResult(**_fields(CheckResult, row, drift=drift, facts=facts))


def decision(row: schema.DecisionRow) -> Decision:
    """The record of a row."""
    return Decision(**_fields(Decision, row, reasons=tuple(row.reasons)))


def model(row: schema.ModelRow) -> ModelRecord:
    """The record of a row."""
    return ModelRecord(**_fields(ModelRecord, row, cost=FitCost(**row.cost)))


def alert(row: schema.AlertRow) -> Alert:
    """The record of a row."""
    return Alert(**_fields(Alert, row, severity=Severity(row.severity)))


def alert_status(row: schema.AlertRow) -> AlertStatus:
    """What became of the alert of a row."""
    return AlertStatus(**_fields(AlertStatus, row))


def approval(row: schema.ApprovalRow) -> Approval:
    """The record of a row."""
    return Approval(**_fields(Approval, row, state=ApprovalState(row.state)))


def lease(row: schema.LeaseRow) -> Lease:
    """The record of a row."""
    return Lease(**_fields(Lease, row))


def post(row: schema.PostRow) -> Post:
    """The record of a row."""
    return Post(**_fields(Post, row, kind=PostKind(row.kind), rows=tuple(row.rows)))


def reply(row: schema.ReplyRow) -> Reply:
    """The record of a row."""
    return Reply(**_fields(Reply, row))


def task(row: schema.TaskRow) -> LabelTask:
    """The record of a row."""
    return LabelTask(**_fields(LabelTask, row, purpose=Purpose(row.purpose), state=TaskState(row.state)))


def answer(row: schema.AnswerRow) -> Answer:
    """The record of a row."""
    return Answer(**_fields(Answer, row))


def entry(row: schema.JournalRow) -> JournalEntry:
    """The record of a row."""
    return JournalEntry(**_fields(JournalEntry, row))
