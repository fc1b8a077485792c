"""Estimates of a regressor's metrics without labels, from a model of its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from homeostat.monitoring.estimation.calibration import likeness

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray

RECENT, BINS, MOST_ROWS, SEED = 3, 8, 4000, 0
Row = tuple["Array", "Array", "Array"]


def regression_metric(metric: str, prediction: Array, square: Array, size: Array) -> float | None:
    """A metric from each row's prediction, squared and absolute error (realized or expected); None where undefined.

    R² takes errors as unrelated to the predictions, so that the spread of the truth is that of both together; it is
    an approximation even with the real errors.
    """
    import numpy as np

    if not len(prediction):
        return None
    if metric == "mae":
        return float(np.mean(size))
    loss = float(np.mean(square))
    if metric == "rmse":
        return loss**0.5
    spread = float(np.var(prediction)) + loss
    return 1 - loss / spread if spread > 0 else None


def estimate_by_loss(metric: str, past: Sequence[Row], current: Row) -> dict[str, float]:
    """Estimate a metric over `current` in several ways, by name.

    `past`: labelled windows, oldest first, and `current`, each as predictions (rows,), errors (rows,; those of
    `current` are not looked at) and inputs (rows, columns), float64. Ways: the loss of the past ("past") or of its
    newest windows ("recent"); by the size of the prediction ("prediction"); by a small tree on inputs and prediction
    ("tree": direct loss estimation, NannyML); of past rows weighted by how like the current ones they are ("weighted").
    """
    import numpy as np

    prediction, _, inputs = current
    rows = len(prediction)
    learned, error, seen = (np.concatenate([window[i] for window in past]) for i in range(3))
    losses = np.stack([error**2, np.abs(error)])
    newest = np.concatenate([window[1] for window in past[-RECENT:]])
    ways = {"past": _flat(losses, np.ones(len(error)), rows)}
    if len(past) > RECENT:
        ways["recent"] = _flat(np.stack([newest**2, np.abs(newest)]), np.ones(len(newest)), rows)
    ways["prediction"] = _by_bin(learned, losses, prediction)
    if inputs.shape[1]:
        ways["tree"] = _by_tree(np.column_stack([seen, learned]), losses, np.column_stack([inputs, prediction]))
        ways["weighted"] = _flat(losses, likeness(seen, inputs), rows)
    estimates = {name: regression_metric(metric, prediction, *loss) for name, loss in ways.items()}
    return {name: value for name, value in estimates.items() if value is not None}


def loss_noise(metric: str, past: Sequence[Row], current: Row) -> float:
    """About one standard deviation of the metric over as many rows as `current` by chance."""
    import numpy as np

    error, rows = np.concatenate([window[1] for window in past]), max(len(current[0]), 1)
    if metric == "mae":
        return float(np.std(np.abs(error)) / rows**0.5)
    loss = max(float(np.mean(error**2)), 1e-300)
    of_loss = float(np.std(error**2)) / rows**0.5
    return of_loss / (2 * loss**0.5) if metric == "rmse" else of_loss / (float(np.var(current[0])) + loss)


def _flat(losses: Array, weight: Array, rows: int) -> Array:
    import numpy as np

    return np.repeat((losses @ weight / weight.sum())[:, None], rows, axis=1)


def _by_bin(learned: Array, losses: Array, asked: Array) -> Array:
    import numpy as np

    edges = np.unique(np.quantile(learned, np.linspace(0, 1, BINS + 1)[1:-1]))
    place, kinds = np.searchsorted(edges, learned), len(edges) + 1
    count = np.maximum(np.bincount(place, minlength=kinds), 1)
    means = [np.bincount(place, loss, minlength=kinds) / count for loss in losses]
    return np.stack([mean[np.searchsorted(edges, asked)] for mean in means])


def _by_tree(learned: Array, losses: Array, asked: Array) -> Array:
    from sklearn.tree import DecisionTreeRegressor

    step = -(-len(learned) // MOST_ROWS)
    learned, losses = learned[::step], losses[:, ::step]
    tree = DecisionTreeRegressor(max_depth=6, min_samples_leaf=max(len(learned) // 100, 20), random_state=SEED)
    return tree.fit(learned, losses.T).predict(asked).T
