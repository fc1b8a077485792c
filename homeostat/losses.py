"""How wrong each row was: what models are mixed and compared by, and, from 0 to 1, what the alarm bets on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from homeostat.batch_test import Group, gather
from homeostat.metrics import CLIP, chance_of_truth, chances_and_truth
from homeostat.project import Task
from homeostat.sequential import CELLS

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

CLIP_AT = 0.99
MAX_LOSS = 4.0
MAX_SEGMENTS = 50
LEAST_ROWS = 50
"""With fewer rows in the holdout a segment's reference is made from its first labels instead."""


def scoring_losses(
    task: Task, truth: pl.Series, scored: pl.DataFrame, positive: str | None = None, scale: float = 1.0
) -> np.ndarray[Any, Any]:
    """Compute a proper loss for each row, (rows,): by it models are mixed and compared, whatever metric is shown.

    Binary and multiclass: log loss, at most `MAX_LOSS`. Regression: half the squared error over `scale` (a mean squared
    error of the same target), at most `MAX_LOSS`. Arguments as of `homeostat.metrics.compute_metrics`; every truth is
    known.

    >>> import polars as pl
    >>> scored = pl.DataFrame({"prediction": ["1", "1"], "score": [0.5, 0.5]})
    >>> scoring_losses(Task.BINARY, pl.Series(["1", "0"]), scored, "1").round(3)
    array([0.693, 0.693])
    """
    import numpy as np

    if task is Task.REGRESSION:
        error = scored["prediction"].cast(float).to_numpy() - truth.cast(float).to_numpy()
        return np.minimum(error**2 / (2 * scale), MAX_LOSS)
    if task is Task.BINARY:
        assert positive is not None
        of_truth = chance_of_truth(truth, scored, positive)
    else:
        chances, at = chances_and_truth(truth, scored)
        of_truth = chances[np.arange(len(at)), at]
    return np.minimum(-np.log(np.clip(of_truth, CLIP, 1.0)), MAX_LOSS)


def row_losses(
    task: Task, truth: pl.Series, scored: pl.DataFrame, positive: str | None = None, scale: float = 1.0
) -> Array:
    """The loss of each row, from 0 to 1; NaN where there is no label. Shape (rows,).

    Brier's score ("Verification of forecasts expressed in terms of probability", 1950): binary (1 - P(truth))^2, else
    the squared distance of the class scores from the truth, halved. A row without scores has 0 where its prediction is
    the truth, else 1. Regression: the squared error over `scale`, at most 1. `truth`, `scored` and `positive` are as
    for `homeostat.metrics.compute_metrics`; a binary task needs `positive`.

    >>> import polars as pl
    >>> scored = pl.DataFrame({"prediction": ["1", "0", "1"], "score": [0.75, 0.5, 1.0]})
    >>> row_losses(Task.BINARY, pl.Series(["1", "1", None]), scored, "1").tolist()
    [0.0625, 0.25, nan]
    """
    import numpy as np

    truth = truth.fill_nan(None) if truth.dtype.is_float() else truth
    losses = np.full(len(truth), np.nan)
    known = truth.is_not_null()
    truth, scored = truth.filter(known), scored.filter(known)
    if len(truth):
        made = _squared(truth, scored, scale) if task is Task.REGRESSION else _brier(task, truth, scored, positive)
        losses[known.to_numpy()] = np.clip(made, 0.0, 1.0)
    return losses


def loss_scale(truth: pl.Series, scored: pl.DataFrame) -> float:
    """The squared error that regression losses are clipped at and divided by: the 0.99 quantile of these rows."""
    import numpy as np

    known = truth.cast(float).fill_nan(None).is_not_null()
    error = scored["prediction"].filter(known).cast(float).to_numpy() - truth.filter(known).cast(float).to_numpy()
    return float(np.quantile(error**2, CLIP_AT)) if len(error) else 1.0


def profile(losses: Array) -> list[float]:
    """A sample of losses as counts at CELLS + 1 points from 0 to 1; NaN is left out.

    Each loss is shared by the two points beside it, so that the mean stays what it is. For a sum of a concave
    function, such as the logarithm of what a bet makes, this can only be less than the sample's.

    >>> sum(profile([0.0, 0.25, 1.0])), profile([0.25])[CELLS // 4]
    (3.0, 1.0)
    """
    import numpy as np

    sample = np.asarray(losses, dtype=np.float64)
    at = sample[~np.isnan(sample)] * CELLS
    below = np.minimum(np.floor(at), CELLS - 1).astype(np.intp)
    upper = np.bincount(below + 1, at - below, CELLS + 1)
    return (np.bincount(below, 1 - (at - below), CELLS + 1) + upper).tolist()


