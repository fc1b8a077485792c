"""What a step of learning is made of, wherever it is taken: in the loop or in a backtest of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl

from homeostat.flows.learning.port import Span
from homeostat.losses import loss_scale, row_losses, scoring_losses, segment_values
from homeostat.metrics import compute_metrics
from homeostat.monitoring.retraining.forecast import (
    FULL_ROUNDS,
    LEAST_TICK_COST,
    RECALIBRATE,
    REFRESH,
    RETRAIN,
    Plan,
    growth_gain,
)
from homeostat.pipelines.inference import MEMBERS
from homeostat.pipelines.models.members import (
    MemberSpec,
    Window,
    forecast_cost,
    forecast_seconds,
    list_specs,
)
from homeostat.project import Project, Task
from homeostat.registry.comparison import Comparison
from homeostat.registry.segments import compare_gaps, compare_groups, mean_and_error

# Of an alarm that stands, everything is learned again once there is so much more to learn from.
FREE_GROWTH, ALARMED_GROWTH, GROWTH = 1.5, 1.5, 2.0
MOST_APART = 0.5
# So many more than the least are kept apart: each row is drawn by itself, so there may be fewer than expected.
SPARE = 1.25


@dataclass(frozen=True, slots=True)
class Groups:
    """Which groups a comparison looks at one by one: by column the value of each row; `metric` is shown."""

    segments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sensitive: Mapping[str, Sequence[str]] = field(default_factory=dict)
    metric: str = ""


def groups_of(project: Project, rows: pl.DataFrame) -> Groups:
    """The groups of rows, by the columns under `data.segments` and `data.sensitive`."""
    data = project.data
    return Groups(segment_values(rows, data.segments), segment_values(rows, data.sensitive), project.metric)


def list_plans(
    project: Project,
    *,
    manifest: Mapping[str, Any],
    whole: int,
    labels: int,
    rows_a_tick: float,
    alarmed: bool,
) -> tuple[Plan, ...]:
    """Weights alone; the short windows too; the long one and what grows too; and everything, once there is enough more.

    `manifest` is that of the model to go on from: of one member alone the weight is what it is. `whole` is the number
    of labels that everything was last learned from, `labels` that of now. That is enough more where it has grown by
    `FREE_GROWTH` if that takes no more than `retraining.free_seconds`, else once it has doubled, and sooner while an
    alarm stands.
    """
    specs = list_specs(project, manifest)
    windowed = [spec for spec in specs if not spec.whole]
    short = [spec for spec in windowed if spec.short]

    def plan(kind: str, chosen: Sequence[MemberSpec], growth: float = 0.0) -> Plan:
        learned = [(spec, rows_learned(spec.window, labels, rows_a_tick)) for spec in chosen]
        columns, classes = len(manifest.get("features", ())), len(manifest.get("classes") or ())
        outputs = classes if classes > 2 else 1
        return Plan(
            kind,
            tuple(spec.name for spec in chosen),
            sum(forecast_cost(spec, rows) for spec, rows in learned),
            growth,
            sum(forecast_seconds(spec, rows, columns, outputs) for spec, rows in learned),
        )

    plans = [Plan(RECALIBRATE, (), 0, seconds=0.0)] if len(manifest.get(MEMBERS, (None,))) > 1 else []
    plans.append(plan(REFRESH, short))
    if len(windowed) > len(short):
        plans.append(plan(REFRESH, windowed))
    everything = plan(RETRAIN, specs, growth_gain(whole, labels))
    free = everything.seconds <= project.retraining.free_seconds
    if labels >= (FREE_GROWTH if free else ALARMED_GROWTH if alarmed else GROWTH) * whole:
        plans.append(everything)
    return tuple(plans)


def rows_learned(window: Window | None, labels: int, rows_a_tick: float) -> int:
    """About how many of the labelled rows lie in a window."""
    return labels if window is None else min(labels, max(int(rows_a_tick * window.ticks), window.rows))


def full_cost_per_tick(labels: int, project: Project) -> int:
    """What retraining on everything costs at one tick, in rows x rounds: the budget is a share of it.

    In `FULL_ROUNDS` rounds, or `training.rounds` where those are fewer. It counts as `LEAST_TICK_COST` at least.
    """
    return max(labels * min(project.training.rounds, FULL_ROUNDS), LEAST_TICK_COST)


def count_labels(spans: Sequence[Span]) -> int:
    """The labelled rows of all of them."""
    return sum(span.labels for span in spans)


def newest(spans: Sequence[Span], rows: int) -> Sequence[Span]:
    """The newest of these, oldest first, as many as it takes to have so many labelled rows."""
    labels = np.cumsum([span.labels for span in reversed(spans)])
    return spans[-int(np.searchsorted(labels, rows)) - 1 :]


def rows_to_compare(project: Project) -> int:
    """From how many labelled rows enough can be kept for a comparison."""
    return math.ceil(SPARE * project.gates.min_rows / MOST_APART)


def share_apart(project: Project, labels: int) -> float:
    """The share of `labels` rows that is kept for the comparison: more of them where there are few."""
    gates = project.gates
    return min(MOST_APART, max(gates.fresh_share, SPARE * gates.min_rows / max(labels, 1)))


def kept_apart(keys: pl.Series, share: float) -> np.ndarray:
    """Which rows are kept for the comparison: about that share of them, each drawn by its key alone."""
    marks = [blake2b(key.encode(), digest_size=8).digest() for key in keys.cast(pl.String).to_list()]
    return np.array([int.from_bytes(mark) < share * 2**64 for mark in marks], dtype=bool)


def paired_gain(
    task: Task, labels: pl.Series, *, before: pl.DataFrame, after: pl.DataFrame, positive: str | None
) -> np.ndarray:
    """The loss that each row is spared by the scores `after`, (rows,), against those `before`."""
    losses = paired_losses(task, labels, before=before, after=after, positive=positive)
    return losses[0] - losses[1]


def paired_losses(
    task: Task, labels: pl.Series, *, before: pl.DataFrame, after: pl.DataFrame, positive: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each row, (rows,), by the scores `before` and by those `after`, in the same unit."""
    scale = squared_error(labels, before) if task is Task.REGRESSION else 1.0
    return (
        scoring_losses(task, labels, before, positive, scale),
        scoring_losses(task, labels, after, positive, scale),
    )


