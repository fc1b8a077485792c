"""What a check of a project finds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from homeostat.durations import instant


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: `level` is "error", "warning" or "ok"; `where` is a key of the project file."""

    level: str
    where: str
    message: str


def shown_time(at: datetime) -> str:
    """A time in a finding: a midnight as its date alone."""
    return instant(at).replace("T00:00:00Z", "")
