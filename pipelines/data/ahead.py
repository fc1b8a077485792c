"""Times that lie ahead: what is taken for a mistake, and from when a label is waited for."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from homeostat.project import Project

LEAST, SHARE = 50, 1000
"""How many rows there must be to tell that one lies apart, and one of how many may."""


def last_credible(times: pl.Series) -> datetime | None:
    """The last of these times that is no mistake; None where there is none.

    At most one row in a thousand, and one at least, is taken for mistyped where it comes after all others by more than
    all others span.
    """
    known = times.drop_nulls().sort()
    last = known[-1] if len(known) else None
    if last is None or len(known) < LEAST:
        return None if last is None else last.astimezone(UTC)
    tail = known.tail(max(1, len(known) // SHARE) + 1)
    apart = tail.diff().slice(1) > tail.slice(0, len(tail) - 1) - known[0]
    place = apart.arg_true()
    return (tail[int(place[0])] if len(place) else last).astimezone(UTC)


def came_late(project: Project) -> pl.Expr:
    """When a row of the lake could be had, where that was after the slot of its event; null where it came in time.

    Of a row that came before the loop's start nobody knows it.
    """
    late = (pl.col("known_at") > project.start_at) & (pl.col("event_at") < pl.col("known_at") - project.loop.tick)
    return pl.when(late).then(pl.col("known_at"))


def lies_ahead(project: Project, now: datetime) -> pl.Expr:
    """Whether a source row's event, or the time it could be had at, lies too far ahead to be right."""
    ahead, had = project.data.inputs.ahead, pl.col("available_at")
    later = pl.col("event_at") > pl.min_horizontal(had, pl.lit(now)) + ahead
    return later | (had > pl.lit(now) + ahead)
