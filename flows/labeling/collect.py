"""Stage: collect people's answers, settle what they say, and hand the labels to the loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from homeostat.durations import instant
from homeostat.errors import DataError
from homeostat.flows.facts import COST, CURSOR
from homeostat.flows.labeling.answers import check_now, classes_of, keep_answers
from homeostat.flows.labeling.backends import BackendError
from homeostat.flows.labeling.items import list_items
from homeostat.flows.labeling.pool import chances_of
from homeostat.flows.labeling.programmatic import label_by_rule
from homeostat.flows.loop import Loop, alert
from homeostat.flows.roles import AS_SCORED
from homeostat.pipelines.labels.consensus import Consensus, settle_answers, settle_numbers
from homeostat.pipelines.labels.out_of_fold import score_out_of_fold
from homeostat.project import Task
from homeostat.records import Answer, FitCost, LabelTask, Purpose, Severity, TaskState

STEP = "feedback.labels"
MOST_ITEMS, LEAST_ITEMS = 5000, 50
LABELS: dict[str, pl.DataType | type[pl.DataType]] = {
    "label": pl.String,
    "known_at": pl.Datetime("us", "UTC"),
    "ingested_at": pl.Datetime("us", "UTC"),
    "provenance": pl.String,
    "who": pl.String,
    "propensity": pl.Float64,
}
Answers = Mapping[str, Sequence[Answer]]


def collect(loop: Loop, at: datetime) -> dict[str, Any]:
    """Fetch answers, settle the tasks that have enough of them or are due, and append their labels to the lake.

    Before that rules label what nobody has; what people say of a row counts instead.
    """
    ruled = label_by_rule(loop, at)
    if not loop.store.list_tasks(TaskState.OPEN):
        with loop.store.write("collect") as write:
            write.put_stage(at, "collect", ruled)
        return ruled
    outcome = ruled | _fetch(loop, at)
    return outcome | _settle(loop, at, outcome)


def spent_on_labels(loop: Loop) -> FitCost:
    """What was spent so far on fits that settle answers."""
    return loop.store.get_fact(COST) or FitCost()


def _fetch(loop: Loop, at: datetime) -> dict[str, Any]:
    waiting = _waiting(loop, at)
    cursor = loop.store.get_fact(CURSOR) or {}
    try:
        fetched = loop.backend().fetch(cursor, list_items(loop, waiting), at)
    except BackendError as fault:
        return {"answers": 0, "refused": 0, "problem": str(fault)}
    checked = check_now(loop, fetched.answers)
    with loop.store.write("answers") as write:
        keep_answers(write, checked, at)
        if fetched.cursor:
            write.put_fact(CURSOR, dict(fetched.cursor))
        if checked.refused:
            title, body = f"{len(checked.refused)} answers do not count", checked.refused[0].detail
            write.append_alert(alert(at, Severity.WARNING, "answers", title, body))
        if fetched.warnings:
            title = "the labeling backend reports a problem"
            write.append_alert(alert(at, Severity.WARNING, "backend", title, " ".join(fetched.warnings)))
    return {"answers": len(checked.accepted), "refused": len(checked.refused)}


def _waiting(loop: Loop, at: datetime) -> list[LabelTask]:
    """The open tasks that were asked before this tick and still want answers."""
    given = _by_task(loop.store.list_answers())
    tasks = loop.store.list_tasks(TaskState.OPEN)
    return [t for t in tasks if t.asked_at < at and t.due_at >= at and _lacks(t, given)]


def _lacks(task: LabelTask, given: Answers) -> bool:
    """Whether people should still be asked: one who passed has given no label."""
    return sum(answer.label is not None for answer in given.get(task.id, ())) < task.wanted


def _by_task(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    by_task: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_task[answer.task].append(answer)
    return by_task


def _settle(loop: Loop, at: datetime, fetched: dict[str, Any]) -> dict[str, Any]:
    given = _by_task([answer for answer in loop.store.list_answers() if answer.at <= at])
    tasks = [t for t in loop.store.list_tasks(TaskState.OPEN) if t.asked_at < at]
    due = [t for t in tasks if t.due_at <= at or not _lacks(t, given)]
    answered = [t for t in due if any(a.label is not None for a in given.get(t.id, ()))]
    settled, cost = _consensus(loop, at, answered, given)
    _append(loop, at, answered, settled, given)
    labels = _appended(loop, at)
    outcome = {
        "settled": len(labels),
        "expired": len(due) - len(answered),
        "row_rounds": cost.row_rounds,
        "agreement": float(np.mean([c.agreement for c in settled.values()])) if settled else None,
    }
    before = (loop.store.last_outcome("collect", at) or {}).get("problem")
    with loop.store.write("collect") as write:
        for task in due:
            write.put_task(_closed(task, at, labels.get(task.key), settled.get(task.id)))
        if "problem" in fetched and before is None:
            title = "answers cannot be fetched"
            write.append_alert(alert(at, Severity.WARNING, "labeling", title, fetched["problem"]))
        if cost.fits:
            write.put_fact(COST, cost + spent_on_labels(loop))
        if due:
            write.append_journal(at, f"{instant(at)}/labels_settled", "labels_settled", outcome)
        write.put_stage(at, "collect", fetched | outcome)
    return outcome


def _closed(task: LabelTask, at: datetime, label: str | None, consensus: Consensus | None) -> LabelTask:
    """A task that is over: settled where its label was appended, else expired."""
    if label is None or consensus is None:
        return replace(task, state=TaskState.EXPIRED, settled_at=at)
    return replace(
        task,
        state=TaskState.SETTLED,
        settled_at=at,
        label=label,
        quality=consensus.quality,
        agreement=consensus.agreement,
    )


def _consensus(
    loop: Loop, at: datetime, answered: list[LabelTask], given: Answers
) -> tuple[dict[str, Consensus], FitCost]:
    """What the answers to tasks settle on, by task; earlier tasks show how good each person is."""
    if not answered:
        return {}, FitCost()
    earlier = [t for t in loop.store.list_tasks(TaskState.SETTLED) if t.settled_at and t.settled_at <= at]
    tasks = [*earlier, *answered][-MOST_ITEMS:]
    tasks = [t for t in tasks if any(a.label is not None for a in given.get(t.id, ()))]
    items = [t.id for t in tasks]
    answers = pl.DataFrame(
        [(t.id, a.who, a.label) for t in tasks for a in given[t.id]],
        schema={"item": pl.String, "annotator": pl.String, "label": pl.String},
        orient="row",
    )
    if loop.project.task is Task.REGRESSION:
        settled, cost = settle_numbers(answers, items)[0], FitCost()
    else:
        classes = classes_of(loop) or tuple(sorted(set(answers["label"].drop_nulls())))
        chances, cost = _chances(loop, at, tasks, answers, classes)
        settled, _ = settle_answers(answers, classes, chances, items, method=loop.project.labeling.consensus)
    wanted = {t.id for t in answered}
    return {i: c for i, c in zip(items, settled, strict=True) if i in wanted}, cost


def _chances(
    loop: Loop, at: datetime, tasks: list[LabelTask], answers: pl.DataFrame, classes: tuple[str, ...]
) -> tuple[np.ndarray | None, FitCost]:
    """Chances of each task's row (tasks, classes) by models that learned from the other tasks, else by the champion."""
    keys = pl.Series(loop.key, [t.key for t in tasks]).cast(loop.key_dtype() or pl.String)
    if len(tasks) < LEAST_ITEMS:
        return chances_of(loop, keys), FitCost()
    first, _ = settle_answers(answers, classes, None, [t.id for t in tasks])
    labels = pl.DataFrame({loop.key: keys, "label": [c.label for c in first]}).unique(loop.key, keep="last")
    inputs = loop.lake.latest("inputs", loop.key, at, AS_SCORED, keys)
    if inputs is None:
        return None, FitCost()
    frame = inputs.join(labels, on=loop.key, how="inner").sort("event_at", loop.key)
    try:
        made = score_out_of_fold(frame, loop.project, loop.hooks, average=True)
    except DataError:
        return chances_of(loop, keys), FitCost()
    place = {name: i for i, name in enumerate(classes)}
    chances = np.full((len(tasks), len(classes)), np.nan)
    rows = {key: i for i, key in enumerate(frame[loop.key].to_list())}
    at_rows = np.array([rows[key] for key in keys.to_list()])
    for i, name in enumerate(made.classes):
        if name in place:
            chances[:, place[name]] = made.chances[at_rows, i]
    return np.nan_to_num(chances, nan=0.0), made.cost


