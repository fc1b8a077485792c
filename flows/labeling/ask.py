"""Stage: ask people for the labels that matter, within the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from homeostat.durations import instant
from homeostat.errors import RegistryError
from homeostat.flows.facts import DRAWN, LastDraw
from homeostat.flows.labeling.backends import BackendError, find_backend
from homeostat.flows.labeling.items import list_items
from homeostat.flows.labeling.pool import Pool, chances_now, chances_of, find_pool, predictions_of
from homeostat.flows.loop import Loop, alert, tick_index
from homeostat.pipelines.labels.active import choose_rows, disagreement, uncertainty, unusualness
from homeostat.pipelines.labels.labeling import LabelingEvidence, decide_labeling
from homeostat.pipelines.labels.sampling import draw_sample, inclusion_probabilities
from homeostat.records import Decision, LabelTask, Purpose, Role, Severity, TaskState

Chosen = list[tuple[str | int, Purpose, float | None]]


def ask(loop: Loop, at: datetime) -> dict[str, Any]:
    """Decide what to ask for, keep the tasks, and hand out those that were not yet; returns their counts."""
    settings = loop.project.labeling
    if not settings.budget or (loop.replaying and not find_backend(loop.project).answers_in_replay):
        # In a replay people cannot be asked: what they said of the past is in the source of labels.
        return _done(loop, at, {})
    if loop.is_past(at):
        # Nobody can answer as of the past; the newest tick asks within the same budget.
        return _done(loop, at, {"skipped": "the loop catches up"})
    decision = loop.store.get_decision(at, "labeling") or _choose(loop, at)
    outcome = {"decision": decision.kind, **{p.value: decision.evidence[p.value] for p in Purpose}}
    return _hand_out(loop, at, outcome)


def _done(loop: Loop, at: datetime, outcome: dict[str, Any]) -> dict[str, Any]:
    with loop.store.write("ask") as write:
        write.put_stage(at, "ask", outcome)
    return outcome


def _choose(loop: Loop, at: datetime) -> Decision:
    tasks = loop.store.list_tasks()
    pool = find_pool(loop, tasks, at)
    lately = [task for task in tasks if task.asked_at > at - loop.project.labeling.period]
    evidence = LabelingEvidence(
        champion=loop.version_of("champion"),
        ticks=max(tick_index(loop.project, at), 0) + 1,
        asked=sum(task.wanted for task in tasks),
        asked_lately=sum(task.wanted for task in lately),
        to_measure=int(pool.measure.sum()),
        unlabelled=pool.rows.height,
        doubtful=pool.doubtful.height,
    )
    decision = decide_labeling(evidence, loop.project, at)
    made = _tasks(loop, at, _chosen(loop, at, pool, decision.evidence))
    with loop.store.write("asked") as write:
        for task in made:
            write.put_task(task)
        if decision.evidence[Purpose.MEASURE.value]:
            write.put_fact(DRAWN, LastDraw(instant(at)))
        write.append_decision(decision)
    return decision


def _chosen(loop: Loop, at: datetime, pool: Pool, counts: Mapping[str, int]) -> Chosen:
    """The rows to ask about, each with why and with the chance it was drawn with."""
    again = pool.doubtful.head(counts["relabel"])
    chosen: Chosen = [
        (key, Purpose.RELABEL, chance) for key, chance in again.select(loop.key, "propensity").iter_rows()
    ]
    if not counts["measure"] and not counts["learn"]:
        return chosen
    keys = pool.rows[loop.key]
    texts, chances = keys.cast(pl.String).to_list(), chances_now(loop, keys, at)
    unsure = None if chances is None else uncertainty(chances)
    drawn = np.zeros(pool.rows.height, dtype=bool)
    if counts["measure"]:
        at_hand = np.flatnonzero(pool.measure)
        likely = inclusion_probabilities(
            None if unsure is None else unsure[at_hand], counts["measure"], rows=len(at_hand)
        )
        mask = draw_sample(likely, [texts[i] for i in at_hand], instant(at))
        drawn[at_hand[mask]] = True
        chosen += [(keys[int(i)], Purpose.MEASURE, float(p)) for i, p in zip(at_hand[mask], likely[mask], strict=True)]
    if counts["learn"]:
        rest = np.flatnonzero(~drawn)
        worth = _worth(loop, pool, chances, unsure)[rest]
        features = pool.rows[rest].select(loop.project.data.features)
        best = rest[choose_rows(features, worth, counts["learn"], keys=[texts[i] for i in rest])]
        chosen += [(keys[int(i)], Purpose.LEARN, None) for i in best]
    return chosen


def _worth(loop: Loop, pool: Pool, chances: np.ndarray | None, unsure: np.ndarray | None) -> np.ndarray:
    """What a label of each row is worth: how unsure the champion is, how far a challenger differs, how new it is."""
    worth = np.zeros(pool.rows.height) if unsure is None else unsure.copy()
    other = chances_of(loop, pool.rows[loop.key], Role.CHALLENGER)
    if chances is not None and other is not None:
        worth += np.nan_to_num(disagreement(chances, other))
    checks = loop.store.list_checks()
    drifted = [column.column for column in checks[-1].drift.columns if column.drifted] if checks else []
    try:
        folder = loop.models.folder(loop.version_of("champion") or 0) if drifted else None
        reference = None if folder is None else pl.read_parquet(folder / "reference.parquet")
    except (RegistryError, OSError):
        reference = None
    return worth if reference is None else worth + unusualness(reference, pool.rows, drifted)


def _tasks(loop: Loop, at: datetime, chosen: Chosen) -> list[LabelTask]:
    if not chosen:
        return []
    settings, keys = loop.project.labeling, pl.Series(loop.key, [key for key, _, _ in chosen], dtype=loop.key_dtype())
    predicted = predictions_of(loop, keys)
    suggestions = [None] * len(chosen) if predicted is None else predicted["prediction"].cast(pl.String).to_list()
    return [
        LabelTask(
            id=f"{instant(at)}/{key}",
            key=str(key),
            batch=instant(at),
            purpose=purpose,
            wanted=settings.annotators,
            asked_at=at,
            due_at=loop.told_at(at) + settings.deadline,
            propensity=chance,
            suggestion=suggestion,
        )
        for (key, purpose, chance), suggestion in zip(chosen, suggestions, strict=True)
    ]


def _hand_out(loop: Loop, at: datetime, outcome: dict[str, Any]) -> dict[str, Any]:
    waiting = [task for task in loop.store.list_tasks(TaskState.OPEN) if task.sent_at is None]
    try:
        names = loop.backend().send(list_items(loop, waiting)) if waiting else {}
    except BackendError as fault:
        return _could_not(loop, at, outcome | {"waiting": len(waiting), "problem": str(fault)})
    with loop.store.write("ask") as write:
        for task in waiting:
            write.put_task(replace(task, sent_at=at, remote=names.get(task.id)))
        write.put_stage(at, "ask", outcome)
    return outcome


def _could_not(loop: Loop, at: datetime, outcome: dict[str, Any]) -> dict[str, Any]:
    before = (loop.store.last_outcome("ask", at) or {}).get("problem")
    with loop.store.write("ask") as write:
        if before is None:
            title = f"{outcome['waiting']} labeling tasks cannot be handed out"
            write.append_alert(alert(at, Severity.WARNING, "labeling", title, outcome["problem"]))
        write.put_stage(at, "ask", outcome)
    return outcome
