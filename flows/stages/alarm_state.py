"""Feeding the alarm: each matured tick of the champion's lineage once, in the order of events, as it is known then.

All batches that came in a tick are one: how often a machine looks for rows must not change what is found.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from homeostat.durations import instant
from homeostat.flows.facts import ALARM, CLASSES
from homeostat.flows.labels import with_fair_labels
from homeostat.flows.loop import Loop, group_by_tick
from homeostat.flows.roles import AS_SCORED
from homeostat.losses import LEAST_ROWS, has_no_scores, loss_scale, row_losses, segment_values
from homeostat.metrics import positive_class
from homeostat.monitoring.alarm.state import Watch, begin, doubt, rested_on, take, withdraw
from homeostat.monitoring.performance.realized import awaits_labels
from homeostat.pipelines.labels.delays import LabelDelays
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
    delays: LabelDelays,
    corrected: Collection[str] = (),
    *,
    without: Collection[str] = (),
) -> Watch | None:
    """The state of the champion's lineage after the ticks that matured by `at`; reads, and writes nothing.

    `measured`: the windows that were open at this check; `corrected`: the batches that new labels came for, by which an
    alarm that stands may be withdrawn. Batches `without` meaning are left out for good. The first batch that still
    waits for labels ends it: those after it wait too. Work is linear in the new labels and in the batches that wait,
    whatever came before.
    """
    champion = loop.version_of("champion")
    if champion is None:
        return None
    lineage = _lineage_of(loop, champion)
    watch = _reconsidered(loop, _current(loop, lineage, at), corrected, at, delays)
    status = {window.batch: window.status for window in measured}
    scored = loop.store.list_batches(BatchState.SCORED, after=datetime.fromisoformat(watch.until))
    for came in group_by_tick(loop.project, [batch for batch in scored if batch.end_at <= at]):
        batches = [batch for batch in came if batch.id not in without and _is_of(loop, batch, lineage)]
        if not batches:
            watch = replace(watch, until=instant(came[-1].end_at))
            continue
        waits = any(status.get(batch.id) is WindowStatus.PROVISIONAL for batch in batches)
        rows = None if waits else _matured(loop, batches, at, delays)
        if rows is None:
            return replace(watch, waits_for=batches[-1].id)
        watch = _taken(loop, watch, batches, rows)
    return replace(watch, waits_for=None)


def _reconsidered(loop: Loop, watch: Watch, corrected: Collection[str], at: datetime, delays: LabelDelays) -> Watch:
    """The watch without alarms that rest on labels which have been corrected, if they would not have been raised."""
    for stream in watch.streams if corrected else ():
        span = rested_on(stream)
        if span is None:
            continue
        batches = [b for b in loop.store.list_batches(BatchState.SCORED) if _is_of(loop, b, watch.lineage)]
        batches = [b for b in batches if span[0] <= instant(b.start_at) and instant(b.end_at) <= span[1]]
        if not any(batch.id in corrected for batch in batches):
            continue
        ticks = group_by_tick(loop.project, batches)
        known = [rows for came in ticks if (rows := _matured(loop, came, at, delays)) is not None]
        if len(known) < len(ticks):
            continue
        again = doubt(watch, stream)
        for came, rows in zip(ticks, known, strict=True):
            again = _taken(loop, again, came, rows)
        watch = withdraw(watch, again, instant(at))
    return watch


def _lineage_of(loop: Loop, version: int) -> int:
    record = loop.store.get_model(version)
    return version if record is None else record.root_version


def _is_of(loop: Loop, batch: Batch, lineage: int) -> bool:
    if batch.model_version is None or not batch.rows:
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


def _matured(loop: Loop, batches: Sequence[Batch], at: datetime, delays: LabelDelays) -> pl.DataFrame | None:
    """The predictions of a tick's batches with what is known of their truth; None while some label may still come."""
    mine = (pl.col("role") == Role.CHAMPION.value) & pl.col("batch").is_in([batch.id for batch in batches])
    rows = loop.lake.read("predictions", mine)
    if rows is None:
        return None
    labelled = with_fair_labels(loop, rows, at, delays)
    return None if any(_waits(loop, labelled, batch, at) for batch in batches) else labelled


def _waits(loop: Loop, labelled: pl.DataFrame, batch: Batch, at: datetime) -> bool:
    rows = labelled.filter(pl.col("batch") == batch.id)
    return rows["label"].null_count() > 0 and awaits_labels(rows, loop.project, at, batch.start_at, batch.end_at)


def _taken(loop: Loop, watch: Watch, batches: Sequence[Batch], rows: pl.DataFrame) -> Watch:
    start, end = instant(batches[0].start_at), instant(batches[-1].end_at)
    task, scale = loop.project.task, 1.0 if loop.project.task is not Task.REGRESSION else watch.scale
    if scale is None:
        # A model without a holdout: its first batch says what its errors are measured in, and nothing else.
        enough = rows["label"].count() >= LEAST_ROWS
        return replace(watch, until=end, scale=loss_scale(rows["label"], rows) if enough else None)
    losses = row_losses(task, rows["label"], rows, _positive(loop, rows), scale)
    segments = segment_values(_with_segments(loop, batches, rows), watch.columns)
    return take(watch, losses, segments, start=start, end=end, zero_one=has_no_scores(task, rows))


def _with_segments(loop: Loop, batches: Sequence[Batch], rows: pl.DataFrame) -> pl.DataFrame:
    columns = loop.project.data.segments
    chosen = pl.col("_batch").is_in([batch.id for batch in batches]) & AS_SCORED
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
