"""Scored rows of a classifier as arrays, and its metrics as expectations over what the truth may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from homeostat.metrics import CLIP, class_chances, class_lists, order_classes, positive_class
from homeostat.project import Task

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class ClassScores:
    """Rows that a classifier scored; of a binary task the classes are (the other, the positive).

    `chances`: float64 (rows, classes), or None where the model gave no scores. `predicted` and `truth`: int64 (rows,),
    places in `classes`; -1 where there is none.
    """

    classes: tuple[str, ...]
    chances: Array | None
    predicted: Array
    truth: Array

    @property
    def known(self) -> Array:
        """Which rows have a label, bool (rows,)."""
        return self.truth >= 0

    def take(self, rows: Array) -> ClassScores:
        """Some of the rows, by a mask or places."""
        chances = None if self.chances is None else self.chances[rows]
        return ClassScores(self.classes, chances, self.predicted[rows], self.truth[rows])

    def certain(self) -> Array:
        """The truth as chances: 1 for the class of the label; a row without one is 0 throughout."""
        import numpy as np

        return (self.truth[:, None] == np.arange(len(self.classes))).astype(float)


def read_scores(task: Task, scored: pl.DataFrame, positive: str | None = None) -> ClassScores:
    """Read a predictions frame with `label` (canonical, null where not known)."""
    import numpy as np

    labels, prediction = scored["label"], scored["prediction"]
    named = [*class_lists(scored), *labels.drop_nulls().unique().to_list(), *prediction.drop_nulls().unique().to_list()]
    if task is Task.BINARY:
        positive = positive_class(named) if positive is None else positive
        score = scored["score"].cast(float).fill_nan(None)
        chance = None if score.null_count() else np.clip(score.to_numpy(), 0.0, 1.0)
        chances = None if chance is None else np.stack([1 - chance, chance], axis=1)
        places = [(column == positive).cast(pl.Int64).fill_null(-1).to_numpy() for column in (prediction, labels)]
        return ClassScores((f"not {positive}", positive), chances, *places)
    classes = order_classes(named)
    missing = scored["scores"].null_count() or scored["classes"].null_count()
    chances = None if missing else class_chances(scored, classes)
    at = {name: place for place, name in enumerate(classes)}
    places = [
        column.replace_strict(at, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()
        for column in (prediction, labels)
    ]
    return ClassScores(classes, chances, *places)


def expected_metric(metric: str, scores: ClassScores, truth: Array) -> float | None:
    """A metric as it is to be expected where row i is of class k with the chance `truth[i, k]`; None where undefined.

    `truth`: float64 (rows, classes). Accuracy, log loss and Brier score are expectations; F1 and AUC are ratios of
    expectations, which for AUC counts each pair of different rows by its chance to be a positive and a
    negative (as confidence-based performance estimation does: NannyML, "Estimation of performance without
    targets"; Bialek et al., 2024, "Estimating model performance under covariate shift without labels"). Where `truth`
    is certain, it is the metric itself.
    """
    import numpy as np

    if not len(truth):
        return None
    binary = metric in ("auc", "f1", "brier")
    if metric == "accuracy":
        return float(np.mean(_at(truth, scores.predicted)))
    if metric in ("f1", "f1_macro"):
        columns = [1] if binary else range(truth.shape[1])
        return _mean([_f1(truth[:, k], scores.predicted == k) for k in columns])
    if scores.chances is None:
        return None
    if metric == "log_loss":
        return float(np.mean(np.sum(truth * -np.log(np.clip(scores.chances, CLIP, 1.0)), axis=1)))
    if metric == "brier":
        return float(np.mean(np.sum(truth * (1 - scores.chances) ** 2, axis=1)))
    columns = [1] if binary else range(truth.shape[1])
    return _mean([expected_auc(truth[:, k], scores.chances[:, k]) for k in columns])


def expected_auc(truth: Array, score: Array) -> float | None:
    """The area under the ROC curve where row i is a positive with the chance `truth[i]`; None with one class only."""
    import numpy as np

    pairs = truth.sum() * (1 - truth).sum() - np.sum(truth * (1 - truth))
    if truth.sum() <= 1e-9 or (1 - truth).sum() <= 1e-9 or pairs <= 1e-9:
        return None
    _, place = np.unique(score, return_inverse=True)
    up = np.bincount(place, weights=truth)
    down = np.bincount(place, weights=1 - truth)
    tied = np.bincount(place, weights=truth * (1 - truth))
    below = np.cumsum(down) - down
    won = np.sum(up * below) + 0.5 * (np.sum(up * down) - tied.sum())
    return float(np.clip(won / pairs, 0.0, 1.0))


def _f1(truth: Array, predicted: Array) -> float | None:
    hits, wrong = truth[predicted].sum(), (1 - truth[predicted]).sum()
    total = 2 * hits + wrong + truth[~predicted].sum()
    return float(2 * hits / total) if total > 1e-9 else None


def _at(table: Array, places: Array) -> Array:
    import numpy as np

    return np.where(places >= 0, table[np.arange(len(table)), places], 0.0)


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