def _append(
    loop: Loop, at: datetime, answered: list[LabelTask], settled: Mapping[str, Consensus], given: Answers
) -> None:
    """Append the labels of settled tasks; one appended before a kill stays as it is."""
    if not answered or loop.lake.appended("feedback", STEP, instant(at)):
        return
    rows = [
        {
            loop.key: task.key,
            "label": settled[task.id].label,
            "known_at": max(a.at for a in given[task.id]),
            "ingested_at": at,
            "provenance": "human",
            "who": ",".join(settled[task.id].annotators),
            "propensity": None if task.purpose is Purpose.LEARN else task.propensity,
        }
        for task in answered
    ]
    frame = pl.DataFrame(rows, schema={loop.key: pl.String, **LABELS})
    kind = pl.Float64 if loop.project.task is Task.REGRESSION else pl.String
    frame = frame.with_columns(pl.col(loop.key).cast(loop.key_dtype() or pl.String), pl.col("label").cast(kind))
    loop.lake.append("feedback", frame, STEP, instant(at))


def _appended(loop: Loop, at: datetime) -> dict[str, str]:
    """The labels that this tick appended, by key."""
    mine = (pl.col("ingested_at") == at) & (pl.col("provenance") == "human")
    rows = loop.lake.read("feedback", mine, [loop.key, "label"])
    return {} if rows is None else dict(rows.select(pl.all().cast(pl.String)).iter_rows())
