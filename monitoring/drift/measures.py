"""Drift measures: how far the values of one column have moved. A package adds its own to `DRIFT_MEASURES`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from homeostat.errors import ProjectError
from homeostat.extensions import Extensions
from homeostat.monitoring.drift.chance import Shuffled, shuffled_by, shuffled_jensenshannon, shuffled_wasserstein
from homeostat.project import Project
from homeostat.sections.steering import Monitoring

if TYPE_CHECKING:
    import pandas as pd
    from evidently.legacy.core import ColumnType

Distance = Callable[[pl.Series, pl.Series], float]


class ColumnKind(StrEnum):
    """What the values of a column are."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


@dataclass(frozen=True, slots=True)
class DriftMeasure:
    """A distance between the values of a column in the reference and now: 0 where they are alike, else above.

    `distance(reference, current)` takes two series of present values, Float64 of a numeric column and String of a
    categorical one. It must give the same number for the same values in any order. Without one, the measure is
    Evidently's method of the name that it is registered under. `title` is what the page calls it, `pools` says that
    the rare values of a wide column are taken together first. `shuffled` gives the distances of shuffled samples, from
    which the threshold learns what chance does; without one, `distance` is asked again and again. A column whose score
    is `far` times its threshold counts as drift of the inputs alone.
    """

    title: str
    kinds: tuple[ColumnKind, ...]
    distance: Distance | None = None
    pools: bool = False
    shuffled: Shuffled | None = None
    far: float = 10.0

    @property
    def chance(self) -> Shuffled:
        """What gives the distances of shuffled samples."""
        if self.shuffled is not None:
            return self.shuffled
        assert self.distance is not None
        return shuffled_by(self.distance)


DRIFT_MEASURES: Extensions[DriftMeasure] = Extensions("drift measure")
DRIFT_MEASURES.add(
    "wasserstein",
    DriftMeasure("Wasserstein distance (normed)", (ColumnKind.NUMERIC,), shuffled=shuffled_wasserstein),
)
DRIFT_MEASURES.add(
    "jensenshannon",
    DriftMeasure(
        "Jensen-Shannon distance", (ColumnKind.CATEGORICAL,), pools=True, shuffled=shuffled_jensenshannon, far=5.0
    ),
)


def require_measures(project: Project) -> None:
    """Raise ProjectError where `[monitoring]` names a drift measure that is not known, or not of that kind."""
    for kind in ColumnKind:
        find_measure(kind, project.monitoring, f"{project.file}: ")


def find_measure(kind: ColumnKind, settings: Monitoring, where: str = "") -> tuple[str, DriftMeasure]:
    """The name and the measure that the settings choose for columns of a kind. Raises ProjectError."""
    name = settings.numeric_drift if kind is ColumnKind.NUMERIC else settings.categorical_drift
    key = f"{where}monitoring.{kind}_drift: "
    measure = DRIFT_MEASURES.get(name, key)
    if kind not in measure.kinds:
        fitting = ", ".join(name for name, other in DRIFT_MEASURES.items() if kind in other.kinds)
        raise ProjectError(f"{key}{name!r} does not measure {kind} columns.", f"Known for them: {fitting}.")
    return name, measure


def name_for_evidently(name: str, measure: DriftMeasure) -> str:
    """What Evidently calls a measure; one with a distance of its own is made known to it first."""
    if measure.distance is None:
        return name
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    theirs = f"homeostat: {name}"
    kinds = {ColumnKind.NUMERIC: ColumnType.Numerical, ColumnKind.CATEGORICAL: ColumnType.Categorical}
    register_stattest(
        StatTest(theirs, measure.title, [kinds[kind] for kind in measure.kinds]),
        _as_stat_test(name, measure.distance),
    )
    return theirs


def _as_stat_test(
    name: str, distance: Distance
) -> Callable[[pd.Series, pd.Series, ColumnType, float], tuple[float, bool]]:
    def run(reference: pd.Series, current: pd.Series, kind: ColumnType, threshold: float) -> tuple[float, bool]:
        before, after = (pl.Series(values.to_list()) for values in (reference, current))
        try:
            score = float(distance(before, after))
        except Exception as fault:
            why = f"{type(fault).__name__}: {fault}".rstrip(".")
            raise ProjectError(f"the drift measure {name!r} failed: {why}.") from fault
        if not math.isfinite(score):
            raise ProjectError(f"the drift measure {name!r} gave {score}, which is no distance.")
        return score, score >= threshold

    return run
