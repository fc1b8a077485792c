"""A comparison group by group: where a challenger gains and loses, and how far apart groups are treated. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homeostat.losses import LEAST_ROWS, MAX_SEGMENTS
from homeostat.metrics import compute_metrics
from homeostat.project import Task

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

LEAST_POSITIVES = 10
ERRORS_APART = 2.0


@dataclass(frozen=True, slots=True)
class SegmentGain:
    """Two versions on the `rows` rows of which `column` is `value`.

    `champion` and `challenger` are the project's metric there, None where it is undefined; `gain` is the mean loss a
    row that the challenger saves, `gain_error` its standard error.
    """

    column: str
    value: str
    rows: int
    champion: float | None
    challenger: float | None
    gain: float
    gain_error: float
    sensitive: bool = False

    @property
    def worse(self) -> bool:
        """Whether the challenger loses more here, by more than two standard errors."""
        return self.gain + ERRORS_APART * self.gain_error < 0


@dataclass(frozen=True, slots=True)
class GroupGap:
    """How far apart two versions each treat the groups of a sensitive column: the highest value less the lowest.

    `measure` is "selection_rate" (demographic parity) or "true_positive_rate" (equal opportunity) of a binary task,
    else "mean_loss". `groups` names those that were compared; a version's `low` and `high` are the groups at its ends.
    """

    column: str
    measure: str
    groups: tuple[str, ...]
    champion: float
    challenger: float
    low: str
    high: str


def compare_groups(
    task: Task,
    labels: pl.Series,
    *,
    before: pl.DataFrame,
    after: pl.DataFrame,
    saved: Array,
    groups: Mapping[str, Sequence[str]],
    sensitive: Iterable[str],
    metric: str,
    positive: str | None,
    weights: Array | None = None,
) -> tuple[SegmentGain, ...]:
    """Of each value of each column that has enough labelled rows what the challenger saves there, the largest first.

    `groups` holds each column's value of each row; `saved` (rows,) the loss each row is spared; `weights` (rows,) how
    many rows each stands for. At most `MAX_SEGMENTS` values are compared, those of sensitive columns before others.
    """
    import numpy as np
    import polars as pl

    named = set(sensitive)
    candidates = [
        (column not in named, -rows, column, value)
        for column, values in groups.items()
        for value, rows in Counter(values).items()
        if rows >= LEAST_ROWS
    ]
    made = []
    for _, _, column, value in sorted(candidates)[:MAX_SEGMENTS]:
        mine = np.array([item == value for item in groups[column]])
        part, chosen = None if weights is None else weights[mine], pl.Series(mine)
        if part is not None and not part.sum() > 0:
            continue
        old, new = (
            compute_metrics(task, labels.filter(chosen), scored.filter(chosen), positive, part).get(metric)
            for scored in (before, after)
        )
        gain, error = mean_and_error(saved[mine], part)
        made.append(SegmentGain(column, value, int(mine.sum()), old, new, gain, error, column in named))
    return tuple(made)


def compare_gaps(
    task: Task,
    labels: pl.Series,
    *,
    before: pl.DataFrame,
    after: pl.DataFrame,
    losses: tuple[Array, Array],
    groups: Mapping[str, Sequence[str]],
    positive: str | None,
    weights: Array | None = None,
) -> tuple[GroupGap, ...]:
    """How far apart the groups of each sensitive column are, by the champion (`before`) and by the challenger.

    `losses` are those of both, (rows,) each. Groups with fewer than `LEAST_ROWS` labelled rows (of positive ones
    `LEAST_POSITIVES` for the true positive rate) are left out; a column with fewer than two others has no gap.
    """
    import numpy as np

    weight = np.ones(len(labels)) if weights is None else weights
    gaps = []
    for column, values in groups.items():
        members = np.asarray(values, dtype=object)
        for measure, signals, chosen, least in _measures(task, labels, before, after, losses, positive):
            counted = Counter(members[chosen].tolist())
            enough = [g for g in sorted(counted) if counted[g] >= least and weight[chosen & (members == g)].sum() > 0]
            whole = Counter(members.tolist())
            enough = [group for group in enough if whole[group] >= LEAST_ROWS]
            if len(enough) >= 2:
                gaps.append(_gap(column, measure, enough, signals, [chosen & (members == g) for g in enough], weight))
    return tuple(gaps)


def mean_and_error(values: Array, weights: Array | None) -> tuple[float, float]:
    """A mean and its standard error; weighted by what the rows stand for where that is known (linearized)."""
    import numpy as np

    mean = float(np.average(values, weights=weights))
    if len(values) < 2:
        return mean, 0.0
    if weights is None:
        return mean, float(values.std(ddof=1) / np.sqrt(len(values)))
    return mean, float(np.sqrt(np.sum((weights * (values - mean)) ** 2)) / weights.sum())


def _measures(
    task: Task,
    labels: pl.Series,
    before: pl.DataFrame,
    after: pl.DataFrame,
    losses: tuple[Array, Array],
    positive: str | None,
) -> list[tuple[str, tuple[Array, Array], Array, int]]:
    """Each measure's name, its value of each row by both versions, the rows that count, and the fewest of a group."""
    import numpy as np

    everybody = np.ones(len(labels), dtype=bool)
    if task is not Task.BINARY or positive is None:
        return [("mean_loss", losses, everybody, LEAST_ROWS)]
    chosen = tuple((scored["prediction"] == positive).fill_null(False).to_numpy() for scored in (before, after))
    selected = (chosen[0].astype(float), chosen[1].astype(float))
    truly = (labels == positive).fill_null(False).to_numpy()
    return [
        ("selection_rate", selected, everybody, LEAST_ROWS),
        ("true_positive_rate", selected, truly, LEAST_POSITIVES),
    ]


def _gap(
    column: str, measure: str, groups: list[str], signals: tuple[Array, Array], masks: list[Array], weights: Array
) -> GroupGap:
    import numpy as np

    old, new = ([float(np.average(signal[m], weights=weights[m])) for m in masks] for signal in signals)
    low, high = groups[int(np.argmin(new))], groups[int(np.argmax(new))]
    return GroupGap(column, measure, tuple(groups), max(old) - min(old), max(new) - min(new), low, high)
