"""How a challenger ends: promoted, refused, or waiting for approval."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from homeostat.decisions import PromotionKind, RetrainingFacts, RetrainingKind
from homeostat.errors import HomeostatError
from homeostat.flows.facts import BASELINE, CHAMPION, CLASSES, ENSEMBLE, TRAINING, Classes, FirstModel, Standing
from homeostat.flows.learning.holds import ROLLBACK, drop_hold
from homeostat.flows.learning.port import Training
from homeostat.flows.learning.proposals import close, forget_challenger, propose, withdraw
from homeostat.flows.loop import Loop, alert
from homeostat.project import Task
from homeostat.records import ApprovalState, Decision, ModelRecord, Severity
from homeostat.store import Writer
from homeostat.store.facts import Fact

SMALL_STEPS = (RetrainingKind.RECALIBRATE, RetrainingKind.REFRESH)


class Overtaken(HomeostatError):
    """Another version became champion while a challenger was compared with the one before."""


def promote(
    loop: Loop,
    at: datetime,
    record: ModelRecord,
    verdict: Decision,
    outcome: dict[str, Any] | None = None,
    facts: Mapping[Fact[Any], Any] = MappingProxyType({}),
    insist: Callable[[], None] | None = None,
) -> None:
    """Make a version champion: the aliases first, then the store, so that doing it again mends a kill in between.

    All of it happens while no other writer is let in, so that a person's word and a tick cannot cross: `insist` is
    called first, and raises where it must not be. What waits for a person is closed, and a person who promotes a
    version lifts the rollback that holds. `outcome` ends the tick's stage in the same transaction, which keeps the
    facts too. A small step is not alerted.
    """
    classes = loop.models.load(record.version).classes if loop.project.task is Task.BINARY else None
    loop.models.get_alias("champion")  # an MLflow that is away is found out before others are kept waiting
    with loop.store.write("promotion") as write:
        if insist is not None:
            insist()
        _go_on(loop, write, record)
        _move_aliases(loop, write, record.version)
        if classes:
            write.put_fact(CLASSES, Classes(tuple(classes)))
        write.put_model(dataclasses.replace(record, promoted_at=at))
        write.append_decision(verdict)
        write.put_fact(CHAMPION, Standing(record.version, at))
        if loop.store.get_fact(BASELINE) is None and loop.replaying:
            write.put_fact(BASELINE, FirstModel(record.version))
        if verdict.stage != ROLLBACK and (by := verdict.evidence.get("by")):
            drop_hold(loop, write, at, by, f"version {record.version} became champion by name")
        for fact, value in facts.items():
            write.put_fact(fact, value)
        _answer_the_question(loop, write, at, record.version, verdict)
        if outcome is None or outcome["did"] not in SMALL_STEPS:
            title = f"version {record.version} is champion"
            severity = Severity.WARNING if verdict.stage == ROLLBACK else Severity.INFO
            write.append_alert(alert(at, severity, "promotion", title, "; ".join(verdict.reasons)))
        if outcome is not None:
            note_training(loop, write, at)
            write.put_stage(at, "act", outcome)


def _move_aliases(loop: Loop, write: Writer, version: int) -> None:
    old = loop.version_of("champion")
    loop.models.set_alias("champion", version)
    if old is not None and old != version:  # after it, or a rollback killed in between would find no way back
        loop.models.set_alias("previous", old)
    forget_challenger(loop, write)


def _go_on(loop: Loop, write: Writer, record: ModelRecord) -> None:
    """Go on learning from the newest version where what waited for a person is promoted and others have followed it."""
    progress, champion = loop.store.get_fact(ENSEMBLE), loop.version_of("champion")
    waited = [approval.version for approval in loop.store.list_approvals(ApprovalState.OPEN)]
    if progress is None or progress.champion != champion or record.version not in waited:
        return
    anew = progress.anew and record.lineage is not None
    write.put_fact(ENSEMBLE, progress.model_copy(update={"champion": record.version, "anew": anew}))


def _answer_the_question(loop: Loop, write: Writer, at: datetime, version: int, verdict: Decision) -> None:
    """Close what waited for a person: it was this version, or this version has overtaken it."""
    for approval in loop.store.list_approvals(ApprovalState.OPEN):
        if approval.version == version:
            by, why = verdict.evidence.get("by"), verdict.evidence.get("why")
            close(write, approval, at, ApprovalState.APPROVED, by, why)
    withdraw(loop, write, at, f"version {version} became champion", but=version)


def settle(
    loop: Loop,
    at: datetime,
    record: ModelRecord,
    verdict: Decision,
    outcome: dict[str, Any],
    facts: Mapping[Fact[Any], Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Carry out the verdict on a challenger, keep the facts and end the stage; returns the outcome."""
    try:
        return _carry_out(loop, at, record, verdict, outcome, facts)
    except Overtaken as fault:
        verdict = dataclasses.replace(verdict, kind=PromotionKind.REFUSE, reasons=(*verdict.reasons, str(fault)))
        return _carry_out(loop, at, record, verdict, {**outcome, "verdict": PromotionKind.REFUSE}, facts)


def stands(loop: Loop, version: int) -> Callable[[], None]:
    """A check that a version is champion still; it raises Overtaken."""

    def insist() -> None:
        champion = loop.version_of("champion")
        if champion != version:
            raise Overtaken(f"version {champion} became champion in the meantime")

    return insist


def _carry_out(
    loop: Loop,
    at: datetime,
    record: ModelRecord,
    verdict: Decision,
    outcome: dict[str, Any],
    facts: Mapping[Fact[Any], Any],
) -> dict[str, Any]:
    insist = stands(loop, verdict.evidence["champion"])
    if verdict.kind == PromotionKind.PROMOTE:
        promote(loop, at, record, verdict, outcome, facts, insist)
        return outcome
    with loop.store.write("refusal") as write:
        if verdict.kind == PromotionKind.ASK:
            insist()
            propose(loop, write, at, record, verdict)
        write.put_model(record)
        write.append_decision(verdict)
        for fact, value in facts.items():
            write.put_fact(fact, value)
        note_training(loop, write, at)
        write.put_stage(at, "act", outcome)
    return outcome


def note_training(loop: Loop, write: Writer, at: datetime) -> None:
    """Note when was last trained, and on how many labels."""
    decision = loop.store.get_decision(at, "retraining")
    labels = 0 if decision is None else RetrainingFacts.of(decision.evidence).labels
    write.put_fact(TRAINING, Training(at=at, labels=labels))
