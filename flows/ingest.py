"""Stage 1: take in the inputs that are new, quarantine what breaks a stated rule."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from flows.loop import Loop, alert
from homeostat.durations import instant
from homeostat.records import Batch, BatchState, Decision, Severity
from pipelines.novelty import select_new_inputs, select_new_rejections
from pipelines.quarantine import hold_rows, restore_inputs, with_row_ids
from pipelines.sources import FOREVER, load_inputs
from pipelines.validation import decide_validation, validate_inputs


def ingest(loop: Loop, at: datetime) -> dict[str, Any]:
    """Append the inputs known before `at` that the lake does not hold, as one batch; returns its counts."""
    batch = instant(at)
    previous = loop.previous_tick(at)
    if not loop.lake.appended("inputs", "inputs", batch):
        _append(loop, at, batch, previous)
    return _record(loop, at, batch, previous)


def _append(loop: Loop, at: datetime, batch: str, previous: datetime | None) -> None:
    since = previous if loop.replaying else None
    rows = load_inputs(loop.project, loop.hooks, since, at)
    checked = validate_inputs(rows, loop.project, loop.key_dtype(), at)
    fresh = _unknown(loop, checked.accepted, at)
    rejected = select_new_rejections(checked.rejected, _quarantined(loop, checked.rejected))
    verdict = _judge(loop, rejected, fresh.height, at, batch)
    if verdict.kind == "hold":
        held = hold_rows(fresh.drop("_correction"), loop.project, verdict.reasons[0], at)
        rejected, fresh = pl.concat([rejected, held], how="diagonal_relaxed"), fresh.clear()
    if rejected.height:
        named = with_row_ids(rejected.with_columns(batch=pl.lit(batch)))
        loop.lake.append("quarantine", named, "quarantine.inputs", batch)
    released = _released(loop, at)
    if released is not None:
        fresh = pl.concat([_unknown(loop, released, at), fresh], how="diagonal_relaxed")
    loop.lake.append("inputs", fresh.with_columns(_batch=pl.lit(batch)), "inputs", batch)


def _unknown(loop: Loop, rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    known = loop.lake.latest("inputs", loop.key, FOREVER, keys=rows[loop.key])
    return select_new_inputs(rows, rows.clear() if known is None else known)


def _record(loop: Loop, at: datetime, batch: str, previous: datetime | None) -> dict[str, Any]:
    rows = loop.lake.read("inputs", pl.col("_batch") == batch, [loop.key])
    count = 0 if rows is None else rows.height
    rejected = loop.lake.read("quarantine", (pl.col("batch") == batch) & (pl.col("source") == "inputs"))
    broken = 0 if rejected is None else rejected.filter(pl.col("rule") != "held").height
    held = 0 if rejected is None else rejected.height - broken
    start = previous if previous is not None else at - loop.project.loop.tick
    history = previous is None and at <= loop.project.start_at
    state = (
        BatchState.HELD if held or (broken and not count) else BatchState.HISTORY if history else BatchState.VALIDATED
    )
    outcome = {"batch": batch, "rows": count, "quarantined": broken, "held": held}
    with loop.store.write("ingest") as write:
        reason = None
        if rejected is not None and rejected.height:
            verdict = _judge(loop, rejected.filter(pl.col("rule") != "held"), count + held, at, batch)
            reason = "; ".join(verdict.reasons)
            write.append_decision(verdict)
            severity = Severity.CRITICAL if verdict.kind == "hold" else Severity.WARNING
            title = f"batch {batch} is held" if verdict.kind == "hold" else f"{broken} rows were quarantined"
            write.append_alert(alert(at, severity, "validation", title, reason))
        write.put_batch(Batch(batch, start, at, state, count, broken + held, reason))
        write.take_releases(loop.store.list_releases(), batch)
        write.put_stage(at, "ingest", outcome)
    return outcome


def _judge(loop: Loop, rejected: pl.DataFrame, accepted: int, at: datetime, batch: str) -> Decision:
    counts = dict(rejected.group_by("rule").len().sort("rule").iter_rows())
    return decide_validation(counts, rejected.height + accepted, loop.project, at, batch)


def _released(loop: Loop, at: datetime) -> pl.DataFrame | None:
    ids = loop.store.list_releases()
    chosen = (pl.col("source") == "inputs") & pl.col("row_id").is_in(ids)
    rows = loop.lake.read("quarantine", chosen) if ids else None
    return restore_inputs(rows, loop.project, loop.key_dtype(), at)


def _quarantined(loop: Loop, rejected: pl.DataFrame) -> pl.DataFrame:
    known = loop.lake.read("quarantine", pl.col("source") == "inputs") if rejected.height else None
    return rejected.clear() if known is None else known
