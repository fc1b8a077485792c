"""How far two samples of one distribution lie apart by chance, by a permutation test of the measure that is used.

Rows of reference and batch are shuffled together and drawn apart again, which gives the distance its distribution where
nothing moved, whatever the values are and however many. Few columns need the far quantile of it that many columns ask
for, so that it is read off a curve through the first three moments of the draws (Pearson's type III).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Shuffled = Callable[[pl.Series, pl.Series, int], "Array"]
DRAWS = 200
_SEED = 20


def chance_limit(reference: pl.Series, current: pl.Series, shuffled: Shuffled, level: float) -> float:
    """The distance that two samples of these sizes and of one distribution exceed with a chance of `level`.

    `shuffled(reference, current, draws)` gives the distances (draws,) of shuffled samples. Deterministic.
    """
    return quantile(shuffled(reference, current, DRAWS), level)


def quantile(draws: Array, level: float) -> float:
    """The number that another draw exceeds with a chance of `level`, by the moments of these; far beyond them too."""
    import numpy as np
    from scipy.special import gammaincinv, ndtri

    mean, deviation = float(draws.mean()), float(draws.std())
    if deviation == 0:
        return mean
    skew = float(np.mean(((draws - mean) / deviation) ** 3))
    if skew < 0.05:
        read = mean + deviation * float(ndtri(1 - level))
    else:
        shape = 4 / skew**2
        read = mean + deviation * (float(gammaincinv(shape, 1 - level)) - shape) / math.sqrt(shape)
    return max(read, float(draws.max())) if level * len(draws) <= 1 else read


def shuffled_wasserstein(reference: pl.Series, current: pl.Series, draws: int) -> Array:
    """The Wasserstein distances over the reference's standard deviation, of shuffled samples."""
    import numpy as np

    values = np.sort(np.concatenate([reference.to_numpy(), current.to_numpy()]))
    gaps, first = np.diff(values), len(reference)
    found = np.empty(draws)
    chance = np.random.default_rng(_SEED)
    for draw in range(draws):
        mine = np.zeros(len(values), dtype=bool)
        mine[chance.permutation(len(values))[:first]] = True
        apart = np.cumsum(mine)[:-1] / first - np.cumsum(~mine)[:-1] / (len(values) - first)
        deviation = values[mine].std()
        found[draw] = np.abs(apart) @ gaps / deviation if deviation > 0 else 0.0
    return found


def shuffled_jensenshannon(reference: pl.Series, current: pl.Series, draws: int) -> Array:
    """The Jensen-Shannon distances of shuffled samples."""
    import numpy as np
    from scipy.special import rel_entr

    counts = pl.concat([reference.alias("value"), current.alias("value")]).value_counts(name="rows").sort("value")
    every, first = counts["rows"].to_numpy(), len(reference)
    chance = np.random.default_rng(_SEED)
    mine = chance.multivariate_hypergeometric(every, first, size=draws)
    one, other = mine / first, (every - mine) / (every.sum() - first)
    middle = (one + other) / 2
    divergence = (rel_entr(one, middle) + rel_entr(other, middle)).sum(axis=1) / 2
    return np.sqrt(np.maximum(divergence, 0.0))


def shuffled_by(distance: Callable[[pl.Series, pl.Series], float]) -> Shuffled:
    """The same of any distance, at its own pace."""

    def shuffled(reference: pl.Series, current: pl.Series, draws: int) -> Array:
        import numpy as np

        together, first = pl.concat([reference.alias("value"), current.alias("value")]).sort(), len(reference)
        chance = np.random.default_rng(_SEED)
        found = []
        for _ in range(draws // 4):
            order = pl.Series(chance.permutation(len(together)))
            found.append(float(distance(together.gather(order[:first]), together.gather(order[first:]))))
        return np.array(found)

    return shuffled
