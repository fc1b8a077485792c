"""What an alarm remembers of a champion's lineage: one e-process for all of its rows, and one for each segment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from homeostat.losses import LEAST_ROWS, MAX_SEGMENTS, profile
from homeostat.sequential import CELLS, EProcess, upper_limit

WHOLE = ""
REFERENCE_ROWS = 1000
"""The batches with the first so many labels make a reference where there is none from a holdout."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One e-process: over all rows (`name` is empty) or over a segment, named as in "carrier=AA".

    `share` is its part of alpha. `profile` collects the reference until the e-process begins. `since_at` is the start
    of the batch in which the loss most likely rose, `reached_at` the end of that in which the threshold was reached.
    """

    name: str
    share: float
    reference_rows: float = 0.0
    reference_mean: float = 0.0
    held_out: bool = False
    zero_one: bool = True
    profile: tuple[float, ...] = (0.0,) * (CELLS + 1)
    e_process: EProcess | None = None
    since_at: str | None = None
    reached_at: str | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """The state of a lineage's alarm: plain values only, of a size that does not grow with time.

    `began` and `until` are instants: when these e-processes began, and the end of the last batch that they have taken
    or left out for good. `waits_for` is the batch whose labels are waited for. `scale` is None until it is known.
    """

    lineage: int
    alpha: float
    tolerance: float
    columns: tuple[str, ...]
    began: str
    until: str
    scale: float | None = None
    streams: tuple[Stream, ...] = ()
    waits_for: str | None = None

    def threshold(self, stream: Stream) -> float:
        """The logarithm of the e-value that is an alarm: half of the stream's alpha; the limit has the other half."""
        return math.log(2 / (self.alpha * stream.share))


def begin(
    lineage: int, loss: Mapping[str, Any], *, alpha: float, tolerance: float, columns: Sequence[str], at: str
) -> Watch:
    """Begin to watch a lineage at the instant `at`; `loss` is that of its root version (see
    `ModelRecord`), empty where it has none.

    Half of alpha goes to the whole where segments are watched, all of it where none are. The k-th segment has
    6 / (pi k)^2 of the other half: those of the reference come first, largest first, then new ones as they appear.
    """
    watch = Watch(lineage, alpha, tolerance, tuple(columns), at, at, loss.get("scale"))
    first = [(WHOLE, loss["profile"])] if loss else [(WHOLE, None)]
    named = loss.get("segments", {}) if columns else {}
    known = [(name, counts) for name, counts in named.items() if round(sum(counts)) >= LEAST_ROWS]
    known = [(name, counts) for name, counts in known if name.split("=", 1)[0] in columns]
    known.sort(key=lambda pair: (-sum(pair[1]), pair[0]))
    for name, counts in first + known[:MAX_SEGMENTS]:
        stream = Stream(name, _share(len(watch.streams), bool(columns)))
        if counts is not None:
            stream = dataclasses.replace(stream, held_out=True, zero_one=loss["zero_one"], profile=tuple(counts))
            stream = _open(stream, watch)
        watch = dataclasses.replace(watch, streams=(*watch.streams, stream))
    return watch


def take(
    watch: Watch,
    losses: np.ndarray,
    segments: Mapping[str, Sequence[str]],
    *,
    start: str,
    end: str,
    zero_one: bool = False,
) -> Watch:
    """The state after one batch, from `start` to `end`: losses (rows,) in order of events, NaN where none is known.

    `segments`: for each watched column the segment of each row, as in "AA"; `zero_one`: losses are 0 or 1 by nature.
    """
    known = np.flatnonzero(~np.isnan(losses))
    members = {WHOLE: known.tolist()}
    for column in watch.columns:
        for at in known.tolist():
            members.setdefault(f"{column}={segments[column][at]}", []).append(at)
    streams = list(watch.streams)
    have = {stream.name for stream in streams}
    for name in members:
        if name not in have and len(streams) <= MAX_SEGMENTS:
            streams.append(Stream(name, _share(len(streams), True)))
    fed = (_fed(s, losses[members[s.name]], watch, start, end, zero_one) if s.name in members else s for s in streams)
    return dataclasses.replace(watch, streams=tuple(fed), until=end, waits_for=None)


def _share(place: int, segmented: bool) -> float:
    if place == 0:
        return 0.5 if segmented else 1.0
    return 0.5 * 6 / (math.pi * place) ** 2


def _fed(stream: Stream, losses: np.ndarray, watch: Watch, start: str, end: str, zero_one: bool) -> Stream:
    if stream.e_process is None:
        more = np.array(profile(losses)) + np.array(stream.profile)
        stream = dataclasses.replace(stream, profile=tuple(more.tolist()), zero_one=stream.zero_one and zero_one)
        return stream if round(more.sum()) < REFERENCE_ROWS else _open(stream, watch)
    if not len(losses):
        return stream
    e_process = stream.e_process.bet(losses)
    if stream.since_at is None or e_process.since != stream.e_process.since:
        stream = dataclasses.replace(stream, since_at=start)
    if stream.reached_at is None and e_process.peak >= watch.threshold(stream):
        stream = dataclasses.replace(stream, reached_at=end)
    return dataclasses.replace(stream, e_process=e_process)


def _open(stream: Stream, watch: Watch) -> Stream:
    """Fix the limit from the reference, and begin to bet."""
    counts = np.array(stream.profile)
    limit = upper_limit(counts, watch.alpha * stream.share / 2, stream.zero_one) + watch.tolerance
    rows = float(round(counts.sum()))
    mean = float(counts @ np.linspace(0, 1, len(counts))) / rows
    return dataclasses.replace(stream, reference_rows=rows, reference_mean=mean, profile=(), e_process=EProcess(limit))
