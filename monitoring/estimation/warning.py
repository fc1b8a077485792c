"""The one thing an estimate may do: say that the champion looks worse, before labels can."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from homeostat.metrics import gain
from homeostat.project import Project
from homeostat.records import Alert, ModelRecord, Severity, Window, WindowStatus


def warn_of_estimate(
    champion: ModelRecord | None,
    root: ModelRecord | None,
    windows: Sequence[Window],
    project: Project,
    now: datetime,
) -> Alert | None:
    """Warn where the newest window is expected to be wholly worse than the holdout by more than the tolerance; pure.

    Looks at windows that this champion scored and whose labels are still waited for. What the labels that have come
    already rule out is not warned of. The holdout is that of the lineage's root version, since what a later version was
    compared on are few rows; and a lineage is warned of under the same key, so that it is said once.
    """
    reference = root.reference.get(project.metric) if root else None
    open_ = [w for w in windows if champion and w.model_version == champion.version]
    newest = max((w for w in open_ if w.status is not WindowStatus.FINAL), key=lambda w: w.end_at, default=None)
    if champion is None or root is None or reference is None or newest is None:
        return None
    hopes = _at_best(project.metric, newest)
    best = max(hopes, key=lambda value: gain(project.metric, value, reference), default=None)
    if best is None or gain(project.metric, best, reference) >= -project.monitoring.tolerance:
        return None
    title = f"version {champion.version} looks worse, by an estimate"
    body = (
        f"{project.metric} of batch {newest.batch}, whose labels are waited for, is estimated at "
        f"{newest.estimated:.4f}, at best {best:.4f}; the holdout's was {reference:.4f}, and the tolerance is "
        f"{project.monitoring.tolerance:g}. "
        "An estimate decides nothing; the labels of this batch will."
    )
    return Alert(f"version-{root.version}/estimate", now, Severity.WARNING, title, body)


def _at_best(metric: str, window: Window) -> list[float]:
    """The better end of the interval, and what the labels that have come make sure of; empty without an interval."""
    upwards = gain(metric, 1.0, 0.0) > 0
    expected = window.estimated_high if upwards else window.estimated_low
    certain = window.realized_low if upwards else window.realized_high
    return [] if expected is None else [expected] if certain is None else [expected, certain]
