"""How a challenger ends: compared on fresh rows, then promoted, refused, or put before a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import polars as pl

from homeostat.errors import HomeostatError, RegistryError
from homeostat.flows.facts import (
    BASELINE,
    CHAMPION,
    CLASSES,
    TRAINING,
    Classes,
    FirstModel,
    LastTraining,
    Standing,
)
from homeostat.flows.labels import fair_share, measured_labels
from homeostat.flows.learning.proposals import close, forget_challenger, propose, withdraw
from homeostat.flows.learning.rules import compare_scores, groups_of
from homeostat.flows.loop import Loop, alert
from homeostat.metrics import stand_for
from homeostat.pipelines.models.features import raw_view
from homeostat.project import Task
from homeostat.records import ApprovalState, Decision, ModelRecord, Severity
from homeostat.registry.promotion import Comparison
from homeostat.store import Writer
from homeostat.store.facts import Fact

SMALL_STEPS = ("recalibrate", "refresh")


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
    called first, and raises where it must not be. What waits for a person is closed. `outcome` ends the tick's stage in
    the same transaction, which keeps the facts too. A small step is not alerted.
    """
    classes = loop.models.load(record.version).classes if loop.project.task is Task.BINARY else None
    loop.models.get_alias("champion")  # an MLflow that is away is found out before others are kept waiting
    with loop.store.write("promotion") as write:
        if insist is not None:
            insist()
        _move_aliases(loop, write, record.version)
        if classes:
            write.put_fact(CLASSES, Classes(tuple(classes)))
        write.put_model(dataclasses.replace(record, promoted_at=at))
        write.append_decision(verdict)
        write.put_fact(CHAMPION, Standing(record.version, at))
        if loop.store.get_fact(BASELINE) is None and loop.replaying:
            write.put_fact(BASELINE, FirstModel(record.version))
        for fact, value in facts.items():
            write.put_fact(fact, value)
        _answer_the_question(loop, write, at, record.version, verdict)
        if outcome is None or outcome["did"] not in SMALL_STEPS:
            title = f"version {record.version} is champion"
            severity = Severity.WARNING if verdict.stage == "rollback" else Severity.INFO
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


def _answer_the_question(loop: Loop, write: Writer, at: datetime, version: int, verdict: Decision) -> None:
    """Close what waited for a person: it was this version, or this version has overtaken it."""
    for approval in loop.store.list_approvals(ApprovalState.OPEN):
        if approval.version == version:
            by, why = verdict.evidence.get("by"), verdict.evidence.get("why")
            close(write, approval, at, ApprovalState.APPROVED, by, why)
    withdraw(loop, write, at, f"version {version} became champion", but=version)


def compare(loop: Loop, champion: int, challenger: int, batches: tuple[str, ...], at: datetime) -> Comparison:
    """Score both versions, now, on the labelled rows of `batches`."""
    rows = labelled_rows(loop, batches, at, weighed=True)
    return compare_rows(loop, champion, challenger, pl.DataFrame() if rows is None else rows, batches)


def compare_rows(
    loop: Loop, champion: int, challenger: int, rows: pl.DataFrame, batches: tuple[str, ...]
) -> Comparison:
    """Score both versions, now, on labelled rows that neither learned from, and compare their losses row by row.

    Where the rows have a `propensity`, each counts for as many as it stands for.
    """
    try:
        challenging, standing = loop.models.load(challenger), loop.models.load(champion)
    except RegistryError as fault:
        return Comparison(champion, challenger, 0, batches, {}, {}, str(fault))
    if rows.is_empty():
        return Comparison(champion, challenger, 0, batches, {}, {}, "no labelled rows came after the champion was made")
    raw, task, labels = raw_view(rows, loop.project), loop.project.task, rows["label"]
    mine, other = challenging.score(raw), standing.score(raw)
    return compare_scores(
        task,
        labels,
        champion=(champion, other),
        challenger=(challenger, mine),
        batches=batches,
        positive=challenging.positive,
        weights=stand_for(rows),
        groups=groups_of(loop.project, rows),
    )


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
        verdict = dataclasses.replace(verdict, kind="refuse", reasons=(*verdict.reasons, str(fault)))
        return _carry_out(loop, at, record, verdict, {**outcome, "verdict": "refuse"}, facts)


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
    if verdict.kind == "promote":
        promote(loop, at, record, verdict, outcome, facts, insist)
        return outcome
    with loop.store.write("refusal") as write:
        if verdict.kind == "ask":
            insist()
            propose(loop, write, at, record, verdict)
        write.put_model(record)
        write.append_decision(verdict)
        for fact, value in facts.items():
            write.put_fact(fact, value)
        note_training(loop, write, at)
        write.put_stage(at, "act", outcome)
    return outcome


def labelled_rows(loop: Loop, batches: tuple[str, ...], at: datetime, *, weighed: bool = False) -> pl.DataFrame | None:
    """The inputs of `batches` whose label is known at `at`, with `label`; sorted by event and key.

    Only labels that count for what is measured. Of likelier rows no more than of others (see
    `homeostat.flows.labels`); or all of them, `weighed` by the `propensity` that then comes with them.
    """
    chosen = pl.col("_batch").is_in(list(batches)) & ~pl.col("_correction")
    rows = loop.lake.latest("inputs", loop.key, at, where=chosen)
    if rows is None:
        return None
    labels = measured_labels(loop, rows[loop.key], at)
    if labels is None:
        return None
    found = rows.join(labels, on=loop.key, how="inner").sort("event_at", loop.key)
    if weighed:
        return found
    return found.filter(pl.Series(fair_share(found, loop.key, "_batch"))).drop("propensity")


def note_training(loop: Loop, write: Writer, at: datetime) -> None:
    """Note when was last trained, and on how many labels."""
    decision = loop.store.get_decision(at, "retraining")
    labels = decision.evidence.get("labels", 0) if decision is not None else 0
    write.put_fact(TRAINING, LastTraining(at, labels))
