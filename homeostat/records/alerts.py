"""What a person should know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    """How loud an alert is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


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
