"""What an alarm remembers of a champion's lineage: one e-process for all of its rows, and one for each segment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from homeostat.losses import LEAST_ROWS, MAX_SEGMENTS
from homeostat.monitoring.alarm.stream import (
    REFERENCE_ROWS,
    WHOLE,
    Rules,
    Stream,
    feed,
    from_holdout,
    rested_on,
    rewind,
    threshold,
    withdraw_newest,
)

__all__ = ["REFERENCE_ROWS", "WHOLE", "Stream", "Watch", "begin", "doubt", "rested_on", "take", "withdraw"]


@dataclass(frozen=True, slots=True)
class Watch:
    """The state of a lineage's alarm: plain values only, of a size that does not grow with time.

    `began` and `until` are instants: when these e-processes began, and the end of the last batch that they have taken
    or left out for good. `waits_for` is the batch whose labels are waited for. `scale` is None until it is known.
    `changes` counts the alarms that were reached, ended or withdrawn.
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
    changes: int = 0

    @property
    def last_change(self) -> int:
        """The number of its last change; an alarm that an earlier release kept was the first."""
        return max([self.changes, *(stream.last_change for stream in self.streams)])

    @property
    def rules(self) -> Rules:
        """By what its streams are watched."""
        return Rules(self.alpha, self.tolerance, self.last_change + 1)

    def threshold(self, stream: Stream) -> float:
        """The logarithm of the e-value that is an alarm."""
        return threshold(self.alpha, stream)


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
            stream = from_holdout(stream, loss, watch.rules)
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
    rules = watch.rules
    fed = tuple(
        feed(s, losses[members[s.name]], rules, start=start, end=end, zero_one=zero_one) if s.name in members else s
        for s in streams
    )
    changes = max([watch.last_change, *(stream.changed for stream in fed)])
    return dataclasses.replace(watch, streams=fed, until=end, waits_for=None, changes=changes)


def doubt(watch: Watch, stream: Stream) -> Watch:
    """The watch of one stream alone, as it stood before its loss rose.

    Fed with the batches of `rested_on` as their labels are known now, it tells `withdraw` whether the alarm had ground.
    """
    return dataclasses.replace(watch, streams=(rewind(stream),))


def withdraw(watch: Watch, again: Watch, at: str) -> Watch:
    """The watch without an alarm that would not have been, had labels been known as in `again`; see `doubt`."""
    anew, rules = again.streams[0], watch.rules
    if anew.reached_at is not None or anew.episode != _named(watch, anew.name).episode:
        return watch
    streams = tuple(
        withdraw_newest(stream, rules, at) if stream.name == anew.name else stream for stream in watch.streams
    )
    return dataclasses.replace(watch, streams=streams, changes=rules.next_change)


def _named(watch: Watch, name: str) -> Stream:
    return next(stream for stream in watch.streams if stream.name == name)


def _share(place: int, segmented: bool) -> float:
    if place == 0:
        return 0.5 if segmented else 1.0
    return 0.5 * 6 / (math.pi * place) ** 2
