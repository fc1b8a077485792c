"""What the missing labels of a window can still make of its metric: the worst and the best case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from homeostat.metrics import CLIP, stand_for
from homeostat.monitoring.estimation.class_scores import ClassScores, read_scores
from homeostat.project import Task

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray

Bounds = tuple[float, float]
LEAST_SAMPLE, Z95 = 5, 1.959964


def bound_metric(task: Task, metric: str, scored: pl.DataFrame, positive: str | None = None) -> Bounds | None:
    """The lowest and the highest value that a metric can still take; None where there is no useful bound.

    `scored`: a predictions frame with `label` (canonical, null where not known). The bounds hold whatever the
    missing labels turn out to be, and whichever of them never come; they assume that a known label is not
    corrected, and that a binary label is one of the two classes. Bounded are accuracy and log loss, and of binary
    tasks Brier score, F1 and AUC. Regression losses have no worst case, and macro averages none that is cheap to find.
    """
    if task is Task.REGRESSION or scored.is_empty():
        return None
    scores = read_scores(task, scored, positive)
    if metric == "f1":
        return _bound_f1(scores)
    if metric == "auc":
        return _bound_auc(scores)
    losses = _losses(metric, scores, unseen=task is Task.MULTICLASS)
    return None if losses is None else _bound_mean(*losses, scores.known)


def sampling_interval(task: Task, metric: str, scored: pl.DataFrame, positive: str | None = None) -> Bounds | None:
    """The interval (95%) of a metric where the labelled rows are a sample; None with few labels, or of no mean of rows.

    `scored`: a predictions frame with `label` and `propensity`, null where there is none. Of the mean weighted by the
    inverse of the propensity, by linearization (Sarndal, Swensson and Wretman, "Model assisted survey sampling", 1992).
    """
    import numpy as np

    rows = scored.filter(pl.col("label").is_not_null())
    weights = stand_for(rows)
    values = _values(task, metric, rows, positive)
    if weights is None or values is None or rows.height < LEAST_SAMPLE:
        return None
    mean = float(np.average(values, weights=weights))
    error = float(np.sqrt(np.sum((weights * (values - mean)) ** 2)) / weights.sum())
    low, high = mean - Z95 * error, mean + Z95 * error
    if metric == "rmse":
        return float(np.sqrt(max(low, 0.0))), float(np.sqrt(high))
    return max(low, 0.0), min(high, 1.0) if metric in ("accuracy", "brier") else high


def _values(task: Task, metric: str, rows: pl.DataFrame, positive: str | None) -> Array | None:
    """What each labelled row adds to a metric that is a mean of rows; of "rmse" the squared error."""
    import numpy as np

    if task is not Task.REGRESSION:
        bounds = _losses(metric, read_scores(task, rows, positive), unseen=False)
        return None if bounds is None else bounds[0]
    error = np.abs(rows["prediction"].cast(float).to_numpy() - rows["label"].cast(float).to_numpy())
    return {"mae": error, "rmse": error**2}.get(metric)


def _losses(metric: str, scores: ClassScores, unseen: bool) -> tuple[Array, Array] | None:
    """The values of each row that its label could give it, least and most; `unseen`: also of a class nobody knows."""
    import numpy as np

    rows, known = np.arange(len(scores.truth)), scores.known
    if metric == "accuracy":
        hit = ((scores.predicted == scores.truth) & known).astype(float)
        return hit, np.where(known, hit, scores.predicted >= 0)
    if metric not in ("brier", "log_loss") or scores.chances is None:
        return None
    of_truth = scores.chances[rows, scores.truth]
    best = np.where(known, of_truth, scores.chances.max(axis=1))
    worst = np.where(known, of_truth, 0.0 if unseen else scores.chances.min(axis=1))
    low, high = ((1 - c) ** 2 if metric == "brier" else -np.log(np.clip(c, CLIP, 1.0)) for c in (best, worst))
    return low, high


def _bound_mean(low: Array, high: Array, known: Array) -> Bounds:
    """Bounds of a mean over the labelled rows: labels come where they drag it most, and nowhere else."""
    import numpy as np

    total, count = low[known].sum(), int(known.sum())
    more = np.arange(0 if count else 1, int((~known).sum()) + 1)
    down = np.concatenate([[0.0], np.cumsum(np.sort(low[~known]))])
    up = np.concatenate([[0.0], np.cumsum(np.sort(high[~known])[::-1])])
    return float(np.min((total + down[more]) / (count + more))), float(np.max((total + up[more]) / (count + more)))


def _bound_f1(scores: ClassScores) -> Bounds:
    known, predicted, is_true = scores.known, scores.predicted == 1, scores.truth == 1
    hits = int((known & predicted & is_true).sum())
    wrong = int((known & (predicted != is_true)).sum())
    open_hits, open_all = int((~known & predicted).sum()), int((~known).sum())
    best = 2 * (hits + open_hits) / max(2 * (hits + open_hits) + wrong, 1)
    return 2 * hits / max(2 * hits + wrong + open_all, 1), best


def _bound_auc(scores: ClassScores) -> Bounds | None:
    if scores.chances is None:
        return None
    score, known, is_true = scores.chances[:, 1], scores.known, scores.truth == 1
    high = _highest_auc(score, known, is_true)
    low = _highest_auc(-score, known, is_true)
    return None if high is None or low is None else (1 - low, high)


def _highest_auc(score: Array, known: Array, is_true: Array) -> float | None:
    """The highest AUC that labels of the unknown rows can give: the a highest are positive, the b lowest negative.

    An exchange argument: a positive swapped with a higher scored negative, or with a row left out above it, only wins.
    For each a, the AUC as a function of b is a concave function over a positive linear one, so it rises and then
    falls, and bisection finds its top. Ties within the unknown rows count as won, which keeps the bound a bound.
    """
    import numpy as np

    ups, downs = np.sort(score[known & is_true]), np.sort(score[known & ~is_true])
    free = np.sort(score[~known])[::-1]
    count = len(free)
    as_positive = np.concatenate([[0.0], np.cumsum(_won(free, downs))])
    as_negative = np.concatenate([[0.0], np.cumsum(len(ups) - _won(free[::-1], ups))])
    settled = _won(ups, downs).sum()

    def auc(a: Array, b: Array) -> Array:
        pairs = (len(ups) + a) * (len(downs) + b)
        return np.where(pairs > 0, (settled + as_positive[a] + as_negative[b] + a * b) / np.maximum(pairs, 1), 0.0)

    a = np.arange(count + 1)
    low, high = np.zeros(count + 1, int), count - a
    while (low < high).any():
        middle = (low + high) // 2
        rising = (auc(a, np.minimum(middle + 1, count - a)) > auc(a, middle)) & (low < high)
        low, high = np.where(rising, middle + 1, low), np.where(rising, high, middle)
    best = float(auc(a, low).max()) if count or (len(ups) and len(downs)) else None
    return None if best is None else min(best, 1.0)


def _won(score: Array, others: Array) -> Array:
    """How many of the sorted `others` each score is above; a tie counts half."""
    import numpy as np

    below, up_to = (np.searchsorted(others, score, side) for side in ("left", "right"))
    return (below + up_to) / 2
