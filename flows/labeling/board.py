"""How labeling stands: tasks by purpose and state, answers by person, and how far people agree."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from homeostat.durations import format_duration
from homeostat.flows.labeling.answers import classes_of
from homeostat.flows.loop import Loop
from homeostat.pipelines.labels.agreement import krippendorff_alpha
from homeostat.pipelines.labels.consensus import settle_answers, settle_numbers
from homeostat.project import Task
from homeostat.records import Answer, LabelTask, Purpose, TaskState


def board(loop: Loop) -> dict[str, Any]:
    """Counts of tasks and answers, the budget, and what people's answers say about each other, in plain values."""
    tasks, answers = loop.store.list_tasks(), loop.store.list_answers()
    labeling = loop.project.labeling
    return {
        "backend": labeling.backend,
        "budget": labeling.budget,
        "period": format_duration(labeling.period),
        "asked": len(tasks),
        **_count_states(tasks),
        "answered": len({answer.task for answer in answers if answer.label is not None}),
        "answers": len(answers),
        "purposes": {purpose.value: _count_states([t for t in tasks if t.purpose is purpose]) for purpose in Purpose},
        "annotators": _count_people(answers),
        **_compare_people(loop, answers),
    }


def _count_states(tasks: list[LabelTask]) -> dict[str, int]:
    counted = Counter(task.state for task in tasks)
    return {state.value: counted[state] for state in TaskState}


def _count_people(answers: list[Answer]) -> list[dict[str, Any]]:
    given = Counter(answer.who for answer in answers if answer.label is not None)
    passed = Counter(answer.who for answer in answers if answer.label is None)
    return [{"who": who, "answers": given[who], "passed": passed[who]} for who in sorted({*given, *passed})]


def _compare_people(loop: Loop, answers: list[Answer]) -> dict[str, Any]:
    """Krippendorff's alpha of all labels, and the scoreboard of those who gave them; null where there is too little."""
    given = [(a.task, a.who, a.label) for a in answers if a.label is not None]
    frame = pl.DataFrame(given, {"item": pl.String, "annotator": pl.String, "label": pl.String}, orient="row")
    if frame.is_empty():
        return {"agreement": None, "scoreboard": []}
    items, classes = sorted(set(frame["item"])), classes_of(loop)
    if loop.project.task is Task.REGRESSION:
        return {"agreement": None, "scoreboard": settle_numbers(frame, items)[1].to_dicts()}
    _, scores = settle_answers(frame, classes, None, items)
    return {"agreement": krippendorff_alpha(frame, classes), "scoreboard": scores.to_dicts()}
