"""A comparison of champion and challenger on the same fresh rows, and how sure it is that one of them is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from homeostat.registry.segments import GroupGap, SegmentGain

LEAST_ERROR = 1e-9
MANY_LOOKS = 1.15
"""Evidence that was chosen as the strongest of many must be so much stronger to mean the same."""
RECORD, LEAST_RECORD = 10, 4


@dataclass(frozen=True, slots=True)
class Gain:
    """A mean loss a row that was saved, and its standard error; over `batches` batches of rows.

    >>> Gain(0.02, 0.01).errors
    2.0
    """

    mean: float
    error: float
    batches: int = 1

    @property
    def errors(self) -> float:
        """By how many standard errors it lies above 0."""
        return self.mean / max(self.error, LEAST_ERROR)

    @property
    def shrunk(self) -> float:
        """What may be promised: the mean, less what it owes to having been chosen because it was high.

        After the positive-part estimator of James and Stein ("Estimation with quadratic loss", 1961), towards 0.
        """
        return self.mean * max(1 - 1 / max(self.errors**2, LEAST_ERROR), 0.0)


def pool(gains: Sequence[Gain]) -> Gain:
    """Gains on separate batches as one, each by how sure it is.

    Where the batches differ by more than their errors explain, the error grows with it (the ratio of Birge, "The
    calculation of errors by the method of least squares", 1932): rows of one batch are alike.

    >>> pool([Gain(0.01, 0.01), Gain(0.03, 0.01)])
    Gain(mean=0.02, error=0.01, batches=2)
    """
    weights = [1 / max(gain.error, LEAST_ERROR) ** 2 for gain in gains]
    total = sum(weights)
    center = sum(weight * gain.mean for weight, gain in zip(weights, gains, strict=True)) / total
    spread = sum(weight * (gain.mean - center) ** 2 for weight, gain in zip(weights, gains, strict=True))
    birge = max(spread / (len(gains) - 1), 1.0) if len(gains) > 1 else 1.0
    return Gain(round(center, 12), round(math.sqrt(birge / total), 12), sum(gain.batches for gain in gains))


def strongest(now: Gain, earlier: Sequence[Gain]) -> Gain:
    """What speaks most for a challenger: its own comparison, alone or with the newest of the `earlier` ones, in turn.

    `earlier` are those of the versions that it came from, over the same champion, oldest first. They are pooled from
    the newest back, because what is long past may have been another world.
    """
    chosen, found = now, [now]
    for gain in reversed(earlier):
        found.append(gain)
        together = pool(found)
        chosen = max(chosen, together, key=lambda gain: gain.errors / (1.0 if gain is now else MANY_LOOKS))
    return chosen


def track_record(gains: Sequence[float]) -> Gain | None:
    """What the newest `RECORD` of these gains were on average, with the error from one to the next; None of too few."""
    newest = gains[-RECORD:]
    if len(newest) < LEAST_RECORD:
        return None
    return Gain(mean(newest), stdev(newest) / math.sqrt(len(newest)), len(newest))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models scored on the same fresh rows, which neither was trained on.

    `champion_metrics` and `challenger_metrics` are computed on those `rows` rows, of `batches`, in this comparison;
    `gain` is the mean loss a row that the challenger saves (`homeostat.losses.scoring_losses`), `gain_error` its
    standard error, row by row; None where only the metrics are compared. `problem` says why it could not be made.
    `segments` are the groups that were compared one by one, `fairness` how far apart those of sensitive columns are.

    `earlier` is what versions on the way to the challenger saved over the champion, each on a batch that was scored
    after it was made; oldest first. `record` is what the last steps saved each on the batch that was scored next, as
    one mean with its error from step to step; None where there are too few to tell. `alarmed` says that an alarm about
    the champion stands, `growth` how many times the rows the challenger knows, `rows_a_tick` how many labelled rows a
    tick brings.
    """

    champion: int
    challenger: int
    rows: int
    batches: tuple[str, ...]
    champion_metrics: Mapping[str, float]
    challenger_metrics: Mapping[str, float]
    problem: str | None = None
    gain: float | None = None
    gain_error: float | None = None
    segments: tuple[SegmentGain, ...] = ()
    fairness: tuple[GroupGap, ...] = ()
    earlier: tuple[Gain, ...] = ()
    record: Gain | None = None
    alarmed: bool = False
    growth: float = 1.0
    rows_a_tick: float = 0.0

    @property
    def strongest(self) -> Gain | None:
        """What speaks most for the challenger; None where no loss was compared."""
        if self.gain is None:
            return None
        return strongest(Gain(self.gain, self.gain_error or 0.0), self.earlier)
