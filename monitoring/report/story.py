"""The data of a report, and how its numbers, times and names are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

from homeostat.durations import format_duration
from homeostat.monitoring.report.decisions import Sign, mark_in_report
from homeostat.project import Task
from homeostat.records import Alert, Decision, Window

METRIC_NAMES = {
    "auc": "AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "f1": "F1",
    "f1_macro": "macro F1",
    "auc_macro": "macro AUC",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}
_TICKS = {timedelta(hours=1): "hourly", timedelta(days=1): "daily", timedelta(days=7): "weekly"}
_INSTANT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_LONG_COUNT = re.compile(r"(?<![\w.:'\"/-])\d{5,}(?![\w.:'\"/-])")


@dataclass(frozen=True, slots=True)
class Mark:
    """Something the loop did at one moment, as the chart marks it."""

    at: datetime
    sign: Sign
    text: str


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that a report shows. `windows` are the champion's, `baseline` those of the first model, never replaced.

    `drift` holds, for each check, its time, the share of drifted columns (None where unknown) and its status;
    `drift_limit` is the share from which a check is drift. `summary` has the keys of a replay's summary.json;
    what it lacks is left out of the page.
    """

    project: str
    task: Task
    metric: str
    tick: timedelta
    windows: tuple[Window, ...] = ()
    baseline: tuple[Window, ...] = ()
    drift: tuple[tuple[datetime, float | None, str], ...] = ()
    marks: tuple[Mark, ...] = ()
    decisions: tuple[Decision, ...] = ()
    alerts: tuple[Alert, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    drift_limit: float = 0.5

    @property
    def clock(self) -> time:
        """The time of day, in UTC, of nearly all ticks: the report says it once and leaves it out of its tables."""
        times = Counter(window.end_at.astimezone(UTC).time() for window in self.windows)
        return min(times, key=lambda at: (-times[at], at)) if times else time()


def mark_decision(decision: Decision) -> Mark | None:
    """The mark of a decision on the report's chart; None where it has none."""
    sign = mark_in_report(decision)
    version = f"version {decision.model_version}: " if decision.model_version else ""
    return None if sign is None else Mark(decision.tick_at, sign, version + "; ".join(decision.reasons))


def metric_name(metric: str) -> str:
    """A metric as people write it.

    >>> metric_name("log_loss"), metric_name("my_gain")
    ('log loss', 'my gain')
    """
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def format_time(at: datetime, clock: time = time()) -> str:
    """A moment in UTC; the time of day is left out where it is the usual one.

    >>> [format_time(datetime(2013, 3, 1, hour, tzinfo=UTC), time(5)) for hour in (5, 6)]
    ['2013-03-01', '2013-03-01 06:00']
    """
    at = at.astimezone(UTC)
    return at.strftime("%Y-%m-%d" if at.time() == clock else "%Y-%m-%d %H:%M")


def format_text(text: str, clock: time = time()) -> str:
    """A reason as a page shows it: instants short, long counts in groups of three.

    >>> format_text("31761 labels since batch 2013-03-01T05:00:00Z", time(5))
    '31,761 labels since batch 2013-03-01'
    """
    short = _INSTANT.sub(lambda match: format_time(datetime.fromisoformat(match[0]), clock), text)
    return _LONG_COUNT.sub(lambda match: f"{int(match[0]):,}", short)


def period(data: ReportData) -> str:
    """How often the loop ticks, at what time of day, and from when to when."""
    how_often = _TICKS.get(data.tick) or f"every {format_duration(data.tick)}"
    if not data.windows:
        return how_often
    at = f" at {data.clock:%H:%M} UTC" if data.clock != time() and data.tick >= timedelta(days=1) else ""
    first, last = min(w.start_at for w in data.windows), max(w.end_at for w in data.windows)
    return f"{how_often}{at}, {format_time(first, data.clock)} to {format_time(last, data.clock)}"


def number(value: float, signed: bool = False) -> str:
    """A metric in a form that can be read: three decimals, or four figures where it is large.

    >>> number(0.70849), number(12345.6), number(-0.046, signed=True)
    ('0.708', '12,346', '−0.046')
    """
    return f"{value:{'+' if signed else ''},.{_digits(value)}f}".replace("-", "−")


def difference(metric_gain: float, new: float, old: float) -> str:
    """A gain that agrees with the two rounded figures it stands beside; `metric_gain` gives its sign.

    >>> difference(0.04338, 0.69877, 0.65538)
    '+0.044'
    """
    digits = max(_digits(new), _digits(old))
    size = abs(round(new, digits) - round(old, digits))
    return f"{size if metric_gain >= 0 else -size:+,.{digits}f}".replace("-", "−")


def count(value: float) -> str:
    """A count, shortened from a million on.

    >>> count(12345), count(48_300_000)
    ('12,345', '48.3 M')
    """
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:,.0f}"


def seconds(value: float) -> str:
    """A duration: seconds, or minutes and seconds from two minutes on.

    >>> seconds(97.6), seconds(150)
    ('98 s', '2 min 30 s')
    """
    return f"{value:.0f} s" if value < 120 else f"{int(value) // 60} min {int(value) % 60:02} s"


def _digits(value: float) -> int:
    return 3 if abs(value) < 10 else 2 if abs(value) < 1000 else 0
