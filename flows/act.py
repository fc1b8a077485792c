"""Stage 6: carry out what was decided: train, compare, promote or refuse."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

import polars as pl

from flows.decide import fresh_windows
from flows.learn import make_version
from flows.loop import Loop, alert
from homeostat.durations import instant
from homeostat.errors import DataError, ModelRefused, RegistryError
from homeostat.metrics import compute_metrics
from homeostat.project import Task
from homeostat.records import BatchState, Decision, FitCost, ModelRecord, Severity
from homeostat.store import Writer
from pipelines.canonical import canonical_classes
from pipelines.features import raw_view
from registry.foreign import Contract
from registry.promotion import Comparison, decide_promotion


def act(loop: Loop, at: datetime) -> dict[str, Any]:
    """Carry out the retraining decision of this tick; done again after a kill, it comes to the same end."""
    decision = loop.store.get_decision(at, "retraining")
    kind = decision.kind if decision is not None else "wait"
    steps = {"train_first": _train_first, "adopt": _adopt, "retrain": _retrain}
    if kind not in steps:
        return _finish(loop, at, {"did": kind})
    try:
        return steps[kind](loop, at)
    except (DataError, ModelRefused) as fault:
        return _could_not(loop, at, kind, fault)
    except RegistryError as fault:
        if loop.replaying:  # history must not depend on whether MLflow was there this minute
            raise
        return _could_not(loop, at, kind, fault)


def promote(
    loop: Loop, at: datetime, record: ModelRecord, verdict: Decision, outcome: dict[str, Any] | None = None
) -> None:
    """Make a version champion: the aliases first, then the store, so that doing it again mends a kill in between.

    `outcome` ends the tick's stage in the same transaction.
    """
    old = loop.version_of("champion")
    loop.models.set_alias("champion", record.version)
    if old is not None and old != record.version:  # last, or a rollback killed in between would find no way back
        loop.models.set_alias("previous", old)
    first = loop.store.get_fact("baseline") is None
    classes = loop.models.load(record.version).classes if loop.project.task is Task.BINARY else None
    with loop.store.write("promotion") as write:
        if classes:
            write.put_fact("classes", {"classes": list(classes)})
        write.put_model(dataclasses.replace(record, promoted_at=at))
        write.append_decision(verdict)
        write.put_fact("champion", {"version": record.version, "since": instant(at)})
        if first and loop.replaying:
            write.put_fact("baseline", {"version": record.version})
        title = f"version {record.version} is champion"
        write.append_alert(alert(at, Severity.INFO, "promotion", title, "; ".join(verdict.reasons)))
        if outcome is not None:
            _note_training(loop, write, at)
            write.put_stage(at, "act", outcome)


def compare(loop: Loop, champion: int, challenger: int, batches: tuple[str, ...], at: datetime) -> Comparison:
    """Score both versions, now, on the labelled rows of `batches`."""
    try:
        models = [loop.models.load(champion), loop.models.load(challenger)]
    except RegistryError as fault:
        return Comparison(champion, challenger, 0, batches, {}, {}, str(fault))
    rows = _fresh_rows(loop, batches, at)
    if rows is None or rows.is_empty():
        return Comparison(champion, challenger, 0, batches, {}, {}, "no labelled rows came after the champion was made")
    raw = raw_view(rows, loop.project)
    mine, other = (
        compute_metrics(loop.project.task, rows["label"], model.score(raw), loop.positive) for model in models
    )
    return Comparison(champion, challenger, rows.height, batches, mine, other)


def _train_first(loop: Loop, at: datetime) -> dict[str, Any]:
    record = make_version(loop, at)
    verdict = Decision(at, "promotion", "promote", ("it is the first champion",), {"rows": record.rows}, record.version)
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
    key = f"{loop.house.model_name}/adopted/{uri}"
    data = loop.project.data
    classes = tuple(canonical_classes(data.classes) or ())
    contract = Contract(loop.project.task.value, tuple(data.features), classes, loop.positive)
    version = loop.models.adopt(uri, key, contract, at)
    record = ModelRecord(version, key, at, "adopted", 0, {}, FitCost())
    verdict = Decision(at, "promotion", "promote", (f"the project starts with {uri}",), {}, version)
    outcome = {"did": "adopt", "version": version}
    promote(loop, at, record, verdict, outcome)
    return outcome


def _retrain(loop: Loop, at: datetime) -> dict[str, Any]:
    champion = loop.champion()
    assert champion is not None
    batches = _fresh_batches(loop, champion, at)
    record = make_version(loop, at, batches)
    comparison = compare(loop, champion.version, record.version, batches, at)
    verdict = decide_promotion(comparison, loop.project, at)
    if comparison.challenger_metrics:
        record = dataclasses.replace(record, reference=dict(comparison.challenger_metrics))
    outcome = {"did": "retrain", "version": record.version, "verdict": verdict.kind}
    if verdict.kind == "promote":
        promote(loop, at, record, verdict, outcome)
        return outcome
    if verdict.kind == "ask":
        loop.models.set_alias("challenger", record.version)
    with loop.store.write("refusal") as write:
        write.put_model(record)
        write.append_decision(verdict)
        if verdict.kind == "ask":
            write.put_fact("challenger", {"version": record.version, "since": instant(at)})
            body = "; ".join(verdict.reasons) + ". 'homeostat promote' puts it in place."
            title = f"version {record.version} waits for approval"
            write.append_alert(alert(at, Severity.WARNING, "approval", title, body))
        _note_training(loop, write, at)
        write.put_stage(at, "act", outcome)
    return outcome


def _fresh_batches(loop: Loop, champion: ModelRecord, at: datetime) -> tuple[str, ...]:
    """The newest batches with enough labels to compare on, at most half of what is fresh: the rest is to learn from."""
    windows = fresh_windows(loop, champion, at)
    wanted = min(loop.project.gates.fresh_rows, max(sum(w.labels for w in windows) // 2, loop.project.gates.min_rows))
    chosen: list[str] = []
    labels = 0
    for window in reversed(windows):
        if labels >= wanted:
            break
        chosen.append(window.batch)
        labels += window.labels
    return tuple(reversed(chosen))


def _fresh_rows(loop: Loop, batches: tuple[str, ...], at: datetime) -> pl.DataFrame | None:
    chosen = pl.col("_batch").is_in(list(batches)) & ~pl.col("_correction")
    rows = loop.lake.latest("inputs", loop.key, at, where=chosen)
    labels = loop.lake.latest("feedback", loop.key, at)
    if rows is None or labels is None:
        return None
    return rows.join(labels.select(loop.key, "label"), on=loop.key, how="inner").sort("event_at", loop.key)


def _note_training(loop: Loop, write: Writer, at: datetime) -> None:
    decision = loop.store.get_decision(at, "retraining")
    labels = decision.evidence.get("labels", 0) if decision is not None else 0
    write.put_fact("training", {"at": instant(at), "labels": labels})


def _could_not(loop: Loop, at: datetime, kind: str, fault: Exception) -> dict[str, Any]:
    outcome = {"did": kind, "problem": str(fault)}
    previous = loop.store.last_outcome("act", at)
    with loop.store.write("act") as write:
        if previous != outcome:
            write.append_alert(alert(at, Severity.CRITICAL, "training", "a model could not be made", str(fault)))
        write.append_journal(at, f"{instant(at)}/act_failed", "act_failed", outcome)
        if loop.version_of("champion") is not None:
            _note_training(loop, write, at)
        write.put_stage(at, "act", outcome)
    return outcome


def _finish(loop: Loop, at: datetime, outcome: dict[str, Any]) -> dict[str, Any]:
    with loop.store.write("act") as write:
        write.put_stage(at, "act", outcome)
    return outcome
