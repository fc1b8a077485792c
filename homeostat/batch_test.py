"""A test that may be looked at after every batch, where batches differ from each other: is their mean loss worse?

A day of fog, a week of sales: what moves all rows of a batch at once is a random effect of the batch. A test that takes
the rows for independent calls it a change. This one bets on the means of batches. Its null: a batch's mean loss is
normal around an expectation within the limit, with the variance t² + s²/n, where s² is that of single rows, n their
number, and t² that of the batch effects. Both variances are estimated from the batches of the reference and from those
lived through so far. Against an estimate of few degrees of freedom a normal bet would win too often, so the studentized
mean is first brought to a normal one through Student's distribution, as in a control chart that starts itself
(Quesenberry, "SPC Q charts for start-up processes and short or long runs", 1991). The limit is Student's upper
confidence limit of the reference's mean, in which its few batches count, plus the tolerance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from homeostat.sequential import NOTHING, PATIENCE, spread_bets

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

TILTS = (0.25, 0.5, 1.0, 2.0)
"""By how many standard deviations of a batch's mean it may have become worse: sizes of bets."""
LEAST_FREEDOM = 2
_FARTHEST = 8.0


@dataclass(frozen=True, slots=True)
class Group:
    """What is known of some batches by sums: of a holdout, or of a lineage's life. A number each, or an array of lives.

    `squares` adds up the squared numbers of rows, `between` the squared deviations of batch means from the mean of all,
    row by row, and `within` those of rows from the mean of their batch.
    """

    batches: float = 0.0
    rows: float = 0.0
    squares: float = 0.0
    mean: float = 0.0
    between: float = 0.0
    within: float = 0.0

    def add(self, rows: Any, mean: Any, within: Any) -> Self:
        """With one more batch, of one row or more."""
        together = self.rows + rows
        off = mean - self.mean
        return dataclasses.replace(
            self,
            batches=self.batches + 1,
            rows=together,
            squares=self.squares + rows * rows,
            mean=self.mean + off * rows / together,
            between=self.between + off * off * rows * self.rows / together,
            within=self.within + within,
        )

    @property
    def freedom(self) -> Any:
        """How many deviations between batches there are."""
        return _at_least(self.batches - 1, 0.0)

    @property
    def room(self) -> Any:
        """What the variance of batch effects is multiplied by in the expectation of `between`."""
        return self.rows - self.squares / _at_least(self.rows, 1.0)


def gather(losses: Array, batches: Sequence[int] | Array) -> Group:
    """The sums of a sample of losses (rows,), of which `batches` says to which each belongs; NaN is left out."""
    import numpy as np

    known = ~np.isnan(losses)
    losses, batches = losses[known], np.asarray(batches)[known]
    group = Group()
    for batch in np.unique(batches):
        group = add_batch(group, losses[batches == batch])
    return group


def add_batch(group: Group, losses: Array) -> Group:
    """The sums with one more batch of losses (rows,); the same where there are none."""
    if not len(losses):
        return group
    mean = float(losses.mean())
    return group.add(float(len(losses)), mean, float(((losses - mean) ** 2).sum()))


def merge(one: Group, other: Group) -> Group:
    """The sums of both together."""
    rows = one.rows + other.rows
    total, off = _at_least(rows, 1.0), other.mean - one.mean
    return Group(
        one.batches + other.batches,
        rows,
        one.squares + other.squares,
        one.mean + off * other.rows / total,
        one.between + other.between + off * off * one.rows * other.rows / total,
        one.within + other.within,
    )


