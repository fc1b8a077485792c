"""Alarms: has the champion become worse than it was on its own holdout?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from homeostat.metrics import gain
from homeostat.project import Monitoring, Project
from homeostat.records import Decision, ModelRecord, Window, WindowStatus


def decide_alarm(
    champion: ModelRecord | None, windows: Sequence[Window], *, standing: bool, project: Project, now: datetime
) -> Decision:
    """Compare the champion's last windows with its holdout; pure.

    Takes the newest `monitoring.windows` windows that the champion itself scored, whose metric is known and whose
    coverage reaches `monitoring.min_coverage`; each of them must be worse than the reference by more than the
    tolerance. Kinds: "alarm" (said once), "standing" (said before, not yet acted on), "quiet".
    """
    version = champion.version if champion else None

    def decided(kind: str, *reasons: str, **evidence: object) -> Decision:
        return Decision(now, "alarm", kind, reasons, evidence, version)

    if standing:
        return decided("standing", "this champion's alarm stands since it was raised")
    reference = champion.reference.get(project.metric) if champion else None
    if champion is None or reference is None:
        return decided("quiet", "there is no reference to compare with")
    watched = _watched(champion, windows, project)
    losses = {w.batch: -gain(project.metric, w.realized, reference) for w in watched if w.realized is not None}
    evidence = {"metric": project.metric, "reference": reference, "worse_by": losses}
    if len(losses) < project.monitoring.windows:
        return decided("quiet", f"{len(losses)} of {project.monitoring.windows} windows are known", **evidence)
    tolerance = project.monitoring.tolerance
    if min(losses.values()) <= tolerance:
        return decided(
            "quiet", f"{project.metric} is within {tolerance:g} of the holdout's {reference:.4f}", **evidence
        )
    return decided(
        "alarm",
        f"{project.metric} was worse than the holdout's {reference:.4f} by {min(losses.values()):.4f} or more "
        f"over the last {len(losses)} windows; the tolerance is {tolerance:g}",
        **evidence,
    )


def is_mature(window: Window, settings: Monitoring) -> bool:
    """Whether a window's labels are a fair sample: enough have come, or no more are waited for."""
    if window.status is WindowStatus.UNKNOWN:
        return False
    return window.status is WindowStatus.FINAL or window.coverage >= settings.min_coverage


def _watched(champion: ModelRecord, windows: Sequence[Window], project: Project) -> list[Window]:
    settings = project.monitoring
    usable = [
        w
        for w in windows
        if w.model_version == champion.version and w.labels >= settings.min_rows and is_mature(w, settings)
    ]
    return sorted(usable, key=lambda w: w.end_at)[-settings.windows :]
