"""The records that stages hand to each other; every one is frozen and holds plain values only.

Times are timezone-aware datetimes in UTC.
"""

from homeostat.records.alerts import Alert, AlertStatus, Severity
from homeostat.records.batches import Batch, BatchState, Lease, Post, PostKind, Reply, Role, Scope
from homeostat.records.decisions import Approval, ApprovalState, Decision, JournalEntry
from homeostat.records.documents import Document
from homeostat.records.labels import Answer, LabelTask, Purpose, TaskState
from homeostat.records.models import CandidateResult, FitCost, ModelRecord
from homeostat.records.performance import CheckResult, ColumnDrift, DriftResult, UnseenValues, Window, WindowStatus

__all__ = [
    "Alert",
    "AlertStatus",
    "Answer",
    "Approval",
    "ApprovalState",
    "Batch",
    "BatchState",
    "CandidateResult",
    "CheckResult",
    "ColumnDrift",
    "Decision",
    "Document",
    "DriftResult",
    "FitCost",
    "JournalEntry",
    "LabelTask",
    "Lease",
    "ModelRecord",
    "Post",
    "PostKind",
    "Purpose",
    "Reply",
    "Role",
    "Scope",
    "Severity",
    "TaskState",
    "UnseenValues",
    "Window",
    "WindowStatus",
]
