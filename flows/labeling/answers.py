"""Taking answers in: each counts once, for a task that is open, within its classes and its deadline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from homeostat.durations import instant
from homeostat.flows.facts import CLASSES
from homeostat.flows.loop import Loop
from homeostat.pipelines.data.canonical import canonical_classes
from homeostat.project import Task
from homeostat.records import Answer, LabelTask, TaskState
from homeostat.store import Writer


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that does not count, the rule it broke, and that in words."""

    answer: Answer
    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Answers that count and answers that do not; one that came before, word for word, is in neither."""

    accepted: tuple[Answer, ...]
    refused: tuple[Refused, ...]


def classes_of(loop: Loop) -> tuple[str, ...]:
    """The classes that an answer may name, in order: those stated, else those seen so far; none for a regression."""
    if loop.project.task is Task.REGRESSION:
        return ()
    stated = canonical_classes(loop.project.data.classes)
    if stated:
        return tuple(stated)
    fact = loop.store.get_fact(CLASSES)
    return () if fact is None else fact.classes


def check_answers(
    answers: Sequence[Answer],
    tasks: Mapping[str, LabelTask],
    given: Iterable[Answer],
    classes: tuple[str, ...],
    task: Task,
) -> Checked:
    """Tell the answers that count from those that do not; pure. `given` are those that count already."""
    labels = {(answer.task, answer.who): answer.label for answer in given}
    accepted: list[Answer] = []
    refused: list[Refused] = []
    for answer in answers:
        mark = answer.task, answer.who
        if mark in labels and labels[mark] == answer.label:
            continue
        broken = _broken(answer, tasks.get(answer.task), labels.get(mark, _NOTHING), classes, task)
        if broken is None:
            labels[mark] = answer.label
            accepted.append(answer)
        else:
            refused.append(Refused(answer, *broken))
    return Checked(tuple(accepted), tuple(refused))


_NOTHING = object()


def _broken(
    answer: Answer, asked: LabelTask | None, before: object, classes: tuple[str, ...], task: Task
) -> tuple[str, str] | None:
    who = answer.who
    if asked is None:
        return "unknown_task", f"{who} answered {answer.task!r}, which is not a task of this project"
    if before is not _NOTHING:
        return "answered_twice", f"{who} had answered {asked.key!r} with {before!r} and now says {answer.label!r}"
    if answer.at > asked.due_at:
        return "late", f"{who} answered {asked.key!r} at {instant(answer.at)}; it was due by {instant(asked.due_at)}"
    if asked.state is not TaskState.OPEN:
        return "settled", f"{who} answered {asked.key!r}, which is {asked.state.value} already"
    if answer.label is None:
        return None
    if task is Task.REGRESSION:
        return (
            None
            if _is_number(answer.label)
            else ("type", f"{who} answered {asked.key!r} with {answer.label!r}, which is not a number")
        )
    if classes and answer.label not in classes:
        return "class", f"{who} answered {asked.key!r} with {answer.label!r}; expected one of {', '.join(classes)}"
    return None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def check_now(loop: Loop, answers: Sequence[Answer]) -> Checked:
    """Check answers against the tasks and answers of the store."""
    tasks = {task.id: task for task in loop.store.list_tasks()}
    return check_answers(answers, tasks, loop.store.list_answers(), classes_of(loop), loop.project.task)


def keep_answers(write: Writer, checked: Checked, at: datetime) -> None:
    """Keep the answers that count, and journal those that do not, each once."""
    for answer in checked.accepted:
        write.append_answer(answer)
    for refused in checked.refused:
        answer = refused.answer
        key = f"answer/{answer.task}/{answer.who}/{answer.label}/{refused.rule}"[:200]
        body = {
            "task": answer.task,
            "who": answer.who,
            "label": answer.label,
            "rule": refused.rule,
            "detail": refused.detail,
        }
        write.append_journal(at, key, "answer_refused", body)
