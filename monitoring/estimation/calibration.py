"""Calibration of scores and likeness of rows: small logistic fits, exact to the bit for the same arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray

Calibration = Callable[["Array"], "Array"]
EDGE, STEPS, CLOSE, MOST_LEVELS, MOST_WEIGHT, MOST_ROWS = 1e-6, 25, 1e-4, 4, 10.0, 1000


def calibrate_beta(score: Array, truth: Array, weight: Array) -> Calibration:
    """Fit a map from scores to chances: beta calibration (Kull et al., AISTATS 2017), drawn towards no change.

    `score`, `truth` (0 or 1) and `weight`: float64 (rows,). A prior of one row's weight a coefficient keeps
    few rows from bending the map; with none of them it is the identity.
    """
    import numpy as np

    prior = np.array([0.0, 1.0, 1.0])
    fitted = _fit_logistic(_beta_terms(score), truth, weight, prior, np.ones(3))
    return lambda new: _logistic(_beta_terms(new) @ fitted)


def calibrate_isotonic(score: Array, truth: Array, weight: Array) -> Calibration:
    """Fit a rising step map from scores to chances (Zadrozny and Elkan, KDD 2002); arrays as `calibrate_beta` takes."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, truth, sample_weight=weight)
    return fitted.predict


def likeness(before: Array, after: Array) -> Array:
    """How much more often rows such as each of `before` are met in `after`: float64 (rows of before,), mean 1.

    The ratio of densities by a classifier that tells the two apart (Bickel et al., JMLR 2009), within a factor of
    ten. `before`, `after`: float64 (rows, columns), without NaN. The classifier learns from `MOST_ROWS` of each.
    """
    import numpy as np

    sides = [side[:: -(-len(side) // MOST_ROWS)] for side in (before, after)]
    terms = _with_constant(np.concatenate(sides))
    which = np.repeat([0.0, 1.0], [len(side) for side in sides])
    share = np.where(which == 1, len(which) / (2 * which.sum()), len(which) / (2 * (1 - which).sum()))
    count = terms.shape[1]
    fitted = _fit_logistic(terms, which, share, np.zeros(count), np.full(count, 5.0))
    ratio = np.exp(np.clip(_with_constant(before) @ fitted, -np.log(MOST_WEIGHT), np.log(MOST_WEIGHT)))
    return ratio / ratio.mean()


def encode_inputs(frames: Sequence[pl.DataFrame], numeric: Sequence[str], categorical: Sequence[str]) -> list[Array]:
    """Turn the raw inputs of several frames into arrays with the same columns, float64 (rows, columns), no NaN.

    Numeric columns are ranked against all frames together, missing values stand in the middle and are flagged; of
    a categorical column the commonest values get a column each. Columns that a frame lacks, and those that say the
    same of every row, are left out.
    """
    import numpy as np

    numeric = [c for c in numeric if all(c in frame.columns for frame in frames)]
    categorical = [c for c in categorical if all(c in frame.columns for frame in frames)]
    whole = pl.concat([frame.select(*numeric, *categorical) for frame in frames], how="vertical_relaxed")
    parts: list[pl.Series] = []
    for name in numeric:
        values = whole[name].cast(pl.Float64, strict=False).fill_nan(None)
        rank = values.rank("average") / max(values.count(), 1) - 0.5
        parts += [(rank * 12**0.5).fill_null(0.0), values.is_null().cast(pl.Float64)]
    for name in categorical:
        values = whole[name].cast(pl.String)
        common = values.value_counts(name="rows").sort(["rows", name], descending=[True, False])[name]
        parts += [values.eq_missing(level).cast(pl.Float64) for level in common.head(MOST_LEVELS)]
    parts = [part for part in parts if part.min() != part.max()]
    table = np.stack([part.to_numpy() for part in parts], axis=1) if parts else np.zeros((whole.height, 0))
    return np.split(table, np.cumsum([frame.height for frame in frames])[:-1])


def _fit_logistic(terms: Array, truth: Array, weight: Array, prior: Array, strength: Array) -> Array:
    """Logistic regression by Newton's method, drawn to `prior` by `strength` a coefficient."""
    import numpy as np

    fitted = prior.copy()
    for _ in range(STEPS):
        chance = _logistic(terms @ fitted)
        slope = terms.T @ (weight * (chance - truth)) + strength * (fitted - prior)
        bend = (terms * (weight * chance * (1 - chance))[:, None]).T @ terms + np.diag(strength)
        step = np.linalg.solve(bend, slope)
        fitted = fitted - step * min(1.0, 4.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < CLOSE:
            break
    return fitted


def _with_constant(rows: Array) -> Array:
    import numpy as np

    return np.concatenate([np.ones((len(rows), 1)), rows], axis=1)


def _logistic(value: Array) -> Array:
    import numpy as np

    return 1 / (1 + np.exp(-np.clip(value, -30, 30)))


def _beta_terms(score: Array) -> Array:
    import numpy as np

    inside = np.clip(score, EDGE, 1 - EDGE)
    return np.stack([np.ones(len(score)), np.log(inside), -np.log1p(-inside)], axis=1)
