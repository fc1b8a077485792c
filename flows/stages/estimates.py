"""Estimates of the champion's windows, made before their labels are looked at, and kept beside what came of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from homeostat.flows.labels import with_fair_labels
from homeostat.flows.loop import Loop
from homeostat.flows.roles import AS_SCORED
from homeostat.monitoring.estimation.estimate import INPUT, PAST, ScoredWindow, estimate_window, spaced
from homeostat.monitoring.performance.realized import is_closed
from homeostat.pipelines.labels.delays import LabelDelays
from homeostat.records import Window

COLUMNS = ("event_at", "scored_at", "batch", "prediction", "score", "classes", "scores")


def with_estimates(loop: Loop, measured: Sequence[Window], at: datetime, delays: LabelDelays) -> list[Window]:
    """Give each window its estimate: the one it had, else one made now from final windows that ended before it began.

    An estimate is made once and then kept, so what it was off by can be told when the window is final. It reads at
    most `PAST` windows back, however many there were.
    """
    kept = {w.batch: w for w in loop.store.list_windows()}
    wanted = [w for w in measured if w.batch not in kept or kept[w.batch].estimated is None]
    finals = {w.batch: w for w in [*kept.values(), *measured] if is_closed(w, loop.project, at)}
    past = {w.batch: _before(w, list(finals.values())) for w in wanted}
    past = {batch: before for batch, before in past.items() if before}
    rows = _scored(loop, {*past, *(w.batch for before in past.values() for w in before)}, at, delays) if past else {}
    return [_filled(loop, w, kept.get(w.batch), past.get(w.batch, ()), rows) for w in measured]


def _before(window: Window, finals: Sequence[Window]) -> list[Window]:
    earlier = [w for w in finals if w.end_at <= window.start_at and w.batch != window.batch]
    return sorted(earlier, key=lambda w: (w.end_at, w.batch))[-PAST:]


def _filled(
    loop: Loop, window: Window, kept: Window | None, past: Sequence[Window], rows: dict[str, pl.DataFrame]
) -> Window:
    if kept is not None and kept.estimated is not None:
        low, high = kept.estimated_low, kept.estimated_high
        return replace(window, estimated=kept.estimated, estimated_low=low, estimated_high=high)
    if not past or window.batch not in rows:
        return window
    current, *before = (ScoredWindow(w.start_at, w.end_at, rows[w.batch]) for w in (window, *past) if w.batch in rows)
    made = estimate_window(current, before, project=loop.project, positive=loop.positive)
    if made is None:
        return window
    return replace(window, estimated=made.value, estimated_low=made.low, estimated_high=made.high)


def _scored(loop: Loop, batches: Collection[str], at: datetime, delays: LabelDelays) -> dict[str, pl.DataFrame]:
    """The champion's rows of batches, evenly sampled, with the labels known at `at` and their raw inputs, by batch."""
    mine = (pl.col("role") == "champion") & pl.col("batch").is_in(sorted(batches))
    rows = loop.lake.read("predictions", mine, [loop.key, *COLUMNS])
    if rows is None or rows.is_empty():
        return {}
    parts = rows.sort("batch", "event_at", loop.key).partition_by("batch", maintain_order=True)
    rows = pl.concat([spaced(part, 10 * loop.project.monitoring.sample) for part in parts])
    rows = (
        with_fair_labels(loop, rows, at, delays)
        .drop("propensity")
        .join(_inputs(loop, batches, rows), on=[loop.key, "batch"], how="left")
    )
    rows = rows.sort("batch", "event_at", loop.key)
    return {name[0]: part for name, part in rows.partition_by("batch", as_dict=True, maintain_order=True).items()}


def _inputs(loop: Loop, batches: Collection[str], rows: pl.DataFrame) -> pl.DataFrame:
    """The raw inputs of these rows, one for each key and batch."""
    keys = rows.select(loop.key, "batch")
    inputs = loop.lake.scan("inputs")
    if inputs is None:
        return keys.unique()
    mine = pl.col("_batch").is_in(sorted(batches)) & AS_SCORED
    features = [pl.col(name).alias(f"{INPUT}{name}") for name in loop.project.data.features]
    chosen = inputs.filter(mine).select(loop.key, pl.col("_batch").alias("batch"), *features)
    matching = loop.lake.collect("inputs", chosen.join(keys.lazy(), on=[loop.key, "batch"], how="semi"))
    return matching.unique([loop.key, "batch"], keep="first", maintain_order=True)
