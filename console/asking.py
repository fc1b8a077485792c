"""Asking a person at the terminal: a card for each task, one line for each answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from homeostat.console.arguments import now, person
from homeostat.console.cards import are_numbered, make_card
from homeostat.console.output import out, say, say_error
from homeostat.errors import CheckFailed, HomeostatError

if TYPE_CHECKING:
    from homeostat.flows.labeling.backends import Item
    from homeostat.flows.loop import Loop

SKIP, UNDO, QUIT = "s", "u", "q"


def list_items_of(loop: Loop, who: str, task: str | None = None) -> list[Item]:
    """The open tasks that want an answer from this person, or the one named. Raises HomeostatError."""
    from homeostat.flows.labeling.items import list_items
    from homeostat.flows.labeling.people import list_waiting

    waiting = list_waiting(loop, who, now())
    if task is not None:
        waiting = [open_task for open_task in waiting if open_task.id == task]
        if not waiting:
            raise HomeostatError(
                f"task {task!r} does not wait for an answer from {who}.", "See 'homeostat label tasks'."
            )
    return list_items(loop, waiting)


def answer_once(loop: Loop, who: str, typed: str, task: str | None) -> dict[str, Any]:
    """Answer the task named, whatever its state, or the one due first. Raises CheckFailed where that does not count."""
    if task is None:
        waiting = list_items_of(loop, who)
        if not waiting:
            raise CheckFailed(f"no task waits for an answer from {who}.")
        task = waiting[0].task.id
    label = _parse_label(loop, typed)
    refused = _give(loop, task, who, label)
    if refused is not None:
        raise CheckFailed(f"{refused}.")
    return {"task": task, "who": who, "label": label}


def ask_all(loop: Loop, who: str, task: str | None) -> None:
    """Show one task after the other and take the person's answers, until they quit or none is left."""
    waiting, given = list_items_of(loop, who, task), 0
    if not waiting:
        say(f"No task waits for an answer from {who}.")
        return
    while waiting:
        out.print(make_card(waiting[0], loop.project, f"{given + 1} of {given + len(waiting)}", now()))
        typed = _read_line(loop, who, waiting[0].classes)
        letter = None if typed in waiting[0].classes else typed
        if letter == QUIT:
            break
        if letter == UNDO:
            given, waiting = max(0, given - _undo(loop, who)), list_items_of(loop, who)
        elif (refused := _give(loop, waiting[0].task.id, who, _parse_label(loop, typed))) is None:
            given, waiting = given + 1, waiting[1:]
        else:
            say_error(f"{refused}.")
            waiting = list_items_of(loop, who)
    say(f"{given} answered, {len(waiting)} left.")


def name_label(label: str | None) -> str:
    """A label in words; None is a skip."""
    return "nothing (skipped)" if label is None else label


def _give(loop: Loop, task: str, who: str, label: str | None) -> str | None:
    """Give an answer; None where it counts, else why it does not."""
    from homeostat.flows.labeling.people import give_answers
    from homeostat.records import Answer

    at = now()
    checked = give_answers(loop, [Answer(task, who, label, at)], at, person(), "console")
    return checked.refused[0].detail if checked.refused else None


def _undo(loop: Loop, who: str) -> int:
    from homeostat.flows.labeling.people import take_back

    try:
        answer = take_back(loop, who, now(), person())
    except HomeostatError as mistake:
        say_error(str(mistake))
        return 0
    say(f"Took {name_label(answer.label)} back.")
    return 1


def _read_line(loop: Loop, who: str, classes: tuple[str, ...]) -> str:
    """What the person types, once it is a label, its number or one of the letters; the end of the input is to quit."""
    expected = ", ".join(classes) or "a number"
    while True:
        try:
            typed = out.input(f"{who}: label, {SKIP} skip, {UNDO} undo, {QUIT} quit> ", markup=False).strip()
        except EOFError:
            say("")
            return QUIT
        if typed in (SKIP, UNDO, QUIT) or (typed and _is_label(loop, typed, classes)):
            return typed
        say_error(f"{typed!r}: expected {expected}, {SKIP}, {UNDO} or {QUIT}.")


def _is_label(loop: Loop, typed: str, classes: tuple[str, ...]) -> bool:
    from homeostat.project import Task

    if loop.project.task is not Task.REGRESSION:
        return not classes or _parse_label(loop, typed) in classes
    try:
        return math.isfinite(float(typed))
    except ValueError:
        return False


def _parse_label(loop: Loop, typed: str) -> str | None:
    """The label that an input stands for: a class, its number, or None for a skip; a class name wins."""
    from homeostat.flows.labeling.answers import classes_of

    classes = classes_of(loop)
    if typed in classes or (typed != SKIP and not (are_numbered(classes) and typed.isdecimal())):
        return typed
    if typed == SKIP:
        return None
    return classes[int(typed) - 1] if 1 <= int(typed) <= len(classes) else typed
