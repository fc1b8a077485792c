"""The batches that a contender has scored in a backtest, and which of them have labels enough to learn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from homeostat.durations import instant
from homeostat.flows.backtest.policies import Bench
from homeostat.flows.learning.port import Span
from homeostat.flows.loop import tick_index
from homeostat.metrics import compute_metrics, positive_class
from homeostat.monitoring.alarm.rule import is_fair_sample
from homeostat.monitoring.performance.realized import awaits_labels
from homeostat.pipelines.history.knowledge import Known
from homeostat.records import WindowStatus


@dataclass(eq=False)
class Scored:
    """Scored batches by their tick, named by the ends of their slots, as in the loop; `labels` counts at each tick."""

    bench: Bench
    known: Known
    served: dict[int, int] = field(default_factory=dict)
    matured: set[int] = field(default_factory=set)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def see(self, known: Known, version: int) -> None:
        """Go on to a tick, whose batch a version has scored."""
        self.known = known
        came = known.history.tick[known.rows]
        self.labels = np.bincount(came[came > 0], minlength=known.tick + 1)
        if known.tick in self.bench.served and len(self.bench.served[known.tick]):
            self.served[known.tick] = version

    def spans(self, at: datetime, after: datetime | None = None) -> list[Span]:
        """The scored batches with rows that ended by `at`, after `after` where it is given, oldest first."""
        last = tick_index(self.bench.project, at)
        return [self._span(t) for t in self.served if t <= last and (after is None or self._end(t) > after)]

    def _span(self, tick: int) -> Span:
        end, rows, labels = self._end(tick), self.bench.served[tick].height, int(self.labels[tick])
        return Span(instant(end), end, rows, labels, labels / rows, self.served[tick], self._is_mature(tick))

    def _end(self, tick: int) -> datetime:
        return self.bench.learner.history.at(tick)

    def _is_mature(self, tick: int) -> bool:
        """As of a window of the loop; a batch that was mature once stays so, for labels only come."""
        if tick in self.matured or not self.labels[tick]:
            return tick in self.matured
        rows = self.bench.learner.history.batch(tick)
        coverage = float(self.labels[tick] / len(rows))
        slot = self._end(tick - 1), self._end(tick)
        now = self._end(self.known.tick)
        waits = coverage < 1 and awaits_labels(self.known.frame(rows), self.bench.project, now, *slot)
        status = WindowStatus.PROVISIONAL if waits else WindowStatus.FINAL
        if is_fair_sample(status, coverage, self.bench.project.monitoring) and self._is_defined(tick, rows):
            self.matured.add(tick)
        return tick in self.matured

    def _is_defined(self, tick: int, rows: np.ndarray) -> bool:
        """Whether the project's metric can be told from the labels of a batch that have come."""
        labelled = pl.Series(self.known.counts[rows] >= 0)
        truth, scored = self.known.truth().gather(rows).filter(labelled), self.bench.served[tick].filter(labelled)
        project, stated = self.bench.project, self.bench.project.data.positive
        positive = None if stated is None else positive_class((), stated)
        return project.metric in compute_metrics(project.task, truth, scored, positive)
