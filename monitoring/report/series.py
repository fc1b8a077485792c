"""The loop over time as series: which there are, and how many ticks become one point where there are too many."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby

from homeostat.monitoring.report.decisions import mark_of
from homeostat.records import WindowStatus
from homeostat.store.narrow import Gist, Point

LIMIT = 800
"""How many points a series has at most."""
MARKS_LIMIT = 200
"""How many marks there are at most before those of one kind that fall on one point become one."""
Share = tuple[datetime, float | None, str]
Cell = float | str | None
ChartMark = list[int | str]
"""A mark of a picture: its time (seconds since 1970), its sign, its text, and how many marks it stands for."""


def build_series(
    points: Sequence[Point],
    shares: Sequence[Share] = (),
    gists: Sequence[Gist] = (),
    baseline: Sequence[Point] = (),
    *,
    limit: int = LIMIT,
) -> dict[str, object]:
    """The series of one picture, each as long as `at` (seconds since 1970), with at most `limit` points.

    Where there are more ticks, `per` of them that follow each other are one point: metrics are means weighted by
    labels, `lowest` and `highest` the extremes of the realized ones, coverage is labels over rows, intervals of
    estimates are means, bounds of what is provisional reach as far as any of them, drift is the largest share. A
    point is as trusted as the least trusted of its windows, and what is not known is None. `marks` are `(at, kind,
    text, count)`; of one kind on one point they are one where there are too many.
    """
    champion, first = _by_time(points), _by_time(baseline)
    moved = {at: (share, status) for at, share, status in shares}
    times = sorted({*champion, *first, *moved})
    per = max(1, -(-len(times) // limit))
    chunks = [times[start : start + per] for start in range(0, len(times), per)]
    columns = [
        _column(chunk, [champion[at] for at in chunk if at in champion], [first[at] for at in chunk if at in first])
        | {"drift": _largest(moved[at][0] for at in chunk if at in moved)}
        for chunk in chunks
    ]
    named: dict[str, object] = {name: [column[name] for column in columns] for name in _NAMES}
    return named | {"per": per, "ticks": len(times), "marks": _marks(gists, [chunk[-1] for chunk in chunks])}


_NAMES = (
    "at", "realized", "lowest", "highest", "low", "high", "estimated", "estimated_low", "estimated_high", "first",
    "coverage", "status", "version", "drift",
)  # fmt: skip


def _by_time(points: Sequence[Point]) -> dict[datetime, Point]:
    return {point.at: point for point in points}


def _column(chunk: Sequence[datetime], points: Sequence[Point], first: Sequence[Point]) -> dict[str, Cell]:
    """One point of every series but drift; `at` is the newest of its ticks."""
    known = [p for p in points if p.realized is not None]
    bounded = [p for p in known if p.realized_low is not None and p.realized_high is not None]
    rows = sum(p.rows for p in points)
    return {
        "at": int(chunk[-1].timestamp()),
        "realized": _mean((p.realized, p.labels) for p in known),
        "lowest": _round(min((p.realized for p in known if p.realized is not None), default=None)),
        "highest": _largest(p.realized for p in known),
        "low": _round(min((p.realized_low for p in bounded if p.realized_low is not None), default=None)),
        "high": _largest(p.realized_high for p in bounded),
        "estimated": _mean((p.estimated, p.rows) for p in points),
        "estimated_low": _mean((p.estimated_low, p.rows) for p in points),
        "estimated_high": _mean((p.estimated_high, p.rows) for p in points),
        "first": _mean((p.realized, p.labels) for p in first),
        "coverage": _round(sum(p.labels for p in points) / rows) if rows else None,
        "status": _status(points, known),
        "version": points[-1].model_version if points else None,
    }


def _status(points: Sequence[Point], known: Sequence[Point]) -> str | None:
    if not points:
        return None
    if not known:
        return WindowStatus.UNKNOWN.value
    final = all(p.status == WindowStatus.FINAL for p in known)
    return (WindowStatus.FINAL if final else WindowStatus.PROVISIONAL).value


def _mean(weighted: Iterable[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in weighted if value is not None]
    total = sum(weight for _, weight in known)
    if not known:
        return None
    if len(known) == 1:
        return _round(known[0][0])
    if not total:
        return _round(sum(value for value, _ in known) / len(known))
    return _round(sum(value * weight for value, weight in known) / total)


def _largest(values: Iterable[float | None]) -> float | None:
    return _round(max((value for value in values if value is not None), default=None))


def _round(value: float | None) -> float | None:
    """Six figures: more cannot be seen, and cost bytes."""
    return None if value is None else float(f"{value:.6g}")


def _marks(gists: Sequence[Gist], ends: Sequence[datetime]) -> list[ChartMark]:
    marked = [(gist, sign) for gist in gists if (sign := mark_of(gist.stage, gist.kind, gist.step)) is not None]
    marked.sort(key=lambda mark: (mark[0].tick_at, mark[1]))
    if len(marked) <= MARKS_LIMIT or not ends:
        return [[int(g.tick_at.timestamp()), kind, _describe(g), 1] for g, kind in marked]
    last = len(ends) - 1
    spots = sorted(((kind, min(bisect_left(ends, g.tick_at), last)), g) for g, kind in marked)
    merged: list[ChartMark] = []
    for (kind, _), group in groupby(spots, key=lambda spot: spot[0]):
        together = [gist for _, gist in group]
        merged.append([int(together[-1].tick_at.timestamp()), kind, _describe(together[-1]), len(together)])
    return sorted(merged, key=lambda mark: (mark[0], mark[1]))


def _describe(gist: Gist) -> str:
    version = f"version {gist.model_version}: " if gist.model_version else ""
    return version + "; ".join(gist.reasons)
