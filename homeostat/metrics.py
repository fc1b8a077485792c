"""Metrics of scored rows against their truth, in one place for training, monitoring and promotion."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from homeostat.errors import DataError
from homeostat.project import Task

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

CLIP = 1e-6
_HIGHER_IS_BETTER = {
    "auc": True,
    "log_loss": False,
    "accuracy": True,
    "brier": False,
    "f1": True,
    "f1_macro": True,
    "auc_macro": True,
    "rmse": False,
    "mae": False,
    "r2": True,
}
_INTEGER = re.compile(r"[+-]?\d+")


def order_classes(labels: Iterable[str]) -> tuple[str, ...]:
    """Put class labels in their canonical order, each once: sorted, by number where all are integers.

    >>> order_classes(["10", "9", "10"])
    ('9', '10')
    >>> order_classes(["late", "10", "9"])
    ('10', '9', 'late')
    """
    unique = sorted(set(labels))
    if all(_INTEGER.fullmatch(label) for label in unique):
        unique.sort(key=int)
    return tuple(unique)


def positive_class(classes: Iterable[str], project_positive: str | int | bool | None = None) -> str:
    """Name the positive class in canonical form: the project's, else the last in canonical order.

    Raises DataError where neither is known.

    >>> positive_class(["1", "0"])
    '1'
    >>> positive_class(["late", "on time"], "late")
    'late'
    """
    if project_positive is not None:
        return str(project_positive).lower() if isinstance(project_positive, bool) else str(project_positive)
    ordered = order_classes(classes)
    if not ordered:
        raise DataError("No class is known, so none can be the positive one.", "Set data.positive.")
    return ordered[-1]


def gain(metric: str, new: float, old: float) -> float:
    """How much better `new` is than `old`, in the metric's unit; positive means better.

    >>> gain("auc", 0.75, 0.5), gain("log_loss", 0.75, 0.5)
    (0.25, -0.25)
    """
    return new - old if _HIGHER_IS_BETTER[metric] else old - new


def better(metric: str, a: float, b: float) -> bool:
    """Whether `a` is strictly better than `b`.

    >>> better("rmse", 1.0, 2.0), better("accuracy", 0.5, 0.5)
    (True, False)
    """
    return gain(metric, a, b) > 0


def compute_metrics(
    task: Task,
    truth: pl.Series,
    scored: pl.DataFrame,
    positive: str | None = None,
    weights: Array | None = None,
) -> dict[str, float]:
    """Compute every metric of the task that is defined on these rows; one that is not is left out, never NaN.

    `truth`: canonical labels (String classes, or Float64), one for each row of `scored`; rows whose truth is
    null are left out. `scored`: columns prediction, score, classes, scores of a predictions frame. Rows of
    several model versions may carry different class lists. A truth that the model did not know counts as an
    error, its probability as `CLIP`. Metrics that need scores are left out where any row has none.
    `weights` (rows,) says how many rows each stands for, the inverse of the chance that its truth became known
    (Horvitz and Thompson, 1952; Hajek, 1971); without it each stands for itself.

    >>> import polars as pl
    >>> scored = pl.DataFrame({"prediction": ["1", "0"], "score": [0.75, 0.25]})
    >>> compute_metrics(Task.BINARY, pl.Series(["1", "0"]), scored, "1")["auc"]
    1.0
    """
    if len(truth) != scored.height:
        raise ValueError(f"{len(truth)} truths for {scored.height} scored rows")
    known = truth.is_not_null()
    weights = None if weights is None else weights[known.to_numpy()]
    truth, scored = truth.filter(known), scored.filter(known)
    if not len(truth):
        return {}
    if task is Task.REGRESSION:
        measured = _regression(truth, scored, weights)
    elif task is Task.BINARY:
        measured = _binary(truth, scored, positive, weights)
    else:
        measured = _multiclass(truth, scored, weights)
    return {name: float(value) for name, value in measured.items() if math.isfinite(value)}


def stand_for(labelled: pl.DataFrame) -> Array | None:
    """How many rows each labelled row stands for, (rows,): the inverse of its `propensity`; None where each for itself.

    A row without a label stands for none.
    """
    if "propensity" not in labelled.columns or (labelled["propensity"].drop_nulls() == 1).all():
        return None
    return (1 / labelled["propensity"]).fill_null(0.0).to_numpy()


def _regression(truth: pl.Series, scored: pl.DataFrame, weights: Array | None) -> dict[str, float]:
    import numpy as np

    true = truth.cast(float).to_numpy()
    error = scored["prediction"].cast(float).to_numpy() - true
    measured = {"rmse": math.sqrt(_mean(error**2, weights)), "mae": float(_mean(np.abs(error), weights))}
    spread = float(_mean((true - _mean(true, weights)) ** 2, weights))
    if len(true) >= 2 and spread > 0:
        measured["r2"] = 1 - float(_mean(error**2, weights)) / spread
    return measured


def _mean(values: Array, weights: Array | None) -> float:
    import numpy as np

    return float(np.mean(values) if weights is None else np.average(values, weights=weights))


def _binary(truth: pl.Series, scored: pl.DataFrame, positive: str | None, weights: Array | None) -> dict[str, float]:
    prediction = scored["prediction"]
    if positive is None:
        positive = positive_class([*class_lists(scored), *truth.to_list(), *prediction.drop_nulls().to_list()])
    is_positive = (truth == positive).to_numpy()
    measured = {"accuracy": _accuracy(truth, prediction, weights)}
    if is_positive.any() or (prediction == positive).any():
        measured["f1"] = _f1(is_positive, (prediction == positive).fill_null(False).to_numpy(), weights)
    score = scored["score"].cast(float).fill_nan(None)
    if score.null_count():
        return measured
    chance = score.to_numpy()
    of_truth = chance_of_truth(truth, scored, positive)
    measured["log_loss"] = _log_loss(of_truth, weights)
    measured["brier"] = _mean((1 - of_truth) ** 2, weights)
    if is_positive.any() and not is_positive.all():
        measured["auc"] = _auc(is_positive, chance, weights)
    return measured


def chance_of_truth(truth: pl.Series, scored: pl.DataFrame, positive: str) -> Array:
    """The probability that each binary row (rows,) gave to its truth; 0 where the model did not know that class."""
    import numpy as np

    is_positive, chance = (truth == positive).to_numpy(), scored["score"].cast(float).to_numpy()
    named = class_lists(scored)
    unknown = ~truth.is_in(named).to_numpy() & ~is_positive if named else np.zeros(len(truth), bool)
    return np.where(unknown, 0.0, np.where(is_positive, chance, 1 - chance))


def _multiclass(truth: pl.Series, scored: pl.DataFrame, weights: Array | None) -> dict[str, float]:
    import numpy as np

    prediction = scored["prediction"].fill_null("")
    measured = {"accuracy": _accuracy(truth, prediction, weights), "f1_macro": _f1_macro(truth, prediction, weights)}
    if scored["scores"].null_count() or scored["classes"].null_count():
        return measured
    chances, at = chances_and_truth(truth, scored)
    measured["log_loss"] = _log_loss(chances[np.arange(len(at)), at], weights)
    present = np.unique(at)
    if len(present) > 1:
        measured["auc_macro"] = float(np.mean([_auc(at == i, chances[:, i], weights) for i in present]))
    return measured


def chances_and_truth(truth: pl.Series, scored: pl.DataFrame) -> tuple[Array, Array]:
    """The probability of every class, one row for each, and in which column each row's truth stands (rows,)."""
    import numpy as np

    columns = order_classes([*class_lists(scored), *truth.unique().to_list()])
    place = {label: i for i, label in enumerate(columns)}
    return class_chances(scored, columns), np.array([place[label] for label in truth.to_list()], dtype=np.intp)


