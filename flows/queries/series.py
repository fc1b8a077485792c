"""The loop's picture over time, read for a page: at most so many points, of the whole or of a part of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from homeostat.flows.loop import Loop
from homeostat.metrics import better
from homeostat.monitoring.report.decisions import MARKED_KINDS
from homeostat.monitoring.report.series import build_series
from homeostat.monitoring.report.story import metric_name
from homeostat.records import Document, Role

INSTANT = timedelta(seconds=1)


def read_series(loop: Loop, start: datetime | None = None, end: datetime | None = None) -> Document:
    """What `build_series` makes of the ticks from `start` to `end`, both of them included.

    With it come the metric and its direction, the share from which a check is drift, the length of a tick in
    seconds, and `whole`, the start of the first window and the last tick (seconds since 1970; None before the first).
    """
    state = (loop.store.last_tick("check"), loop.store.last_decision())
    return _read(loop, start, end, state)


@lru_cache(maxsize=16)
def _read(loop: Loop, start: datetime | None, end: datetime | None, _state: tuple[datetime | None, ...]) -> Any:
    """What is read while the loop stands at a state: windows and checks are only written with the stage `check`."""
    store = loop.store
    after, before = start and start - INSTANT, end and end + INSTANT
    points = [p for p in store.list_points(after=after, before=before) if p.metric == loop.project.metric]
    first = store.list_points(Role.BASELINE, after=after, before=before) if loop.replaying else []
    gists = store.list_gists(MARKED_KINDS, after=after, before=before)
    span = store.span()
    return {
        "metric": metric_name(loop.project.metric),
        "higher": better(loop.project.metric, 1.0, 0.0),
        "limit": loop.project.monitoring.drift_share,
        "tick": int(loop.project.loop.tick.total_seconds()),
        "whole": span and [int((span[0] - loop.project.loop.tick).timestamp()), int(span[1].timestamp())],
        **build_series(points, store.list_shares(after=after, before=before), gists, first),
    }
