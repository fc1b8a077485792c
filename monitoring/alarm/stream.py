"""One e-process of an alarm and its episodes: watched until it has become worse, then until it is well again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from homeostat.batch_test import LEAST_FREEDOM, BatchTest, Group, add_batch, group_of
from homeostat.losses import profile
from homeostat.sequential import CELLS, EProcess, upper_limit

WHOLE = ""
REFERENCE_ROWS = 1000
"""The batches with the first so many labels, three at least, make a reference where there is none from a holdout."""
BACK_PATIENCE = 5.0
"""How soon a test that health is back is to bet, in batches."""


NO_BATCHES = Group()


class Ending(StrEnum):
    """Why an episode ended."""

    HEALTHY = "healthy"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True)
class Tests:
    """The two tests that must agree: of rows, which takes them for independent, and of batches, which may differ."""

    rows: EProcess
    batches: BatchTest

    def bet(self, losses: np.ndarray) -> Tests:
        """Both after one more batch of losses (rows,)."""
        return Tests(self.rows.bet(losses), self.batches.bet(losses))

    @property
    def peak(self) -> float:
        """The logarithm of the e-value that both have reached; 0 while too few batches are known.

        Of rows alone that long, where the reference came without batches.
        """
        if self.batches.knows:
            return min(self.rows.peak, self.batches.peak)
        return self.rows.peak if self.batches.is_blind else 0.0


@dataclass(frozen=True, slots=True)
class Episode:
    """An alarm that is over: when the loss rose, when that was found, and when and why it ended; instants.

    `before` are the tests as they stood before the loss rose; None once the alarm has been withdrawn.
    """

    since_at: str | None
    reached_at: str
    ended_at: str
    ending: Ending
    before: Tests | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """One e-process: over all rows (`name` is empty) or over a segment, named as in "carrier=AA".

    `share` is its part of alpha. `profile` and `reference` collect the reference until the e-process begins. `since_at`
    is the start of the batch in which the loss most likely rose, `before` the tests as they stood then; `reached_at` is
    the end of the batch in which the threshold was reached, `back` what then looks for health. `episode` counts from 1,
    `past` is the last one that ended, and `changed` the number of the watch's change that was this stream's last.
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
    reference: Group = NO_BATCHES
    others: tuple[Group, ...] = ()
    batches: BatchTest | None = None
    before: Tests | None = None
    back: Tests | None = None
    episode: int = 1
    past: Episode | None = None
    changed: int = 0

    @property
    def peak(self) -> float:
        """The logarithm of the largest e-value of this episode, as of `Tests`; 0 while there is no reference."""
        if self.e_process is None:
            return 0.0
        return self.e_process.peak if self.batches is None else Tests(self.e_process, self.batches).peak

    @property
    def limit(self) -> float | None:
        """The mean loss that is still fine: the larger limit of both tests."""
        limits = [test.limit for test in (self.e_process, self.batches) if test is not None]
        return max((limit for limit in limits if limit is not None), default=None)

    @property
    def last_change(self) -> int:
        """The number of its last change; an alarm that an earlier release kept was the first."""
        return self.changed or int(self.reached_at is not None)


@dataclass(frozen=True, slots=True)
class Rules:
    """By what a stream is watched: alpha and tolerance of the watch, and the number of its next change."""

    alpha: float
    tolerance: float
    next_change: int


def threshold(alpha: float, stream: Stream) -> float:
    """The logarithm of the e-value that is an alarm: half of the stream's alpha, for the limit has the other half.

    Of that half the k-th episode has 6 / (pi k)^2, so that however many there are they have no more than it.
    """
    return math.log(2 / (alpha * stream.share)) + 2 * math.log(math.pi * stream.episode) - math.log(6)


def from_holdout(stream: Stream, loss: Mapping[str, Any], rules: Rules) -> Stream:
    """Begin with the reference that a root version's record keeps (see `ModelRecord.loss`)."""
    counts = loss["profile"] if stream.name == WHOLE else loss["segments"][stream.name]
    others = loss.get("other_batches", {}).get(stream.name, ())
    stream = dataclasses.replace(
        stream,
        held_out=True,
        zero_one=loss["zero_one"],
        profile=tuple(counts),
        reference=group_of(loss.get("batches", {}).get(stream.name)),
        others=tuple(group_of(kept) for kept in others),
    )
    return _opened(stream, rules)


def feed(stream: Stream, losses: np.ndarray, rules: Rules, *, start: str, end: str, zero_one: bool) -> Stream:
    """The stream after one batch of losses (rows,), from `start` to `end`; `zero_one`: they are 0 or 1 by nature."""
    if stream.e_process is None:
        return _collected(stream, losses, rules, zero_one)
    if not len(losses):
        return stream
    stream = _with_batches(stream, rules)
    if stream.reached_at is not None:
        return _recovering(stream, losses, rules, end)
    return _watched(stream, losses, rules, start, end)


def rested_on(stream: Stream) -> tuple[str, str] | None:
    """The instants between which the batches lie that its newest alarm rests on, whether it stands or is over.

    None where there was none, or none that can be gone back to.
    """
    if stream.reached_at is not None:
        known = stream.before is not None and stream.since_at
        return (stream.since_at or "", stream.reached_at) if known else None
    past = stream.past
    return (past.since_at, past.reached_at) if past and past.before and past.since_at else None


