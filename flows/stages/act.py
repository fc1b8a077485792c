"""Stage 6: carry out what was decided: train, compare, promote or refuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

from homeostat.decisions import IDLE, STEPS, PromotionKind, RetrainingKind
from homeostat.durations import instant
from homeostat.errors import DataError, ModelRefused, RegistryError
from homeostat.flows.facts import PROBATION
from homeostat.flows.learning.live import LoopPort
from homeostat.flows.learning.probation import get_probation, renewed
from homeostat.flows.learning.promotion import Overtaken, note_training, promote, stands
from homeostat.flows.learning.update import refresh
from homeostat.flows.learning.versions import make_version
from homeostat.flows.loop import Loop, alert
from homeostat.pipelines.data.canonical import canonical_classes
from homeostat.records import BatchState, Decision, FitCost, ModelRecord, Severity
from homeostat.registry.foreign import Contract


def act(loop: Loop, at: datetime) -> dict[str, Any]:
    """Carry out the retraining decision of this tick; done again after a kill, it comes to the same end."""
    decision = loop.store.get_decision(at, "retraining")
    kind = RetrainingKind.WAIT if decision is None else RetrainingKind(decision.kind)
    if kind in IDLE:
        return _finish(loop, at, {"did": kind})
    if decision is not None and decision.model_version not in (None, loop.version_of("champion")):
        # A person put another version in place since: what was decided was about the one before.
        return _finish(loop, at, {"did": RetrainingKind.WAIT, "overtaken": kind})
    try:
        return ACTS[kind](loop, at)
    except Overtaken:
        return _finish(loop, at, {"did": RetrainingKind.WAIT, "overtaken": kind})
    except (DataError, ModelRefused) as fault:
        return _could_not(loop, at, kind, fault)
    except RegistryError as fault:
        if loop.replaying:  # history must not depend on whether MLflow was there this minute
            raise
        return _could_not(loop, at, kind, fault)


def _train_first(loop: Loop, at: datetime) -> dict[str, Any]:
    record = make_version(loop, at)
    reasons, evidence = ("it is the first champion",), {"rows": record.rows}
    verdict = Decision(at, "promotion", PromotionKind.PROMOTE, reasons, evidence, record.version)
    waiting = loop.store.list_batches(BatchState.VALIDATED)
    outcome = {"did": "train_first", "version": record.version}
    with loop.store.write("first") as write:
        for batch in waiting:
            reason = "it came before the first champion, which learned from it"
            write.put_batch(dataclasses.replace(batch, state=BatchState.HISTORY, reason=reason))
    promote(loop, at, record, verdict, outcome)
    return outcome


def _adopt(loop: Loop, at: datetime) -> dict[str, Any]:
    uri = loop.project.training.base_model
    assert uri is not None
    key = f"{loop.paths.model_name}/adopted/{uri}"
    data = loop.project.data
    classes = tuple(canonical_classes(data.classes) or ())
    contract = Contract(loop.project.task.value, tuple(data.features), classes, loop.positive)
    version = loop.models.adopt(uri, key, contract, at)
    record = ModelRecord(version, key, at, "adopted", 0, {}, FitCost(), loop.models.describe(version).run_id)
    verdict = Decision(at, "promotion", PromotionKind.PROMOTE, (f"the project starts with {uri}",), {}, version)
    outcome = {"did": "adopt", "version": version}
    promote(loop, at, record, verdict, outcome)
    return outcome


def _roll_back(loop: Loop, at: datetime) -> dict[str, Any]:
    """Put the root version of the champion's lineage back, because what came after it was worse."""
    decision, champion = loop.store.get_decision(at, "retraining"), loop.champion()
    assert decision is not None and champion is not None
    probation = get_probation(LoopPort(loop), champion)
    root = loop.store.get_model(probation.lineage)
    assert root is not None
    verdict = Decision(at, "rollback", "rollback", decision.reasons, {"from": champion.version}, root.version)
    outcome = {"did": "rollback", "version": root.version}
    facts = {PROBATION.of(probation.lineage): renewed(probation, at)}
    promote(loop, at, root, verdict, outcome, facts, stands(loop, champion.version))
    return outcome


ACTS: dict[str, Callable[[Loop, datetime], dict[str, Any]]] = {
    RetrainingKind.TRAIN_FIRST: _train_first,
    RetrainingKind.ADOPT: _adopt,
    RetrainingKind.ROLLBACK: _roll_back,
    **dict.fromkeys(STEPS, refresh),
}


def _could_not(loop: Loop, at: datetime, kind: str, fault: Exception) -> dict[str, Any]:
    outcome = {"did": kind, "problem": str(fault)}
    previous = loop.store.last_outcome("act", at)
    with loop.store.write("act") as write:
        if previous != outcome:
            write.append_alert(alert(at, Severity.CRITICAL, "training", "a model could not be made", str(fault)))
        write.append_journal(at, f"{instant(at)}/act_failed", "act_failed", outcome)
        if loop.version_of("champion") is not None:
            note_training(loop, write, at)
        write.put_stage(at, "act", outcome)
    return outcome


def _finish(loop: Loop, at: datetime, outcome: dict[str, Any]) -> dict[str, Any]:
    with loop.store.write("act") as write:
        write.put_stage(at, "act", outcome)
    return outcome
