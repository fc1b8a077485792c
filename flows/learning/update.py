"""Learning in the loop: a step taken over store, lake and MLflow, its verdict carried out, and remembered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from homeostat.flows.facts import ATTEMPTS, ENSEMBLE, Attempts
from homeostat.flows.learning.live import LoopPort
from homeostat.flows.learning.outcomes import with_attempt
from homeostat.flows.learning.promotion import settle
from homeostat.flows.learning.step import Step, take_step
from homeostat.flows.loop import Loop
from homeostat.store.facts import Fact


def refresh(loop: Loop, at: datetime) -> dict[str, Any]:
    """Take the step that was decided at `at`: make a challenger, compare it, promote it or refuse.

    A model that has no members of ours is trained again as a whole. Raises DataError where there are too few labelled
    rows.
    """
    decision, port = loop.store.get_decision(at, "retraining"), LoopPort(loop)
    assert decision is not None
    step = take_step(port, at, decision)
    outcome = {"did": decision.kind, "version": step.record.version, "verdict": step.verdict.kind}
    return settle(loop, at, step.record, step.verdict, outcome, _facts(port, step))


def _facts(port: LoopPort, step: Step) -> dict[Fact[Any], Any]:
    """What is remembered of a step."""
    if step.progress is None or step.attempt is None:
        return {}
    waiting = with_attempt(port.attempts(), step.attempt)
    return {ENSEMBLE: step.progress, ATTEMPTS: Attempts(tuple(waiting))}
