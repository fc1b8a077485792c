"""Splits by time: what is later is never used to judge what is earlier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

SHARES = (0.7, 0.15, 0.15)


def split_by_time(rows: pl.DataFrame | int, shares: Sequence[float] = SHARES) -> tuple[np.ndarray, ...]:
    """Split rows into consecutive parts of about these shares, earliest first.

    `rows` is a frame with `event_at`, or a number of rows that are in time order already. Returns one int64
    array of row positions a part, each in time order; together they hold every position once. Rows with an
    equal `event_at` stay in one part wherever there are at least as many distinct times as parts.
    """
    height = rows if isinstance(rows, int) else rows.height
    if isinstance(rows, int):
        order, edges = np.arange(height), np.arange(1, height)
    else:
        order = rows["event_at"].arg_sort(nulls_last=True).to_numpy().astype(np.int64)
        times = rows["event_at"].gather(order)
        edges = np.flatnonzero(times.ne_missing(times.shift(1)).to_numpy()[1:]) + 1
    wanted = np.round(np.cumsum(shares)[:-1] / sum(shares) * height).astype(np.int64)
    cuts = _nearest_edges(wanted, edges) if len(edges) >= len(wanted) else wanted
    return tuple(np.split(order, cuts))


def _nearest_edges(wanted: np.ndarray, edges: np.ndarray) -> list[int]:
    """Take for each wanted cut the nearest edge that leaves every part at least one row."""
    cuts: list[int] = []
    first = 0
    for index, target in enumerate(wanted):
        free = edges[first : len(edges) - (len(wanted) - index - 1)]
        pick = int(np.argmin(np.abs(free - target)))
        cuts.append(int(free[pick]))
        first += pick + 1
    return cuts