def rewind(stream: Stream) -> Stream:
    """The stream as it stood before its loss rose (see `rested_on`), to be fed again with what is known now."""
    before = stream.before if stream.reached_at is not None else stream.past and stream.past.before
    assert before is not None
    return dataclasses.replace(
        stream, e_process=before.rows, batches=before.batches, since_at=None, reached_at=None, back=None, past=None
    )


def withdraw_newest(stream: Stream, rules: Rules, at: str) -> Stream:
    """The stream without ground for its newest alarm."""
    if stream.reached_at is not None:
        return end_episode(stream, rules, at, Ending.CORRECTED)
    assert stream.past is not None
    past = dataclasses.replace(stream.past, ended_at=at, ending=Ending.CORRECTED, before=None)
    return dataclasses.replace(stream, past=past, changed=rules.next_change)


def end_episode(stream: Stream, rules: Rules, at: str, ending: Ending) -> Stream:
    """The stream in its next episode: the same limits, and tests that begin anew."""
    assert stream.e_process is not None and stream.batches is not None and stream.reached_at is not None
    before = stream.before if ending is Ending.HEALTHY else None
    return dataclasses.replace(
        stream,
        e_process=EProcess(stream.e_process.limit),
        batches=stream.batches.anew(),
        since_at=None,
        reached_at=None,
        before=None,
        back=None,
        episode=stream.episode + 1,
        past=Episode(stream.since_at, stream.reached_at, at, ending, before),
        changed=rules.next_change,
    )


def _collected(stream: Stream, losses: np.ndarray, rules: Rules, zero_one: bool) -> Stream:
    more = np.array(profile(losses)) + np.array(stream.profile)
    stream = dataclasses.replace(
        stream,
        profile=tuple(more.tolist()),
        zero_one=stream.zero_one and zero_one,
        reference=add_batch(stream.reference, losses),
    )
    enough = round(more.sum()) >= REFERENCE_ROWS and stream.reference.freedom >= LEAST_FREEDOM
    return _opened(stream, rules) if enough else stream


def _opened(stream: Stream, rules: Rules) -> Stream:
    """Fix the limit from the reference, and begin to bet."""
    counts = np.array(stream.profile)
    limit = upper_limit(counts, rules.alpha * stream.share / 2, stream.zero_one) + rules.tolerance
    rows = float(round(counts.sum()))
    mean = float(counts @ np.linspace(0, 1, len(counts))) / rows
    opened = dataclasses.replace(
        stream, reference_rows=rows, reference_mean=mean, profile=(), e_process=EProcess(limit)
    )
    return _with_batches(opened, rules)


def _with_batches(stream: Stream, rules: Rules) -> Stream:
    """With a test of batches; where an earlier release kept none, all of the reference is one batch."""
    if stream.batches is not None:
        return stream
    whole = Group(1.0, stream.reference_rows, stream.reference_rows**2, stream.reference_mean)
    reference = stream.reference if stream.reference.rows else whole
    level = rules.alpha * stream.share / 2
    test = BatchTest(reference, stream.others, rules.tolerance, level)
    return dataclasses.replace(stream, batches=test, reference=NO_BATCHES, others=())


def _watched(stream: Stream, losses: np.ndarray, rules: Rules, start: str, end: str) -> Stream:
    assert stream.e_process is not None and stream.batches is not None
    before = Tests(stream.e_process, stream.batches)
    after = before.bet(losses)
    if stream.since_at is None or after.rows.since != before.rows.since:
        stream = dataclasses.replace(stream, since_at=start, before=before)
    stream = dataclasses.replace(stream, e_process=after.rows, batches=after.batches)
    if after.peak < threshold(rules.alpha, stream):
        return stream
    return dataclasses.replace(stream, reached_at=end, changed=rules.next_change, back=_look_back(stream))


def _look_back(stream: Stream) -> Tests:
    """Tests of the hypothesis that the loss still is above the limit."""
    assert stream.e_process is not None and stream.batches is not None
    rows = EProcess(max(1 - stream.e_process.limit, 1e-3), patience=BACK_PATIENCE)
    return Tests(rows, stream.batches.anew(-1, BACK_PATIENCE))


def _recovering(stream: Stream, losses: np.ndarray, rules: Rules, end: str) -> Stream:
    assert stream.e_process is not None
    back = stream.back or _look_back(stream)
    back = Tests(back.rows.bet(1 - losses), back.batches.bet(losses))
    if back.peak >= math.log(1 / rules.alpha):
        return end_episode(stream, rules, end, Ending.HEALTHY)
    since = _seen(stream.e_process, losses)
    return dataclasses.replace(stream, back=back, e_process=since)


def _seen(e_process: EProcess, losses: np.ndarray) -> EProcess:
    """The same e-process, with more rows whose mean it tells and that it does not bet on."""
    over = float(np.sum(losses - e_process.limit))
    return dataclasses.replace(e_process, rows=e_process.rows + len(losses), excess=e_process.excess + over)
