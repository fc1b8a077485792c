"""Which policies a backtest sets against each other."""

from __future__ import annotations

from homeostat.flows.backtest.policies import (
    Contender,
    Refitting,
    every,
    every_tick,
    when_errors_change,
    when_inputs_drift,
)
from homeostat.flows.backtest.stepping import Stepping
from homeostat.pipelines.models.members import list_specs
from homeostat.project import Project, Task


def list_contenders(project: Project) -> list[Contender]:
    """Every policy that a backtest of this project can run, each anew."""
    everything: list[Contender] = [
        Refitting("never", lambda known, bench: False, setting={"policy": "never"}),
        Refitting("every_tick", every_tick, setting={"policy": "every_tick"}),
    ]
    for ticks in (20, 6, 2):
        everything.append(Refitting(f"every_tick_{ticks}", every_tick, lambda known, n=ticks: known.recent(n)))
    for ticks in sorted({4, 10, project.retraining.every}):
        setting = {"policy": "periodic", "every": ticks}
        everything.append(Refitting(f"periodic_{ticks}", every(ticks), setting=setting))
    everything.append(Refitting("adwin", when_errors_change("adwin"), counts=True))
    if project.task is not Task.REGRESSION:
        everything.append(Refitting("ddm", when_errors_change("ddm"), counts=True))
    everything.append(Refitting("drift_share", when_inputs_drift, counts=True))
    if list_specs(project):
        everything.append(Stepping())
    return everything