def describe_losses(
    losses: Array, segments: Mapping[str, Sequence[str]], *, scale: float, zero_one: bool
) -> dict[str, Any]:
    """A sample of losses (rows,) as a model's record keeps it; nothing where no row has a loss.

    `segments`: for each watched column the value of each row, see `segment_values`. Gives mean, rows, scale, zero_one
    (whether a loss can be nothing but 0 or 1), profile, and segments: the profile of each, named as in "carrier=AA".
    Segments of fewer than LEAST_ROWS are left out, and the smallest ones beyond MAX_SEGMENTS.
    """
    import numpy as np

    known = ~np.isnan(losses)
    if not known.any():
        return {}
    sizes = [
        (-rows, column, value)
        for column, values in segments.items()
        for value, rows in Counter(np.asarray(values, dtype=object)[known].tolist()).items()
        if rows >= LEAST_ROWS
    ]
    return {
        "mean": float(losses[known].mean()),
        "rows": float(known.sum()),
        "scale": scale,
        "zero_one": zero_one,
        "profile": profile(losses),
        "segments": {
            f"{column}={value}": profile(losses[np.asarray(segments[column], dtype=object) == value])
            for _, column, value in sorted(sizes)[:MAX_SEGMENTS]
        },
    }


def gather_batches(
    losses: Array, segments: Mapping[str, Sequence[str]], batches: Array, described: Mapping[str, Any]
) -> dict[str, Group]:
    """How far the batches of a sample of losses (rows,) differ: of all rows, under an empty name, and of segments.

    `batches` says to which batch each row belongs, `described` (see `describe_losses`) which segments are watched.
    """
    import numpy as np

    groups = {"": gather(losses, batches)}
    for name in described["segments"]:
        column, value = name.split("=", 1)
        mine = np.asarray(segments[column], dtype=object) == value
        groups[name] = gather(losses[mine], batches[mine])
    return groups


def segment_values(frame: pl.DataFrame, columns: Sequence[str]) -> dict[str, list[str]]:
    """Of each column the value of each row as text; one that is missing is "missing"."""
    import polars as pl

    return {column: frame[column].cast(pl.String).fill_null("missing").to_list() for column in columns}


def has_no_scores(task: Task, scored: pl.DataFrame) -> bool:
    """Whether a classifier gave nothing but predictions, so that each loss is 0 or 1."""
    if task is Task.REGRESSION:
        return False
    column = scored["score"].cast(float).fill_nan(None) if task is Task.BINARY else scored["scores"]
    return column.null_count() == len(column)


def _squared(truth: pl.Series, scored: pl.DataFrame, scale: float) -> Array:
    import numpy as np

    error = (scored["prediction"].cast(float).to_numpy() - truth.cast(float).to_numpy()) ** 2
    error = np.nan_to_num(error, nan=np.inf, posinf=np.inf)
    # Compared before it is divided: a scale of 0 means that the reference made no error at all.
    return np.where(error >= scale, (error > 0).astype(float), error / (scale or 1.0))


def _brier(task: Task, truth: pl.Series, scored: pl.DataFrame, positive: str | None) -> Array:
    import numpy as np

    wrong = (scored["prediction"] != truth).fill_null(True).to_numpy().astype(float)
    columns = ["score"] if task is Task.BINARY else ["classes", "scores"]
    whole = np.logical_and.reduce([scored[c].is_not_null().to_numpy() for c in columns])
    if not whole.any():
        return wrong
    filled, known = scored.filter(whole), truth.filter(whole)
    if task is Task.BINARY:
        if positive is None:
            raise ValueError("a binary loss needs the positive class")
        wrong[whole] = (1 - np.nan_to_num(chance_of_truth(known, filled, positive))) ** 2
    else:
        chances, at = chances_and_truth(known, filled)
        chances[np.arange(len(at)), at] -= 1
        wrong[whole] = (chances**2).sum(axis=1) / 2
    return wrong
