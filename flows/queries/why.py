"""Why: which version scored a row, why this score, who says what is true, and which decision chose that version."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from homeostat.errors import DataError, RegistryError
from homeostat.flows.exports import source_type
from homeostat.flows.learning.versions import read_sources
from homeostat.flows.loop import Loop
from homeostat.flows.roles import AS_SCORED, scored_as
from homeostat.lake import ORDER
from homeostat.pipelines.models.features import raw_view
from homeostat.records import Document, Role, TaskState


def why(loop: Loop, key: str, top: int = 5) -> Document:
    """Answer for one key; raises DataError where it was never scored."""
    rows = _rows(loop, "predictions", key)
    mine = None if rows is None else rows.filter(scored_as(Role.CHAMPION)).sort("scored_at")
    if rows is None or mine is None or mine.is_empty():
        raise DataError(f"{loop.key} {key!r} was never scored.", _hint(loop, key))
    last = mine.row(-1, named=True)
    version = last["model_version"]
    return {
        "key": key,
        "prediction": source_type(loop, mine["prediction"]).to_list()[-1],
        "score": _score(last),
        "event_at": last["event_at"],
        "scored_at": last["scored_at"],
        "batch": last["batch"],
        "label": _label(loop, key),
        "model_version": version,
        "model": _model(loop, version),
        "promoted_by": _promotion(loop, version, last["scored_at"]),
        "reasons": _reasons(loop, key, last, top),
        "times_scored": mine.height,
        "corrections": _corrections(loop, rows),
    }


def _corrections(loop: Loop, rows: pl.DataFrame) -> list[Document]:
    """What was said of corrected inputs of the row since, because a person asked; oldest first."""
    again = rows.filter(scored_as(Role.CORRECTION)).sort("scored_at")
    again = again.with_columns(source_type(loop, again["prediction"]))
    names = ("prediction", "model_version", "scored_at", "batch")
    return [{name: row[name] for name in names} | {"score": _score(row)} for row in again.iter_rows(named=True)]


def _rows(loop: Loop, table: str, key: str) -> pl.DataFrame | None:
    dtype = loop.key_dtype()
    if dtype is None:
        return None
    value = pl.Series([key]).cast(dtype, strict=False)
    return loop.lake.read(table, pl.col(loop.key) == value[0]) if value[0] is not None else None


def _hint(loop: Loop, key: str) -> str:
    if _rows(loop, "inputs", key) is not None and not _rows(loop, "inputs", key).is_empty():  # type: ignore[union-attr]
        return "It is known as an input: it came before the loop's start, or its batch still waits."
    return "Keys are those of the project's inputs; 'homeostat export predictions' lists what was scored."


def _score(row: Document) -> Any:
    if row["score"] is not None:
        return row["score"]
    return dict(zip(row["classes"], row["scores"], strict=True)) if row["scores"] else None


def _label(loop: Loop, key: str) -> Any:
    labels = _rows(loop, "feedback", key)
    if labels is None or labels.is_empty():
        return None
    last = labels.sort(*ORDER["feedback"], maintain_order=True).row(-1, named=True)
    label = {name: last[name] for name in ("label", "known_at", "provenance", "who", "propensity")}
    return label | {"caused": bool(last.get("caused")), "task": _task(loop, key) if last["who"] is not None else None}


def _task(loop: Loop, key: str) -> Document | None:
    """What people were asked of a row, what each of them said, and what it settled on; None where nobody was asked."""
    settled = [t for t in loop.store.list_tasks(TaskState.SETTLED, key=key) if t.settled_at is not None]
    if not settled:
        return None
    task = max(settled, key=lambda t: str(t.settled_at))
    return {
        "purpose": task.purpose.value,
        "asked_at": task.asked_at,
        "settled_at": task.settled_at,
        "answers": [{"who": a.who, "label": a.label, "at": a.at} for a in loop.store.list_answers(task.id)],
        "quality": task.quality,
        "agreement": task.agreement,
    }


def _model(loop: Loop, version: int) -> Document | None:
    record = loop.store.get_model(version)
    if record is None:
        return None
    return {
        "family": record.family,
        "trained_at": record.as_of,
        "rows": record.rows,
        "learned_until": record.trained_until,
        "holdout": dict(record.reference),
        "labels": _sources(loop, version),
    }


def _sources(loop: Loop, version: int) -> dict[str, int] | None:
    try:
        return read_sources(loop, version)
    except RegistryError:
        return None


def _promotion(loop: Loop, version: int, scored_at: Any) -> Document | None:
    chosen = loop.store.list_decisions(kinds=("promote", "rollback"))
    decisions = [d for d in chosen if d.model_version == version and d.tick_at <= scored_at]
    if not decisions:
        return None
    last = decisions[-1]
    return {"at": last.tick_at, "decision": last.kind, "reasons": list(last.reasons), "evidence": dict(last.evidence)}


def _reasons(loop: Loop, key: str, scored: Document, top: int) -> list[list[Any]] | str:
    inputs = _rows(loop, "inputs", key)
    if inputs is None or inputs.is_empty():
        return []
    row = inputs.filter(AS_SCORED).head(1)
    try:
        lists = loop.models.load(scored["model_version"]).explain(raw_view(row, loop.project), top).to_list()
    except RegistryError as fault:
        return f"the version cannot be loaded to explain itself: {fault}"
    return [list(pair) for pair in json.loads(lists[0])] if lists and lists[0] else []
