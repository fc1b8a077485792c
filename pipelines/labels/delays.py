"""How long labels take to come, by class: when those of a batch are a fair sample, and what each then stands for.

Where negatives are known after a day and positives after five, the labels of a young batch are nearly all negative. A
batch counts once enough of the labels of every class have come, by the delays seen so far, and each label then stands
for as many as have not come yet: the inverse of its chance to be there (Horvitz and Thompson, 1952).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from homeostat.project import Project, Task

LEAST_SEEN = 20
"""So few labels of a class say nothing of how long its labels take."""
LEAST_AT_RISK = 0.1
"""Delays so long that fewer than this share of the rows are old enough to have shown them are left out."""
LEAST_CHANCE, SURE = 0.2, 0.98
HORIZONS, LEAST_TICKS = 5, 20
BINS = 3


@dataclass(frozen=True, slots=True)
class LabelDelays:
    """What is known at a tick of the delays of labels, counted in ticks after the tick with which a row came.

    `curves` gives for each class (for a regression: each third of the labels, split at `edges`) the share of its labels
    that have come by an age of 0, 1, 2, ... ticks, as far as labels come at all. `settled_after` is the age in ticks
    from which on labels are a fair sample, `horizon` that at which no more are waited for.
    """

    curves: Mapping[str, np.ndarray]
    edges: tuple[float, ...]
    settled_after: int
    horizon: int
    least_coverage: float

    def are_fair_sample(self, *, age: int, labels: int, coverage: float) -> bool:
        """Whether the labels of a batch are a fair sample of it, by its age in ticks and the share that has come."""
        if not labels:
            return False
        return age >= self.horizon or (age >= self.settled_after and coverage >= self.least_coverage)

    def chances(self, labels: pl.Series, ages: np.ndarray) -> np.ndarray:
        """The chance of each label (rows,) to have come by the age of its row in ticks (rows,); 1 where unknown."""
        made = np.ones(len(labels))
        groups = _groups(labels, self.edges)
        for name, curve in self.curves.items():
            mine = groups == name
            made[mine] = curve[np.clip(ages[mine], 0, len(curve) - 1)]
        return np.where(made >= SURE, 1.0, np.maximum(made, LEAST_CHANCE))


def slot_of(time: pl.Expr, project: Project, *, closed_left: bool) -> pl.Expr:
    """The tick of a time: slots are [start, end) for inputs, and (start, end] for labels."""
    tick = project.loop.tick // project.loop.tick.resolution
    passed = (time - pl.lit(project.start_at)).dt.total_microseconds()
    return passed.floordiv(tick) + 1 if closed_left else -((-passed).floordiv(tick))


def lookback(project: Project) -> int:
    """How many ticks back delays are looked at."""
    return max(LEAST_TICKS, HORIZONS * horizon_ticks(project))


def horizon_ticks(project: Project) -> int:
    """The horizon of a label in ticks, rounded up."""
    return math.ceil(project.data.feedback.horizon / project.loop.tick)


def estimate_delays(labels: pl.Series, delays: np.ndarray, ages: np.ndarray, project: Project) -> LabelDelays:
    """Estimate the delays of the labels (rows,) that have come, from their delays and their rows' ages now, in ticks.

    Labels that were withdrawn are null, and say nothing.

    Rows that are too young to have shown a long delay are allowed for: the product-limit estimate in reversed time for
    right-truncated delays (Lagakos, Barraj and De Gruttola, "Nonparametric analysis of truncated survival data, with
    application to AIDS", 1988). Where the delays of some class are not known, its labels settle with the horizon.
    """
    there = labels.is_not_null().to_numpy()
    labels, delays, ages = labels.filter(pl.Series(there)), delays[there], ages[there]
    edges = _edges(labels, project.task)
    groups = _groups(labels, edges)
    names = sorted(set(groups.tolist()))
    curves: dict[str, np.ndarray] = {}
    few: list[str] = []
    for name in names:
        curve = _curve(delays[groups == name], ages[groups == name])
        if curve is None:
            few.append(name)
        else:
            curves[name] = curve
    if few and (curve := _pooled(groups, few, delays, ages, project.task)) is not None:
        curves |= dict.fromkeys(few, curve)
    least = project.monitoring.min_coverage
    return LabelDelays(curves, edges, _settled_after(curves, names, project), horizon_ticks(project), least)


def unknown_delays(project: Project) -> LabelDelays:
    """Delays of which nothing is known: labels settle with the horizon."""
    longest = horizon_ticks(project)
    return LabelDelays({}, (), longest, longest, project.monitoring.min_coverage)


def _pooled(groups: np.ndarray, few: list[str], delays: np.ndarray, ages: np.ndarray, task: Task) -> np.ndarray | None:
    """The curve of the classes of which too few are seen; of many classes, where even these are few, that of all."""
    mine = np.isin(groups, few)
    curve = _curve(delays[mine], ages[mine])
    return _curve(delays, ages) if curve is None and task is Task.MULTICLASS else curve


def _settled_after(curves: Mapping[str, np.ndarray], names: list[str], project: Project) -> int:
    longest, least = horizon_ticks(project), project.monitoring.min_coverage
    if not names:
        return 0  # What people answer comes as they find the time, whatever the answer is.
    classes = 2 if project.task is Task.BINARY else 1
    if len(names) < classes or any(name not in curves for name in names):
        return longest
    return min(longest, max(int(np.argmax(curve >= least)) for curve in curves.values()))


def _curve(delays: np.ndarray, ages: np.ndarray) -> np.ndarray | None:
    """The share of labels that have come by each age in ticks; None where too few were seen."""
    if len(delays) < LEAST_SEEN:
        return None
    longest = int(delays.max())
    came = np.bincount(delays, minlength=longest + 1)
    too_young = np.concatenate([[0], np.cumsum(np.bincount(np.minimum(ages, longest), minlength=longest + 1))[:-1]])
    at_risk = np.cumsum(came) - too_young
    known = np.flatnonzero(at_risk >= max(LEAST_SEEN, LEAST_AT_RISK * len(delays)))
    if not len(known):
        return None
    last = int(known[-1])
    kept = 1 - came[1 : last + 1] / np.maximum(at_risk[1 : last + 1], 1)
    return np.concatenate([np.cumprod(kept[::-1])[::-1], [1.0]])


def _edges(labels: pl.Series, task: Task) -> tuple[float, ...]:
    if task is not Task.REGRESSION or len(labels) < LEAST_SEEN:
        return ()
    return tuple(np.quantile(labels.cast(pl.Float64).to_numpy(), [i / BINS for i in range(1, BINS)]).tolist())


def _groups(labels: pl.Series, edges: tuple[float, ...]) -> np.ndarray:
    if labels.dtype.is_float():
        return np.searchsorted(np.array(edges), labels.fill_null(float("nan")).to_numpy()).astype(str)
    return labels.fill_null("").cast(pl.String).to_numpy().astype(str)
