"""The batches that a contender has scored in a backtest, and which of them have labels enough to learn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from homeostat.durations import instant
from homeostat.flows.backtest.policies import Bench
from homeostat.flows.learning.port import Span
from homeostat.flows.loop import tick_index
from homeostat.pipelines.history.knowledge import Known


@dataclass(eq=False)
class Scored:
    """Scored batches by their tick, named by the ends of their slots, as in the loop; `labels` counts at each tick."""

    bench: Bench
    known: Known
    served: dict[int, int] = field(default_factory=dict)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def see(self, known: Known, version: int) -> None:
        """Go on to a tick, whose batch a version has scored."""
        self.known = known
        came = known.history.tick[known.labelled]
        self.labels = np.bincount(came[came > 0], minlength=known.tick + 1)
        if known.tick in self.bench.served and len(self.bench.served[known.tick]):
            self.served[known.tick] = version

    def spans(self, at: datetime, after: datetime | None = None) -> list[Span]:
        """The scored batches with rows that ended by `at`, after `after` where it is given, oldest first."""
        last = tick_index(self.bench.project, at)
        return [self._span(t) for t in self.served if t <= last and (after is None or self._end(t) > after)]

    def _span(self, tick: int) -> Span:
        end, rows, labels = self._end(tick), self.bench.served[tick].height, int(self.labels[tick])
        name, coverage = instant(end), labels / rows
        mature = self.known.delays.are_fair_sample(age=self.known.tick - tick, labels=labels, coverage=coverage)
        return Span(name, (name,), end, rows, labels, coverage, self.served[tick], mature)

    def _end(self, tick: int) -> datetime:
        return self.bench.learner.history.at(tick)
