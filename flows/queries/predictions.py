"""What models said of one row, and why there is nothing yet."""

from __future__ import annotations

from typing import Any

import polars as pl

from homeostat.flows.exports import source_type
from homeostat.flows.loop import Loop
from homeostat.flows.roles import RESCORED
from homeostat.pipelines.data.canonical import canonical_key
from homeostat.pipelines.data.sources import FOREVER
from homeostat.records import BatchState, Document, PostKind, Role


def list_scores(loop: Loop, key: str) -> list[Document]:
    """Every score of a key in every role, newest first; classes in the types of the source."""
    rows = _rows(loop, "predictions", key)
    if rows is None or rows.is_empty():
        return []
    rows = rows.sort("scored_at", descending=True).with_columns(source_type(loop, rows["prediction"]))
    return [
        {name: row[name] for name in ("batch", "model_version", "prediction", "event_at", "scored_at")}
        | {"role": Role.CORRECTION.value if row["batch"].endswith(RESCORED) else row["role"], "score": _score(row)}
        for row in rows.iter_rows(named=True)
    ]


def explain_absence(loop: Loop, live: Loop, key: str) -> tuple[bool, str]:
    """Whether a key that has no score waits for one, and what to say of it; `live` is the loop that posts go to."""
    rows = _rows(loop, "inputs", key)
    if rows is not None and not rows.is_empty():
        batch = loop.store.get_batch(rows["_batch"][0])
        if batch is not None and batch.state is BatchState.HISTORY:
            return False, f"{loop.key} {key!r} came before the loop's start, and such rows are never scored."
        return True, f"{loop.key} {key!r} is known and waits to be scored."
    for post in live.store.list_posts(PostKind.INPUTS, FOREVER, ""):
        if any(_same(row[loop.key], key) for row in post.rows):
            return True, f"{loop.key} {key!r} was posted, and waits to be taken in and scored."
    rejected = loop.lake.read("quarantine", (pl.col("source") == "inputs") & (pl.col("key") == key), ["rule", "detail"])
    if rejected is not None and rejected.height:
        return False, f"the row of {loop.key} {key!r} is in quarantine: {rejected['detail'][-1]}."
    return False, f"{loop.key} {key!r} is not known: no input with it has come."


def _same(value: Any, key: str) -> bool:
    return canonical_key(pl.Series("key", [value]), pl.String())[0] == key


def _rows(loop: Loop, table: str, key: str) -> pl.DataFrame | None:
    dtype = loop.key_dtype()
    value = None if dtype is None else pl.Series([key]).cast(dtype, strict=False)[0]
    return None if value is None else loop.lake.read(table, pl.col(loop.key) == value)


def _score(row: Document) -> Any:
    if row.get("score") is not None:
        return row["score"]
    return dict(zip(row["classes"], row["scores"], strict=True)) if row.get("scores") else None
