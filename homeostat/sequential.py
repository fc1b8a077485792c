"""A test that may be looked at after every batch: has a bounded loss become worse than a reference?

Testing by betting. Nobody can expect to get rich by betting on a fair game, however often the winnings are counted.
The e-value of an `EProcess` begins at 1 and is, where losses are no worse than its limit, a nonnegative
supermartingale. So the chance that it ever reaches 1/a is at most a (Ville, "Etude critique de la notion de
collectif", 1939). The bets on bounded means are those of Waudby-Smith and Ramdas ("Estimating means of bounded random
variables by betting", JRSS B, 2024); to watch the risk of a served model with them is the thought of Podkopaev and
Ramdas ("Tracking the risk of a deployed model and detecting harmful distribution shifts", ICLR 2022).

A batch multiplies a bet's e-value by the product of 1 + bet * (loss - limit) over its rows, which does not depend on
their order. No worse means that, given all earlier batches, this has an expectation of at most 1. So it is where each
row's expected loss, given all rows before it, is at most the limit; and also where a batch's rows have independent
losses whose expectations are at most the limit on average, such as with mornings better and evenings worse (a product
is largest where its factors are equal). That is why a bet begins and is looked at between batches, never within one.

When the loss changes is not known, so the e-value is spread over beginnings: PATIENCE / ((k + PATIENCE)(k + PATIENCE +
1)) of it is put down before batch k = 0, 1, ..., and the rest is kept as cash. How much it changes is not known either,
so each share is spread over bets of several sizes. Mixtures of supermartingales are supermartingales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

PATIENCE = 100
SIZES = tuple(0.01 * 30 ** (i / 7) for i in range(8))
CELLS = 32
NOTHING = -1e300  # the logarithm of no e-value: finite, for JSON knows no infinity
_VARIANCES = tuple(4.0 ** -(i + 1) for i in range(5))


@dataclass(frozen=True, slots=True)
class EProcess:
    """What a test has seen, in constant memory; it holds plain numbers only.

    `limit` is the largest mean loss that is still fine, above 0. `growth` and `stakes` are for each size of bet the
    logarithms of what a unit put down at the start has become, and of what all stakes are worth in such units.
    `log_e_value` is the logarithm of the e-value now, `peak` its largest so far. `excess` is the sum of (loss - limit);
    it was `lowest` after `since` rows, at the end of a batch, after which the loss most likely rose.
    """

    limit: float
    batches: int = 0
    rows: int = 0
    growth: tuple[float, ...] = (0.0,) * len(SIZES)
    stakes: tuple[float, ...] = (NOTHING,) * len(SIZES)
    log_e_value: float = 0.0
    peak: float = 0.0
    excess: float = 0.0
    lowest: float = 0.0
    since: int = 0
    patience: float = PATIENCE

    @property
    def mean(self) -> float | None:
        """The mean loss of all rows; None before the first."""
        return self.limit + self.excess / self.rows if self.rows else None

    @property
    def mean_since(self) -> float | None:
        """The mean loss since `since`; None before the first row."""
        return self.limit + (self.excess - self.lowest) / (self.rows - self.since) if self.rows else None

    def bet(self, losses: Array) -> EProcess:
        """The e-process after one more batch of losses (rows,), each from 0 to 1; the same where there are none.

        Time is linear in the batch. Raises ValueError on a loss outside.
        """
        import numpy as np

        losses = np.asarray(losses, dtype=np.float64)
        if not len(losses):
            return self
        if not (losses.min() >= 0 and losses.max() <= 1):
            raise ValueError("a loss lies outside of 0 to 1, or is none")
        growth, stakes, now = play(
            np.array(self.growth), np.array(self.stakes), self.batches, losses, self.limit, self.patience
        )
        log_e_value, lower = float(now), self.excess < self.lowest
        return EProcess(
            limit=self.limit,
            batches=self.batches + 1,
            rows=self.rows + len(losses),
            growth=tuple(growth.tolist()),
            stakes=tuple(stakes.tolist()),
            log_e_value=log_e_value,
            peak=max(self.peak, log_e_value),
            excess=self.excess + float(np.sum(losses - self.limit)),
            lowest=self.excess if lower else self.lowest,
            since=self.rows if lower else self.since,
            patience=self.patience,
        )


def play(
    growth: Array, stakes: Array, batches: int, losses: Array, limit: Any, patience: float = PATIENCE
) -> tuple[Array, Array, Array]:
    """Bet on a batch of losses (n, ...) against `limit` (a number, or one for each of ...), after so many batches.

    `growth` and `stakes` are (sizes, ...), as in `EProcess`. Returns both after the batch, and the logarithm of the
    e-value, (...). The trailing axes are lives that know nothing of each other.
    """
    import numpy as np

    over = losses - limit
    grown = np.array([np.log1p(size / limit * over).sum(axis=0) for size in SIZES])
    return spread_bets(growth, stakes, batches, grown, patience)


def spread_bets(
    growth: Array, stakes: Array, batches: int, grown: Array, patience: float = PATIENCE
) -> tuple[Array, Array, Array]:
    """Bet on one more batch, spread over beginnings and sizes; `grown` (sizes, ...) is the logarithm of each factor.

    The rest is as of `play`. With less `patience` more is put down early.
    """
    import numpy as np

    put_down = math.log(patience / ((batches + patience) * (batches + patience + 1)))
    cash = math.log(patience / (batches + 1 + patience))
    stakes = np.logaddexp(stakes, put_down - growth)
    growth = growth + grown
    in_play = np.logaddexp.reduce(growth + stakes, axis=0) - math.log(len(growth))
    return growth, stakes, np.logaddexp(in_play, cash)


def upper_limit(profile: Any, level: float, zero_one: bool = False) -> float:
    """A number that lies below the mean of a bounded loss with a chance of at most `level`, from a sample.

    `profile`: the sample as `homeostat.losses.profile` gives it. Where each loss is 0 or 1 by its nature
    (`zero_one`) this is Clopper and Pearson's exact limit (Biometrika, 1934), else a bet on the mean (Waudby-Smith and
    Ramdas, 2024) with sizes fixed beforehand, so that the order of the sample does not matter. 1 without a sample.
    """
    import numpy as np

    counts = np.asarray(profile, dtype=np.float64)
    rows = float(counts.sum())
    if rows <= 0:
        return 1.0
    return _exact_limit(float(counts[-1]), rows, level) if zero_one else _betting_limit(counts, rows, level)


def _exact_limit(errors: float, rows: float, level: float) -> float:
    from scipy.stats import beta

    return 1.0 if errors >= rows else float(beta.ppf(1 - level, errors + 1, rows - errors))


def _betting_limit(counts: Array, rows: float, level: float) -> float:
    """Where a bet that the mean is smaller would have made 1/level of 1; each bet by a guess of the variance."""
    import numpy as np

    points = np.linspace(0.0, 1.0, len(counts))
    wanted = math.log(1 / level)
    bets = np.minimum(np.sqrt(2 * wanted / (rows * np.array(_VARIANCES))), 0.95)[:, None]

    def log_e_value(mean: float) -> float:
        grown = np.log1p(bets * (mean - points)) @ counts
        return float(np.logaddexp.reduce(grown)) - math.log(len(bets))

    low, high = float(points @ counts) / rows, 1.0
    if log_e_value(high) < wanted:
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if log_e_value(middle) >= wanted else (middle, high)
    return high
