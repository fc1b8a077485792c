"""The labels that count at a time, joined to what was predicted."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from flows.loop import Loop


def with_labels(loop: Loop, rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Join to predictions the labels that count at `at`; null where there is none. Sorted by event and key."""
    labels = loop.lake.latest("feedback", loop.key, at, keys=rows[loop.key])
    if labels is None:
        return rows.with_columns(label=pl.lit(None, pl.String))
    return rows.join(labels.select(loop.key, "label"), on=loop.key, how="left").sort("event_at", loop.key)
