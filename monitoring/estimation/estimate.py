"""What the watched metric is to be expected to be over rows whose labels have not come, and how far off that may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

import polars as pl

from homeostat.monitoring.estimation.calibration import encode_inputs
from homeostat.monitoring.estimation.class_scores import expected_metric, read_scores
from homeostat.monitoring.estimation.combination import PastEstimate, combine, half_width, past_errors
from homeostat.monitoring.estimation.confidence import Row as ClassRow
from homeostat.monitoring.estimation.confidence import calibrated_chances, chance_noise, estimate_by_confidence
from homeostat.monitoring.estimation.loss_model import Row as LossRow
from homeostat.monitoring.estimation.loss_model import estimate_by_loss, loss_noise, regression_metric
from homeostat.project import Project, Task

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray

R = TypeVar("R")
PAST, TRIED, LEAST_ROWS, DIGITS = 20, 10, 50, 9
INPUT = "input:"  # a user's column may be called score
_RANGES = {"log_loss": (0.0, float("inf")), "rmse": (0.0, float("inf")), "mae": (0.0, float("inf"))}
_RANGES["r2"] = (float("-inf"), 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredWindow:
    """The rows of one window: a predictions frame with `label`, and raw inputs in columns named with `INPUT` before."""

    start_at: datetime
    end_at: datetime
    rows: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Estimate:
    """An expected metric; `low` and `high` are None while too little is known of its error.

    `past_error` is the mean absolute error that such an estimate would have had over the last `past_windows` windows
    with labels; None where there was none.
    """

    value: float
    low: float | None
    high: float | None
    past_error: float | None
    past_windows: int


def estimate_window(
    current: ScoredWindow, past: Sequence[ScoredWindow], *, project: Project, positive: str | None = None
) -> Estimate | None:
    """Estimate the project's metric over `current` as if none of its labels were known; None while there is no history.

    `past`: windows of which no more labels are waited for; those that end after `current` starts are left out, and
    of the others the newest are taken, at most `monitoring.sample` labelled rows of each. Each way of estimating is
    tried on the newest of them, with labels as old as those that `current` is estimated with, and how it fared there
    decides what it counts. So is the whole, and its errors give the interval. The same frames give the same bits.
    """
    from threadpoolctl import threadpool_limits

    current, *past = (_answered(window, project.task) for window in (current, *past))
    usable = [_labelled(w, project.monitoring.sample) for w in past if w.end_at <= current.start_at]
    usable = sorted((w for w in usable if w.rows.height), key=lambda w: w.end_at)[-PAST:]
    if not current.rows.height or sum(w.rows.height for w in usable) < LEAST_ROWS:
        return None
    rows = spaced(current.rows, 10 * project.monitoring.sample)
    asked = ScoredWindow(current.start_at, current.end_at, rows.with_columns(label=pl.lit(None, rows["label"].dtype)))
    # One thread: the bits must not depend on how many there are, and on small arrays they only wait for each other.
    with threadpool_limits(1, "blas"):
        return _estimated(usable, asked, project, positive)


@dataclass(frozen=True, slots=True)
class _Ways(Generic[R]):
    """Ways to estimate a metric over rows in one form: by way, the metric itself where labels are known, its noise."""

    estimate: Callable[[str, Sequence[R], R], dict[str, float]]
    realized: Callable[[str, R], float | None]
    noise: Callable[[str, Sequence[R], R], float]


def _estimated(
    usable: Sequence[ScoredWindow], asked: ScoredWindow, project: Project, positive: str | None
) -> Estimate | None:
    windows = [*usable, asked]
    if project.task is Task.REGRESSION:
        return _by_ways(BY_LOSS, windows, _read_errors(windows, project), project.metric)
    return _by_ways(BY_CONFIDENCE, windows, _read_scores(windows, project, positive), project.metric)


def _by_ways(ways: _Ways[R], windows: Sequence[ScoredWindow], rows: Sequence[R], metric: str) -> Estimate | None:
    """Estimate over the last of the windows from those before it; `rows` are theirs."""
    *usable, asked = windows
    *past, current = rows
    estimates = ways.estimate(metric, past, current)
    if not estimates:
        return None
    gap, stretch = _gap(usable, asked.end_at)
    tried = _try(ways, usable, past, gap, metric)
    errors = past_errors(tried, gap)
    half = half_width(errors, ways.noise(metric, past, current))
    return _estimate(metric, combine(estimates, tried, gap), errors, None if half is None else half * stretch)


def _estimate(metric: str, value: float, errors: Sequence[tuple[float, float]], half: float | None) -> Estimate:
    least, most = _RANGES.get(metric, (0.0, 1.0))

    def within(number: float) -> float:
        return round(min(max(number, least), most), DIGITS)

    error = round(sum(abs(e) for e, _ in errors) / len(errors), DIGITS) if errors else None
    ends = (None, None) if half is None else (within(value - half), within(value + half))
    return Estimate(within(value), *ends, error, len(errors))


def spaced(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most so many rows, evenly spaced."""
    return rows if rows.height <= most else rows[[i * rows.height // most for i in range(most)]]


def _answered(window: ScoredWindow, task: Task) -> ScoredWindow:
    """Without the rows for which a regressor gave no number."""
    if task is not Task.REGRESSION:
        return window
    finite = pl.col("prediction").cast(pl.Float64).is_finite().fill_null(False)
    return ScoredWindow(window.start_at, window.end_at, window.rows.filter(finite))


def _labelled(window: ScoredWindow, most: int) -> ScoredWindow:
    label = window.rows["label"]
    known = (label.fill_nan(None) if label.dtype.is_float() else label).is_not_null()
    return ScoredWindow(window.start_at, window.end_at, spaced(window.rows.filter(known), most))


def _gap(usable: Sequence[ScoredWindow], end_at: datetime) -> tuple[timedelta, float]:
    """How old the newest labels are, to try at most half of history; beyond, errors are taken to grow as a root."""
    gap, span = end_at - usable[-1].end_at, usable[-1].end_at - usable[0].end_at
    tried = min(gap, max(span / 2, usable[-1].end_at - usable[-1].start_at))
    return tried, max(gap / tried, 1.0) ** 0.5 if tried else 1.0


def _try(
    ways: _Ways[R], usable: Sequence[ScoredWindow], table: Sequence[R], gap: timedelta, metric: str
) -> list[PastEstimate]:
    pairs, tried = list(zip(usable, table, strict=True)), []
    for window, row in pairs[-TRIED:]:
        known = [r for w, r in pairs if w.end_at <= window.end_at - gap and w is not window]
        realized = ways.realized(metric, row)
        estimates = ways.estimate(metric, known, row) if known and realized is not None else {}
        if estimates and realized is not None:
            tried.append(PastEstimate(window.end_at, estimates, realized, ways.noise(metric, known, row)))
    return tried


def _read_errors(windows: Sequence[ScoredWindow], project: Project) -> list[LossRow]:
    """Predictions, their errors (NaN without a label) and inputs of each window."""
    whole, parts, inputs = _joined(windows, project)
    prediction = whole["prediction"].cast(float).to_numpy()
    error = prediction - whole["label"].cast(float).fill_null(float("nan")).to_numpy()
    return [(prediction[p], error[p], x) for p, x in zip(parts, inputs, strict=True)]


def _read_scores(windows: Sequence[ScoredWindow], project: Project, positive: str | None) -> list[ClassRow]:
    whole, parts, inputs = _joined(windows, project)
    scores = read_scores(project.task, whole, positive)
    return [(scores.take(p), x) for p, x in zip(parts, inputs, strict=True)]


def _joined(windows: Sequence[ScoredWindow], project: Project) -> tuple[pl.DataFrame, list[Array], list[Array]]:
    """The scored rows of all windows, the places of each window's in them, and each window's inputs."""
    import numpy as np

    frames = [w.rows for w in windows]
    named = [[f"{INPUT}{c}" for c in columns] for columns in (project.data.numeric, project.data.categorical)]
    ends = np.cumsum([frame.height for frame in frames])
    parts = [np.arange(end - frame.height, end) for end, frame in zip(ends, frames, strict=True)]
    columns = ["prediction", "score", "classes", "scores", "label"]
    whole = pl.concat([frame.select(columns) for frame in frames], how="vertical_relaxed")
    return whole, parts, encode_inputs(frames, *named)


def _realized_loss(metric: str, row: LossRow) -> float | None:
    import numpy as np

    return regression_metric(metric, row[0], row[1] ** 2, np.abs(row[1]))


def _realized_scores(metric: str, row: ClassRow) -> float | None:
    return expected_metric(metric, row[0], row[0].certain())


def _noise_of_scores(metric: str, past: Sequence[ClassRow], row: ClassRow) -> float:
    return chance_noise(metric, row[0], calibrated_chances(past, row[0]))


BY_LOSS = _Ways(estimate_by_loss, _realized_loss, loss_noise)
BY_CONFIDENCE = _Ways(estimate_by_confidence, _realized_scores, _noise_of_scores)
