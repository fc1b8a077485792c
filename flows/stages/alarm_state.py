"""Feeding the alarm: each matured batch of the champion's lineage once, in the order of events, as it is known then."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import polars as pl

from homeostat.durations import instant
from homeostat.flows.facts import ALARM, CLASSES
from homeostat.flows.labels import with_fair_labels
from homeostat.flows.loop import Loop
from homeostat.losses import LEAST_ROWS, has_no_scores, loss_scale, row_losses, segment_values
from homeostat.metrics import positive_class
from homeostat.monitoring.alarm.state import Watch, begin, doubt, rested_on, take, withdraw
from homeostat.monitoring.performance.realized import awaits_labels
from homeostat.project import Task
from homeostat.records import Batch, BatchState, Role, Window, WindowStatus


def get_watch(loop: Loop) -> Watch | None:
    """What is remembered of the champion's lineage; None before its first check."""
    champion = loop.version_of("champion")
    return None if champion is None else loop.store.get_fact(ALARM.of(_lineage_of(loop, champion)))


def follow(
    loop: Loop,
    at: datetime,
    measured: list[Window],
    corrected: Collection[str] = (),
    *,
    without: Collection[str] = (),
) -> Watch | None:
    """The state of the champion's lineage after the batches that matured by `at`; reads, and writes nothing.

    `measured`: the windows that were open at this check; `corrected`: the batches that new labels came for, by which an
    alarm that stands may be withdrawn. Batches `without` meaning are left out for good. The first batch that still
    waits for labels ends it: those after it wait too. Work is linear in the new labels and in the batches that wait,
    whatever came before.
    """
    champion = loop.version_of("champion")
    if champion is None:
        return None
    lineage = _lineage_of(loop, champion)
    watch = _reconsidered(loop, _current(loop, lineage, at), corrected, at)
    status = {window.batch: window.status for window in measured}
    for batch in loop.store.list_batches(BatchState.SCORED, after=datetime.fromisoformat(watch.until)):
        if batch.end_at > at:
            break
        if batch.id in without or not _is_of(loop, batch, lineage):
            watch = replace(watch, until=instant(batch.end_at))
            continue
        rows = None if status.get(batch.id) is WindowStatus.PROVISIONAL else _matured(loop, batch, at)
        if rows is None:
            return replace(watch, waits_for=batch.id)
        watch = _taken(loop, watch, batch, rows)
    return replace(watch, waits_for=None)


def _reconsidered(loop: Loop, watch: Watch, corrected: Collection[str], at: datetime) -> Watch:
    """The watch without alarms that rest on labels which have been corrected, if they would not have been raised."""
    for stream in watch.streams if corrected else ():
        span = rested_on(stream)
        if span is None:
            continue
        batches = [b for b in loop.store.list_batches(BatchState.SCORED) if _is_of(loop, b, watch.lineage)]
        batches = [b for b in batches if span[0] <= instant(b.start_at) and instant(b.end_at) <= span[1]]
        if not any(batch.id in corrected for batch in batches):
            continue
        again = doubt(watch, stream)
        for batch in batches:
            rows = _matured(loop, batch, at)
            again = again if rows is None else _taken(loop, again, batch, rows)
        watch = withdraw(watch, again, instant(at))
    return watch


def _lineage_of(loop: Loop, version: int) -> int:
    record = loop.store.get_model(version)
    return version if record is None else record.root_version


def _is_of(loop: Loop, batch: Batch, lineage: int) -> bool:
    """Whether a batch counts for a lineage; corrections that were scored again have had their labels counted before."""
    if batch.model_version is None or not batch.rows or batch.id.endswith("/corrections"):
        return False
    return _lineage_of(loop, batch.model_version) == lineage


def _current(loop: Loop, lineage: int, at: datetime) -> Watch:
    """The watch that is kept; a new one where there is none, or where what it promises was set anew."""
    monitoring, columns = loop.project.monitoring, tuple(loop.project.data.segments)
    kept = loop.store.get_fact(ALARM.of(lineage))
    if kept and (kept.alpha, kept.tolerance, kept.columns) == (monitoring.alpha, monitoring.tolerance, columns):
        return kept
    root = loop.store.get_model(lineage)
    since = loop.project.start_at if root is None else root.as_of
    made = begin(
        lineage,
        {} if root is None else root.loss,
        alpha=monitoring.alpha,
        tolerance=monitoring.tolerance,
        columns=columns,
        at=instant(at),
    )
    return replace(made, until=kept.until if kept else instant(since), changes=kept.last_change if kept else 0)


def _matured(loop: Loop, batch: Batch, at: datetime) -> pl.DataFrame | None:
    """The batch's predictions with what is known of their truth; None while some label may still come."""
    mine = (pl.col("role") == Role.CHAMPION.value) & (pl.col("batch") == batch.id)
    rows = loop.lake.read("predictions", mine)
    if rows is None:
        return None
    labelled = with_fair_labels(loop, rows, at)
    waits = labelled["label"].null_count() > 0 and awaits_labels(labelled, loop.project, at)
    return None if waits else labelled


def _taken(loop: Loop, watch: Watch, batch: Batch, rows: pl.DataFrame) -> Watch:
    start, end = instant(batch.start_at), instant(batch.end_at)
    task, scale = loop.project.task, 1.0 if loop.project.task is not Task.REGRESSION else watch.scale
    if scale is None:
        # A model without a holdout: its first batch says what its errors are measured in, and nothing else.
        enough = rows["label"].count() >= LEAST_ROWS
        return replace(watch, until=end, scale=loss_scale(rows["label"], rows) if enough else None)
    losses = row_losses(task, rows["label"], rows, _positive(loop, rows), scale)
    segments = segment_values(_with_segments(loop, batch, rows), watch.columns)
    return take(watch, losses, segments, start=start, end=end, zero_one=has_no_scores(task, rows))


def _with_segments(loop: Loop, batch: Batch, rows: pl.DataFrame) -> pl.DataFrame:
    columns = loop.project.data.segments
    chosen = (pl.col("_batch") == batch.id) & ~pl.col("_correction")
    raw = loop.lake.read("inputs", chosen, [loop.key, *columns]) if columns else None
    if raw is None:
        return rows
    return rows.select(loop.key).join(raw.unique(loop.key), on=loop.key, how="left", maintain_order="left")


def _positive(loop: Loop, rows: pl.DataFrame) -> str | None:
    if loop.project.task is not Task.BINARY or loop.positive is not None:
        return loop.positive
    fact = loop.store.get_fact(CLASSES)
    known = () if fact is None else fact.classes
    return positive_class(known or [*rows["label"].drop_nulls(), *rows["prediction"].drop_nulls()])
