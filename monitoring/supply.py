"""Is a feed as it used to be: has it fallen silent for longer than ever, or do its rows come later than ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

MARGIN = 2.0
"""By how much a gap or a delay must exceed the longest one seen."""
LEAST_TICKS = 3
"""A shorter gap, and a delay that is longer by less, is never told."""
ENOUGH = 10
"""From so many arrivals on, the longest gap between them says what is usual."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing has come `since` the last arrival; `longest` is the longest gap before, None where too few were seen."""

    since: datetime
    lasted: timedelta
    longest: timedelta | None


@dataclass(frozen=True, slots=True)
class Lag:
    """The newest event is older than ever when rows come: by `delay` now, `longest` at most before `since`."""

    since: datetime
    delay: timedelta
    longest: timedelta


def find_silence(
    arrivals: Sequence[datetime],
    now: datetime,
    tick: timedelta,
    patience: timedelta,
    cause: Sequence[datetime] = (),
) -> Silence | None:
    """Whether the gap since the newest arrival is longer than any before it by a margin; None where it is not.

    `arrivals` are oldest first. Where they are fewer than ENOUGH, the gap is one that exceeds `patience`. `cause` are
    the arrivals that these follow upon, as labels upon rows: a gap in them may come back as a gap in these.

    For gaps that are independent and exponential, the n-th exceeds MARGIN times the longest before it with a chance of
    2/n^2, so about one in five such feeds is ever told of without need; a feed with a rhythm is not.
    """
    if not arrivals or now - arrivals[-1] < LEAST_TICKS * tick:
        return None
    lasted, longest = now - arrivals[-1], _longest_gap(arrivals)
    if longest is None:
        return Silence(arrivals[-1], lasted, None) if lasted > patience else None
    limit = MARGIN * max(longest, _longest_gap(cause) or longest)
    return Silence(arrivals[-1], lasted, longest) if lasted > limit else None


def _longest_gap(arrivals: Sequence[datetime]) -> timedelta | None:
    if len(arrivals) < ENOUGH:
        return None
    return max(after - before for before, after in pairwise(arrivals))


def find_lag(newest: Sequence[tuple[datetime, datetime]], tick: timedelta) -> Lag | None:
    """Whether rows come later after their events than ever before; None where they do not.

    `newest` has, for each arrival, its time and the newest event that it brought, oldest first. What counts is the
    newest event of all so far, so a straggler among rows that are on time is none. Events that lie ahead say nothing.
    """
    ahead, longest, count = None, None, 0
    late: Lag | None = None
    for at, event in newest:
        ahead = event if ahead is None else max(ahead, event)
        delay = at - ahead
        if longest is not None and count >= ENOUGH and _is_later(delay, longest, tick):
            late = Lag(late.since if late else at, delay, longest)
            continue
        late, count = None, count + 1
        longest = delay if longest is None else max(longest, delay)
    return late


def _is_later(delay: timedelta, longest: timedelta, tick: timedelta) -> bool:
    return longest >= timedelta(0) and delay > MARGIN * longest and delay >= longest + LEAST_TICKS * tick
