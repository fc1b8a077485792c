"""What a person does about labels by hand: takes the next task, answers, takes an answer back; journaled by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from homeostat.durations import instant
from homeostat.errors import HomeostatError
from homeostat.flows.labeling.answers import Checked, check_now, keep_answers
from homeostat.flows.loop import Loop
from homeostat.records import Answer, LabelTask, TaskState


def list_waiting(loop: Loop, who: str, at: datetime) -> list[LabelTask]:
    """The open tasks that still want an answer and that this person has not answered, those due first before others."""
    given = loop.store.list_answers()
    mine = {answer.task for answer in given if answer.who == who}
    labels = Counter(answer.task for answer in given if answer.label is not None)
    tasks = loop.store.list_tasks(TaskState.OPEN)
    waiting = [t for t in tasks if t.due_at >= at and t.id not in mine and labels[t.id] < t.wanted]
    return sorted(waiting, key=lambda task: (task.due_at, task.asked_at, task.id))


def give_answers(loop: Loop, answers: Sequence[Answer], at: datetime, by: str, how: str) -> Checked:
    """Take answers in that a person gave by hand, each that counts with a link in the journal; the others refused."""
    checked = check_now(loop, answers)
    if not checked.accepted and not checked.refused:
        return checked
    with loop.store.write("answers") as write:
        keep_answers(write, checked, at)
        for answer in checked.accepted:
            body = {"task": answer.task, "who": answer.who, "label": answer.label, "by": by, "how": how}
            write.append_journal(at, f"{instant(at)}/answer/{answer.task}/{answer.who}"[:200], "answer", body)
    return checked


def take_back(loop: Loop, who: str, at: datetime, by: str) -> Answer:
    """Take back the last answer a person gave. Raises HomeostatError where there is none to a task still open."""
    given = [answer for answer in loop.store.list_answers() if answer.who == who]
    if not given:
        raise HomeostatError(f"{who} has given no answer that could be taken back.", "Give another name with --as.")
    open_tasks = {task.id: task for task in loop.store.list_tasks(TaskState.OPEN)}
    last = max(given, key=lambda answer: answer.at)
    if last.task not in open_tasks:
        asked = loop.store.get_task(last.task)
        state = f"{asked.state.value} already" if asked else "gone"
        raise HomeostatError(
            f"the last answer of {who}, to {asked.key if asked else last.task!r}, stays: it is {state}."
        )
    with loop.store.write("answers") as write:
        write.drop_answer(last.task, who)
        body = {"task": last.task, "who": who, "label": last.label, "by": by}
        write.append_journal(at, f"{instant(at)}/answer_undone/{last.task}/{who}"[:200], "answer_undone", body)
    return last