@dataclass(frozen=True, slots=True)
class BatchTest:
    """What the test has seen, in constant memory.

    `reference` are the batches whose mean is the standard, `others` more that say how far batches differ, such as those
    that candidates learned from, `lived` those since. Batches wait as `pending` while their mean losses add up to more
    than before them, for they may be the beginning of what is looked for; `excess` and `lowest` are as of `EProcess`.
    The limit is too low with a chance of at most `level`; `limit` is that of the last batch. `sign` is 1 where worse
    is looked for, -1 where better than the limit is. The rest is as of `EProcess`.
    """

    reference: Group
    others: tuple[Group, ...]
    tolerance: float
    level: float
    sign: int = 1
    patience: float = PATIENCE
    lived: Group = Group()
    pending: Group = Group()
    excess: float = 0.0
    lowest: float = 0.0
    limit: float | None = None
    batches: int = 0
    growth: tuple[float, ...] = (0.0,) * len(TILTS)
    stakes: tuple[float, ...] = (NOTHING,) * len(TILTS)
    log_e_value: float = 0.0
    peak: float = 0.0

    @property
    def knows(self) -> bool:
        """Whether enough batches are known to say how far they differ."""
        return sum(group.freedom for group in (self.reference, *self.others, self.lived)) >= LEAST_FREEDOM

    @property
    def is_blind(self) -> bool:
        """Whether its reference came without batches, as in what an earlier release kept."""
        return not self.reference.within

    def bet(self, losses: Array) -> BatchTest:
        """The test after one more batch of losses (rows,); the same where there are none."""
        import numpy as np

        if not len(losses):
            return self
        rows, mean = len(losses), float(losses.mean())
        normal, limit = standing(self.reference, [*self.others, self.lived], self.tolerance, self.level, rows, mean)
        growth, stakes, now = play_normal(
            np.array(self.growth), np.array(self.stakes), self.batches, self.sign * normal, self.patience
        )
        return dataclasses.replace(
            self._settled(losses, rows * (mean - float(limit))),
            limit=float(limit),
            batches=self.batches + 1,
            growth=tuple(growth.tolist()),
            stakes=tuple(stakes.tolist()),
            log_e_value=float(now),
            peak=max(self.peak, float(now)),
        )

    def _settled(self, losses: Array, excess: float) -> BatchTest:
        """What a batch says of how far batches differ: at once while that is hardly known, else once it is usual."""
        pending, excess = add_batch(self.pending, losses), self.excess + excess
        if self.knows and (self.sign < 0 or excess >= self.lowest):
            return dataclasses.replace(self, pending=pending, excess=excess)
        lived, lowest = merge(self.lived, pending), min(self.lowest, excess)
        return dataclasses.replace(self, lived=lived, pending=Group(), excess=excess, lowest=lowest)

    def anew(self, sign: int = 1, patience: float = PATIENCE) -> BatchTest:
        """A test that begins now and knows what this one learned of how far batches differ."""
        return BatchTest(self.reference, self.others, self.tolerance, self.level, sign, patience, self.lived)


def standing(
    reference: Group, others: Sequence[Group], tolerance: Any, level: Any, rows: Any, mean: Any
) -> tuple[Any, Any]:
    """Where a batch's mean lies against the limit, as a standard normal number if it is at the limit; and the limit.

    The number is NaN while nothing is known of how far batches differ.
    """
    import numpy as np
    from scipy.special import ndtri, stdtr, stdtrit

    groups = [reference, *others]
    freedom = sum(group.freedom for group in groups)
    inner = sum(group.rows - group.batches for group in groups)
    of_rows = sum(group.within for group in groups) / _at_least(inner, 1.0)
    between = sum(group.between for group in groups) - freedom * of_rows
    of_batches = _at_least(between / _at_least(sum(group.room for group in groups), 1.0), 0.0)
    known, total = _at_least(freedom, 1.0), _at_least(reference.rows, 1.0)
    error = np.sqrt(of_batches * reference.squares / total**2 + of_rows / total)
    limit = reference.mean + tolerance + stdtrit(known, 1 - level) * error
    deviation = np.sqrt(_at_least(of_batches + of_rows / rows, 1e-12))
    normal = -ndtri(stdtr(known, -(mean - limit) / deviation))
    return np.where(freedom >= 1, np.clip(normal, -_FARTHEST, _FARTHEST), np.nan), limit


def play_normal(
    growth: Array, stakes: Array, batches: int, normal: Any, patience: float = PATIENCE
) -> tuple[Array, Array, Array]:
    """Bet on a standard normal number (or one for each life) being larger; as `play` of `homeostat.sequential`.

    There is no bet on one that is NaN.
    """
    import numpy as np

    grown = np.nan_to_num(np.array([tilt * normal - tilt**2 / 2 for tilt in TILTS]))
    return spread_bets(growth, stakes, batches, grown, patience)


def at_level(group: Group, mean: float) -> Group:
    """The sums of the same losses times what brings them to a mean; as they are where their mean is 0."""
    factor = mean / group.mean if group.mean > 0 else 1.0
    between, within = group.between * factor**2, group.within * factor**2
    return dataclasses.replace(group, mean=group.mean * factor, between=between, within=within)


def group_of(kept: Mapping[str, float] | None) -> Group:
    """The sums that a model's record keeps; none where it keeps none."""
    return Group(**kept) if kept else Group()


def _at_least(value: Any, least: float) -> Any:
    import numpy as np

    return max(value, least) if isinstance(value, float | int) else np.maximum(value, least)
