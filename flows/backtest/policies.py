"""The policies that a backtest sets against each other, and the door by which one more is let in.

One more is a class with `name`, `setting`, `counts` and `learn`, added to `list_contenders` in
`homeostat.flows.backtest.catalogue`. It sees what `Known` and `Bench` give it, and nothing else:
inputs and labels as known at the tick, what it served, fits that are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import polars as pl

from homeostat.errors import DataError
from homeostat.monitoring.drift import check_drift
from homeostat.monitoring.retraining.detectors import ErrorDetector
from homeostat.pipelines.history.knowledge import Known
from homeostat.pipelines.history.refits import Learner, Refit
from homeostat.pipelines.models.evaluation import Scorer, score_frame
from homeostat.project import Project, Task
from homeostat.records import FitCost

Model = Refit | Scorer


class Contender(Protocol):
    """A policy under test. `setting` is what [retraining] says to have it live; None: only for comparison."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        ...

    @property
    def setting(self) -> Mapping[str, Any] | None:
        """What [retraining] of a project file says to have it; None where the loop cannot run it."""
        ...

    @property
    def counts(self) -> bool:
        """Whether it has triggers to count, such as alarms."""
        ...

    def learn(self, known: Known, bench: Bench) -> Model | None:
        """Give the model that scores from the next batch on; None keeps the one that serves.

        Called once a tick, after its batch was scored and its labels came, with what is known by then.
        """
        ...


@dataclass(eq=False)
class Bench:
    """What one contender works with: the model that serves, fits to ask for, what it served, and what it has cost."""

    learner: Learner
    serving: Model
    first_tick: int
    cost: FitCost
    triggers: int = 0
    served: dict[int, pl.DataFrame] = field(default_factory=dict)

    @property
    def project(self) -> Project:
        """The project."""
        return self.learner.history.project

    def fit(self, known: Known, rows: np.ndarray, rounds: int | None = None) -> Refit:
        """Fit the shared learner on labelled rows (positions, ascending); this contender pays, whoever fitted first.

        Raises DataError where the rows are too few or of one class only.
        """
        made = self.learner.fit(known, rows, rounds)
        self.charge(made.cost)
        return made

    def charge(self, cost: FitCost) -> None:
        """Count what a contender fitted by itself."""
        self.cost += cost

    def trigger(self) -> None:
        """Count an alarm, or whatever else made a contender act."""
        self.triggers += 1

    def score(self, tick: int) -> pl.DataFrame:
        """Score the batch of a tick with the model that serves, and keep its scores."""
        history = self.learner.history
        if isinstance(self.serving, Refit):
            self.served[tick] = self.learner.score(self.serving, tick)
        else:
            self.served[tick] = score_frame(self.serving, history.frame[history.batch(tick)], history.project)
        return self.served[tick]

    def scored(self, rows: np.ndarray) -> np.ndarray:
        """Those of the rows that were scored; what came before the first model was not."""
        return rows[self.learner.history.tick[rows] > self.first_tick]

    def served_scores(self, rows: np.ndarray) -> pl.DataFrame:
        """What was served for scored rows, in their order: prediction, score, classes, scores."""
        ticks = self.learner.history.tick[rows]
        parts = [pl.DataFrame(schema={"_at": pl.Int64})]
        for tick in np.unique(ticks):
            mine = np.flatnonzero(ticks == tick)
            place = np.searchsorted(self.learner.history.batch(int(tick)), rows[mine])
            parts.append(self.served[int(tick)][place].with_columns(_at=pl.Series(mine, dtype=pl.Int64)))
        return pl.concat(parts, how="diagonal_relaxed").sort("_at").drop("_at")


Trigger = Callable[[Known, Bench], bool]
Choice = Callable[[Known], np.ndarray]


@dataclass(eq=False)
class Refitting:
    """A policy that fits the shared learner anew on `choice` of the labelled rows whenever `trigger` says so."""

    name: str
    trigger: Trigger
    choice: Choice = lambda known: known.rows
    setting: Mapping[str, Any] | None = None
    counts: bool = False

    def learn(self, known: Known, bench: Bench) -> Model | None:
        """Fit where triggered; where the rows are too few or of one class only, the model that serves stays."""
        if not self.trigger(known, bench):
            return None
        if self.counts:
            bench.trigger()
        try:
            return bench.fit(known, self.choice(known))
        except DataError:
            return None


def every_tick(known: Known, bench: Bench) -> bool:
    """At every tick that brought labels."""
    return bool(np.any(known.history.label_tick == known.tick))


def every(ticks: int) -> Trigger:
    """At every n-th tick after the first model."""
    return lambda known, bench: (known.tick - bench.first_tick) % ticks == 0


def when_errors_change(method: str) -> Trigger:
    """When a detector finds a change in the served model's losses, taken in as their labels become known."""
    detector = ErrorDetector(method)

    def changed(known: Known, bench: Bench) -> bool:
        changed = detector.update(losses(known, bench, bench.scored(known.fresh)))
        if changed:
            detector.reset()
        return changed

    return changed


def when_inputs_drift(known: Known, bench: Bench) -> bool:
    """When the newest batch has drifted from what the model that serves learned from, by Evidently's drift share."""
    data, batch = bench.project.data, known.history.batch(known.tick)
    if not isinstance(bench.serving, Refit) or not len(batch):
        return False
    frame = known.history.frame
    result = check_drift(
        frame[bench.serving.rows],
        frame[batch],
        numeric=data.numeric,
        categorical=data.categorical,
        settings=bench.project.monitoring,
    )
    return result.status == "drift"


def losses(known: Known, bench: Bench, rows: np.ndarray) -> list[float]:
    """Losses in [0, 1] of what was served for rows: errors, or for regression the error over three deviations."""
    truth, scored = known.truth().gather(rows), bench.served_scores(rows)
    if not len(rows):
        return []
    if bench.project.task is not Task.REGRESSION:
        return (truth != scored["prediction"]).fill_null(True).cast(pl.Float64).to_list()
    history = known.history
    before = known.truth().filter(pl.Series(history.tick <= bench.first_tick)).drop_nulls()
    scale = 3 * float(before.std() or 1.0)  # type: ignore[arg-type]
    return ((truth - scored["prediction"]).abs() / scale).clip(0, 1).to_list()
