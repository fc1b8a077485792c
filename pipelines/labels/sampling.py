"""Samples with known chances: what people are asked to label says something of all rows only where these are known.

Every draw is made from a hash of the rows' keys, so it comes out the same whenever and in whatever order it is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

UNIFORM_SHARE = 0.5
SURE = 1 - 1e-9


def key_numbers(keys: Sequence[str], salt: str) -> np.ndarray:
    """One number in [0, 1) for each key (rows,): evenly spread, and another one for another salt (BLAKE2b).

    >>> key_numbers(["a", "b"], "week 1").tolist() == key_numbers(["b", "a"], "week 1").tolist()[::-1]
    True
    """
    started, made = hashlib.blake2b(f"{len(salt)}:{salt}:".encode(), digest_size=8), bytearray()
    for key in keys:
        one = started.copy()
        one.update(str(key).encode())
        made += one.digest()
    whole = np.frombuffer(bytes(made), dtype=">u8").astype(np.uint64)
    return (whole >> np.uint64(11)).astype(np.float64) / 2.0**53


def inclusion_probabilities(uncertainty: np.ndarray | None, wanted: int, *, rows: int | None = None) -> np.ndarray:
    """The chance of each row to be sampled (rows,), in (0, 1]; they add up to min(wanted, rows).

    Half of it is the same for all rows, half proportional to `uncertainty` (rows,), which is not negative; what would
    be above 1 goes to the others. So no chance is below half of what it is without uncertainty. NaN counts as the
    highest uncertainty there is. Where `uncertainty` is None all are equal, and `rows` says how many there are; raises
    ValueError where it does not, or where an uncertainty is negative. With nothing wanted all are 0.

    >>> inclusion_probabilities(np.array([0.0, 0.0, 1.0, 1.0]), 2).tolist()
    [0.25, 0.25, 0.75, 0.75]
    >>> inclusion_probabilities(None, 1, rows=4).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    if uncertainty is None and rows is None:
        raise ValueError("without uncertainty, say how many rows there are")
    given = np.ones(rows or 0) if uncertainty is None else np.asarray(uncertainty, dtype=np.float64)
    if not len(given) or wanted <= 0:
        return np.zeros(len(given))
    weights = np.nan_to_num(given, nan=np.nanmax(given) if np.isfinite(given).any() else 1.0)
    if weights.min() < 0:
        raise ValueError("an uncertainty is negative")
    if not weights.any():
        weights = np.ones(len(weights))
    shares = UNIFORM_SHARE / len(weights) + (1 - UNIFORM_SHARE) * (weights / weights.sum())
    return _scale(shares, min(wanted, len(weights)))


def _scale(shares: np.ndarray, wanted: int) -> np.ndarray:
    """Scale positive shares so that they add up to `wanted`, none above 1; at least that many are needed."""
    made, sure = shares * (wanted / shares.sum()), np.zeros(len(shares), dtype=bool)
    while (over := ~sure & (made > 1)).any():
        sure |= over
        rest = shares[~sure].sum()
        made = np.where(sure, 1.0, shares * ((wanted - sure.sum()) / rest if rest > 0 else 0.0))
    return made


def draw_sample(probabilities: np.ndarray, keys: Sequence[str], salt: str) -> np.ndarray:
    """Draw exactly round(sum) rows, each with its own chance: a mask (rows,).

    Systematic sampling with unequal chances (Madow, "On the theory of systematic sampling", 1949), in an order drawn
    from the keys: the same keys, chances and salt give the same rows, in whatever order they come. Where the chances
    (rows,) do not add up to a whole number they are scaled until they do.
    """
    chances, chosen = np.asarray(probabilities, dtype=np.float64), np.zeros(len(probabilities), dtype=bool)
    wanted = min(round(float(chances.sum())), int(np.count_nonzero(chances)))
    if wanted <= 0:
        return chosen
    chances = _scale(chances, wanted)
    chosen |= chances >= SURE
    order = np.argsort(key_numbers(keys, salt), kind="stable")
    order, left = order[~chosen[order]], wanted - int(chosen.sum())
    if left <= 0:
        return chosen
    edges = np.cumsum(chances[order])
    points = (key_numbers([""], f"{salt}:start")[0] + np.arange(left)) * (edges[-1] / left)
    chosen[order[np.minimum(np.searchsorted(edges, points, side="right"), len(order) - 1)]] = True
    return chosen


def thin(probabilities: np.ndarray, keys: Sequence[str], salt: str, *, least: float | None = None) -> np.ndarray:
    """Which of the sampled rows to keep (rows,) so that every row of all had the same chance to be in what is kept.

    Each is kept with the chance least / its own. `probabilities` (rows,) and `keys` are those of the sampled rows;
    `least` is the lowest chance of all rows, and without it that of the sampled ones.
    """
    chances = np.asarray(probabilities, dtype=np.float64)
    if not len(chances):
        return np.zeros(0, dtype=bool)
    lowest = float(chances.min()) if least is None else least
    return key_numbers(keys, f"{salt}:thin") * chances < lowest


def fair_share(rows: pl.DataFrame, key: str, batch: str) -> np.ndarray:
    """Which labelled rows to keep, (rows,), so that within each batch all rows had the same chance to be kept.

    `rows` has `propensity`, null where there is no label. Drawn by the keys, so the same rows are kept every time.
    """
    chances = rows["propensity"].to_numpy().astype(np.float64)
    kept, known = np.isfinite(chances), np.isfinite(chances)
    for name in rows[batch].unique().sort() if len(np.unique(chances[known])) > 1 else ():
        mine = known & (rows[batch] == name).to_numpy()
        keys = rows[key].filter(pl.Series(mine)).cast(pl.String).to_list()
        kept[mine] = thin(chances[mine], keys, str(name))
    return kept
