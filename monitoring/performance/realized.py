"""Realized performance of one batch, from the labels that are known by now, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime

import polars as pl

from homeostat.errors import ProjectError
from homeostat.metrics import compute_metrics, stand_for
from homeostat.monitoring.performance.bounds import Bounds, bound_metric, sampling_interval
from homeostat.project import Project
from homeostat.records import Batch, Window, WindowStatus

Evaluate = Callable[[pl.Series, pl.DataFrame], Mapping[str, float]]
"""The hook `evaluate`: known truths and their scored rows in, further metrics out."""


def measure_window(
    scored: pl.DataFrame,
    *,
    batch: Batch,
    project: Project,
    now: datetime,
    positive: str | None = None,
    evaluate: Evaluate | None = None,
) -> Window:
    """Measure the champion over one batch, as known at `now`.

    `scored`: the batch's rows of the predictions frame, and `label` (canonical, null where not known).
    `evaluate` is the project's hook; it gets the known truths and their scored rows.
    `propensity`, where it is there, is the chance with which each label came: labels count by its inverse, and
    `coverage` is the share of the batch that they stand for. The status is unknown
    where nothing can be said of the watched metric; final where no more labels are waited for, because
    every one has come or every row's horizon has passed; else provisional, whatever the coverage: labels
    that come early are no fair sample. Raises ProjectError where the hook fails.
    """
    labels = scored["label"]
    labels = labels.fill_nan(None) if labels.dtype.is_float() else labels
    known = labels.is_not_null()
    truth, rows = labels.filter(known), scored.filter(known)
    weights = stand_for(rows)
    metrics = compute_metrics(project.task, truth, rows, positive, weights)
    if evaluate is not None and len(truth):
        metrics = _evaluate(evaluate, truth, rows) | metrics
    realized = metrics.get(project.metric)
    waits = len(truth) < scored.height and awaits_labels(scored, project, now, batch.start_at, batch.end_at)
    status = _status(realized, waits)
    bounds = _bounds(scored, weights is not None, status, project, positive)
    return Window(
        batch=batch.id,
        start_at=batch.start_at,
        end_at=batch.end_at,
        rows=scored.height,
        labels=len(truth),
        coverage=label_coverage(scored),
        status=status,
        metric=project.metric,
        realized=realized,
        metrics=metrics,
        model_version=_version(scored, batch),
        checked_at=now,
        realized_low=None if bounds is None else bounds[0],
        realized_high=None if bounds is None else bounds[1],
    )


def _bounds(
    scored: pl.DataFrame, sampled: bool, status: WindowStatus, project: Project, positive: str | None
) -> Bounds | None:
    """What missing labels can make of the metric; of a sample, what other samples would give 95 times in 100."""
    if sampled and status is not WindowStatus.UNKNOWN:
        return sampling_interval(project.task, project.metric, scored, positive)
    if status is not WindowStatus.PROVISIONAL:
        return None
    return bound_metric(project.task, project.metric, scored, positive)


def _status(realized: float | None, waits: bool) -> WindowStatus:
    if realized is None:
        return WindowStatus.UNKNOWN
    return WindowStatus.PROVISIONAL if waits else WindowStatus.FINAL


def label_coverage(scored: pl.DataFrame) -> float:
    """The share of the rows that their labels stand for."""
    labels = scored["label"]
    rows = scored.filter((labels.fill_nan(None) if labels.dtype.is_float() else labels).is_not_null())
    if not rows.height:
        return 0.0
    weights = stand_for(rows)
    represented = float(rows.height) if weights is None else min(float(weights.sum()), float(scored.height))
    return represented / scored.height


def is_closed(window: Window, project: Project, now: datetime) -> bool:
    """Whether no label of a window is waited for any more.

    That of one whose metric is unknown too, because its labels are all the same: a window is not chosen by its labels.
    """
    if window.status is not WindowStatus.UNKNOWN or not window.labels:
        return window.status is WindowStatus.FINAL
    longest = project.data.inputs.ahead + project.data.feedback.horizon
    return window.labels == window.rows or now >= window.end_at + longest


def awaits_labels(scored: pl.DataFrame, project: Project, now: datetime, start_at: datetime, end_at: datetime) -> bool:
    """Whether some label of the batch of a slot could still come, because its row's horizon has not passed at `now`.

    The horizon runs from the later of the event and the slot in which the row came, if that is a later one. An event
    dated further ahead of its batch than `data.inputs.ahead` is a mistake, and is waited for no longer than that.
    """
    late = pl.when(pl.col("event_at") < start_at).then(pl.lit(end_at)).otherwise("event_at")
    begun = pl.min_horizontal(late.fill_null(end_at), pl.lit(end_at + project.data.inputs.ahead))
    return bool(scored.select((begun + project.data.feedback.horizon > now).any()).item())


def count_misdated(scored: pl.DataFrame, project: Project, end_at: datetime) -> int:
    """How many rows without a label are dated too far ahead of the end of their batch to be waited for."""
    ahead = pl.col("event_at") > end_at + project.data.inputs.ahead
    return int(scored.select((ahead & pl.col("label").is_null()).sum()).item())


def _version(scored: pl.DataFrame, batch: Batch) -> int:
    versions = scored["model_version"].drop_nulls().to_list()
    return int(max(versions)) if versions else batch.model_version or 0


def _evaluate(evaluate: Evaluate, truth: pl.Series, rows: pl.DataFrame) -> dict[str, float]:
    try:
        extra = evaluate(truth, rows)
        pairs = extra.items() if isinstance(extra, Mapping) else dict(extra).items()
        return {str(name): float(value) for name, value in pairs if math.isfinite(value)}
    except Exception as fault:
        raise ProjectError(
            f"hooks.py: evaluate failed: {type(fault).__name__}: {fault}.",
            "It must take (truth, scores) and give a mapping of names to numbers.",
        ) from fault
