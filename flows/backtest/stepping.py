"""Our own policy in a backtest: the steps of the loop, taken over a history in memory.

What it leaves out of the loop: the alarm, which would have everything learned again sooner and begin a new lineage, the
check for a column that has gone, and the estimate that asks for labels. What a person would be asked about is promoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from homeostat.decisions import STEPS, AlarmKind, RetrainingKind
from homeostat.errors import DataError
from homeostat.flows.backtest.memory import Memory, begin
from homeostat.flows.backtest.policies import Bench, Model
from homeostat.flows.learning.evidence import deliberate
from homeostat.flows.learning.step import take_step
from homeostat.pipelines.history.knowledge import Known
from homeostat.records import Decision


@dataclass(eq=False)
class Stepping:
    """The policy `forecast`: recalibrate, refresh, retrain or wait, each step compared on rows that were kept apart.

    `decisions` has what was decided at each tick, and about each challenger.
    """

    name: str = "forecast"
    setting: Mapping[str, Any] | None = field(default_factory=lambda: {"policy": "forecast"})
    counts: bool = False
    memory: Memory | None = None
    decisions: list[Decision] = field(default_factory=list)

    def learn(self, known: Known, bench: Bench) -> Model | None:
        """Take the step that is forecast to pay, if any; None where the model that serves stays."""
        memory = self.memory = self.memory or begin(known, bench)
        memory.see(known)
        served, at = memory.standing, known.history.at(known.tick)
        alarm = Decision(at, "alarm", AlarmKind.QUIET, ("a backtest has no alarm",))
        deliberation = deliberate(memory, at, alarm=alarm)
        memory.remember(deliberation)
        self.decisions.append(deliberation.decision)
        self._act(memory, at, deliberation.decision)
        return None if memory.standing == served else memory.model(memory.standing)

    def _act(self, memory: Memory, at: datetime, decision: Decision) -> None:
        """Carry out what was decided; where too little is labelled to learn from, it counts as tried."""
        if decision.kind == RetrainingKind.ROLLBACK:
            memory.roll_back(at)
        elif decision.kind in STEPS:
            try:
                step = take_step(memory, at, decision)
            except DataError:
                memory.note_training(at)
                return
            self.decisions.append(step.verdict)
            memory.settle(at, step)