def class_chances(scored: pl.DataFrame, columns: tuple[str, ...]) -> Array:
    """The scores of a predictions frame as float64 (rows, columns), one column a class; 0 where it is not listed."""
    import numpy as np
    import polars as pl

    flat = (
        scored.select("classes", "scores")
        .with_row_index("row")
        .explode("classes", "scores")
        .drop_nulls()
        .with_columns(at=pl.col("classes").replace_strict({c: i for i, c in enumerate(columns)}, return_dtype=pl.Int64))
    )
    chances = np.zeros((scored.height, len(columns)))
    chances[flat["row"].to_numpy(), flat["at"].to_numpy()] = flat["scores"].to_numpy()
    return chances


def class_lists(scored: pl.DataFrame) -> list[str]:
    """The classes that the versions behind a predictions frame know, sorted; empty where none are listed."""
    if "classes" not in scored.columns or scored["classes"].null_count() == scored.height:
        return []
    return scored["classes"].drop_nulls().unique().explode().drop_nulls().unique().sort().to_list()


def _accuracy(truth: pl.Series, prediction: pl.Series, weights: Array | None) -> float:
    right = (truth == prediction).fill_null(False)
    return float(right.sum()) / len(truth) if weights is None else _mean(right.to_numpy(), weights)


def _log_loss(of_truth: Array, weights: Array | None) -> float:
    import numpy as np

    return -_mean(np.log(np.clip(of_truth, CLIP, 1.0)), weights)


def _f1(truth: Array, prediction: Array, weights: Array | None) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truth, prediction, sample_weight=weights))


def _f1_macro(truth: pl.Series, prediction: pl.Series, weights: Array | None) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truth.to_list(), prediction.to_list(), average="macro", sample_weight=weights))


def _auc(truth: Array, score: Array, weights: Array | None) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, score, sample_weight=weights))
