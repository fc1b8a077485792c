"""Estimates of a classifier's metrics without labels, from calibrated scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from homeostat.metrics import CLIP
from homeostat.monitoring.estimation.calibration import Calibration, calibrate_beta, calibrate_isotonic, likeness
from homeostat.monitoring.estimation.class_scores import ClassScores, expected_metric

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray

RECENT = 3
Row = tuple[ClassScores, "Array"]
Fit = Callable[["Array", "Array", "Array"], Calibration]


def estimate_by_confidence(metric: str, past: Sequence[Row], current: Row) -> dict[str, float]:
    """Estimate a metric over `current` in several ways, by name; one that cannot be made is left out.

    `past`: labelled windows, oldest first, and `current`, each as its scores and its inputs, float64 (rows,
    columns). All share one list of classes. Ways: the scores as they are ("scores"); calibrated on all past windows
    ("beta", "isotonic") or on the newest of them ("recent"); calibrated on past rows weighted by how like the current
    ones they are ("weighted": Bialek et al., 2024, PAPE).
    """
    scores, inputs = current
    estimates: dict[str, float | None] = {}
    if scores.chances is not None:
        estimates["scores"] = expected_metric(metric, scores, scores.chances)
    learned = {"beta": (past, calibrate_beta), "isotonic": (past, calibrate_isotonic)}
    if len(past) > RECENT:
        learned["recent"] = (past[-RECENT:], calibrate_beta)
    for name, (windows, fit) in learned.items():
        estimates[name] = expected_metric(metric, scores, _calibrated(windows, scores, fit, None))
    if inputs.shape[1]:
        weight = likeness(_inputs(past), inputs)
        estimates["weighted"] = expected_metric(metric, scores, _calibrated(past, scores, calibrate_beta, weight))
    return {name: value for name, value in estimates.items() if value is not None}


def chance_noise(metric: str, scores: ClassScores, truth: Array) -> float:
    """About one standard deviation of the metric over these rows by chance, their truth drawn from `truth`."""
    import numpy as np

    rows = max(len(truth), 1)
    if metric in ("auc", "auc_macro", "f1", "f1_macro") or (scores.chances is None and metric != "accuracy"):
        positives = float(truth[:, 1:].sum(axis=0).min()) if "macro" not in metric else rows / truth.shape[1]
        value = expected_metric(metric, scores, truth)
        value = 0.5 if value is None else value
        fewer = max(min(positives, rows - positives), 1.0)
        return float(np.sqrt(max(value * (1 - value), 0.01) / (3 * fewer if "auc" in metric else 2 * fewer)))
    losses = _losses(metric, scores)
    mean = np.sum(truth * losses, axis=1)
    return float(np.sqrt(np.maximum(np.sum(truth * losses**2, axis=1) - mean**2, 0).sum()) / rows)


def _losses(metric: str, scores: ClassScores) -> Array:
    import numpy as np

    if metric == "accuracy" or scores.chances is None:
        return (scores.predicted[:, None] == np.arange(len(scores.classes))).astype(float)
    if metric == "brier":
        return (1 - scores.chances) ** 2
    return -np.log(np.clip(scores.chances, CLIP, 1.0))


def calibrated_chances(past: Sequence[Row], scores: ClassScores) -> Array:
    """The chances of each class, float64 (rows, classes), by beta calibration on all past windows."""
    return _calibrated(past, scores, calibrate_beta, None)


def _calibrated(past: Sequence[Row], scores: ClassScores, fit: Fit, weight: Array | None) -> Array:
    import numpy as np

    truth = np.concatenate([window.certain() for window, _ in past])
    weight = np.ones(len(truth)) if weight is None else weight
    learned, asked = np.concatenate([_stated(window) for window, _ in past]), _stated(scores)
    first = 1 if truth.shape[1] == 2 else 0
    chances = [fit(learned[:, k], truth[:, k], weight)(asked[:, k]) for k in range(first, truth.shape[1])]
    table = np.stack([1 - chances[0], chances[0]] if first else chances, axis=1)
    return table / np.maximum(table.sum(axis=1, keepdims=True), CLIP)


def _stated(scores: ClassScores) -> Array:
    """The model's scores; for one that gives none, its prediction with a middling confidence."""
    import numpy as np

    if scores.chances is not None:
        return scores.chances
    predicted = scores.predicted[:, None] == np.arange(len(scores.classes))
    return np.where(predicted, 0.75, 0.25 / max(len(scores.classes) - 1, 1))


def _inputs(past: Sequence[Row]) -> Array:
    import numpy as np

    return np.concatenate([inputs for _, inputs in past])