def compare_scores(
    task: Task,
    labels: pl.Series,
    *,
    champion: tuple[int, pl.DataFrame],
    challenger: tuple[int, pl.DataFrame],
    batches: tuple[str, ...],
    positive: str | None,
    weights: np.ndarray | None = None,
    groups: Groups | None = None,
) -> Comparison:
    """Compare two versions by what they say, now, of the same labelled rows; one row of scores a label.

    `weights` (rows,) say how many rows each stands for; without it each stands for itself. `groups` are compared one by
    one as well.
    """
    (old, before), (new, after) = champion, challenger
    losses = paired_losses(task, labels, before=before, after=after, positive=positive)
    saved = losses[0] - losses[1]
    mean, error = mean_and_error(saved, weights)
    scores = {"before": before, "after": after, "positive": positive, "weights": weights}
    chosen = groups or Groups()
    return Comparison(
        old,
        new,
        len(labels),
        batches,
        champion_metrics=compute_metrics(task, labels, before, positive, weights),
        challenger_metrics=compute_metrics(task, labels, after, positive, weights),
        gain=mean,
        gain_error=error,
        segments=compare_groups(
            task, labels, saved=saved, groups={**chosen.segments, **chosen.sensitive}, sensitive=chosen.sensitive,
            metric=chosen.metric, **scores,
        ),
        fairness=compare_gaps(task, labels, losses=losses, groups=chosen.sensitive, **scores),
    )  # fmt: skip


def mean_losses(
    task: Task,
    labels: pl.Series,
    together: pl.DataFrame,
    alone: Mapping[str, pl.DataFrame],
    positive: str | None,
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    """The mean loss of each member on labelled rows; of a regression in units of the ensemble's own squared error.

    `weights` (rows,) say how many rows each stands for; without it each stands for itself.
    """
    scale = squared_error(labels, together) if task is Task.REGRESSION else 1.0
    losses = {name: scoring_losses(task, labels, scored, positive, scale) for name, scored in alone.items()}
    return {name: float(np.average(loss, weights=weights)) for name, loss in losses.items()}


def probation_losses(
    task: Task, labels: pl.Series, scored: pl.DataFrame, positive: str | None, scale: float = 1.0
) -> np.ndarray:
    """Two losses from 0 to 1 of each labelled row, (2, rows): the alarm's, and whether the prediction is wrong."""
    losses = row_losses(task, labels, scored, positive, scale)
    if task is Task.REGRESSION:
        return np.stack([losses, losses])
    return np.stack([losses, (scored["prediction"] != labels).fill_null(True).cast(pl.Float64).to_numpy()])


def probation_scale(task: Task, labels: pl.Series, root: pl.DataFrame) -> float:
    """What the losses of a regression are measured in, by what the root version said."""
    return max(loss_scale(labels, root), 1e-12) if task is Task.REGRESSION else 1.0


def squared_error(labels: pl.Series, scored: pl.DataFrame) -> float:
    """The mean squared error of predictions, never 0."""
    error: Any = ((scored["prediction"] - labels.cast(pl.Float64)) ** 2).mean()
    return max(float(error), 1e-12)
