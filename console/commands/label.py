"""Labels from people: the next task, where labeling stands, sheets out and in; journaled with the person's name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeostat.console.arguments import HERE, AsJson, Folder, FromWhere, now, open_for_reading, person
from homeostat.console.asking import answer_once, ask_all, list_items_of, words_of
from homeostat.console.output import say, say_error, say_facts, say_json, say_table
from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from homeostat.flows.labeling.backends import Item

As = Annotated[str | None, typer.Option("--as", help="Who answers.", show_default="your login name")]

label = typer.Typer(help="Labels from people: answer, see how it stands, write and read sheets.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(label, name="label")


@label.command("next")
def next_task(
    folder: Folder = HERE,
    name: As = None,
    answer: Annotated[str | None, typer.Option(help="Answer one task and end; s skips it.")] = None,
    task: Annotated[str | None, typer.Option(help="This task.", show_default="the one due first")] = None,
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Show the open tasks that want an answer from you, one by one, and take your answers."""
    loop, who = open_for_reading(folder, from_), name or person()
    if answer is not None:
        given = answer_once(loop, who, answer, task)
        say_json(given) if as_json else say(f"{who} says {words_of(given['label'])} of {given['task']}.")
    elif as_json:
        say_json([_facts(item) for item in list_items_of(loop, who, task)])
    else:
        ask_all(loop, who, task)


@label.command()
def status(folder: Folder = HERE, as_json: AsJson = False, from_: FromWhere = None) -> None:
    """How labeling stands: budget, tasks, answers by person, and how far people agree."""
    from homeostat.flows.labeling.board import board

    found = board(open_for_reading(folder, from_))
    if as_json:
        say_json(found)
        return
    names = ("backend", "asked", "open", "settled", "expired", "answered", "answers", "agreement")
    budget = {"budget": f"{found['budget']} answers every {found['period']}"}
    say_facts("Labeling", budget | {name: found[name] for name in names})
    say_table("Purposes", ["purpose", *(names[2:5])], [[k, *v.values()] for k, v in found["purposes"].items()])
    rated = {row["annotator"]: row for row in found["scoreboard"]}
    rows = [[p["who"], p["answers"], p["passed"], *(rated.get(p["who"], {}).get(n) for n in ("agreement", "quality"))]
            for p in found["annotators"]]  # fmt: skip
    say_table("Annotators", ["who", "answers", "passed", "agreement", "quality"], rows)


@label.command()
def tasks(folder: Folder = HERE, as_json: AsJson = False, from_: FromWhere = None) -> None:
    """List all labeling tasks, oldest first."""
    from homeostat.store import rows

    loop = open_for_reading(folder, from_)
    found = [rows.values(task) for task in loop.store.list_tasks()]
    if as_json:
        say_json(found)
        return
    shown = ("id", "key", "purpose", "state", "due_at", "label")
    say_table("Labeling tasks", ["task", "key", "purpose", "state", "due", "label"],
              [[task[name] for name in shown] for task in found])  # fmt: skip


@label.command()
def export(
    folder: Folder = HERE,
    to: Annotated[Path | None, typer.Option("--out", help="The file to write: .csv, .parquet or .jsonl.")] = None,
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Write the open tasks into a sheet, to fill in its columns label and who."""
    from homeostat.flows.labeling.items import list_items
    from homeostat.flows.labeling.sheets import write_sheet
    from homeostat.records import TaskState

    if to is None:
        raise HomeostatError("label export: no file to write to.", "Give --out FILE.")
    loop = open_for_reading(folder, from_)
    count = write_sheet(loop, list_items(loop, loop.store.list_tasks(TaskState.OPEN)), to)
    if as_json:
        say_json({"tasks": count, "file": str(to)})
    else:
        say(f"{count} open tasks written to {to}; fill in its column label, then 'homeostat label import {to}'.")


@label.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A sheet of 'homeostat label export', filled in.")],
    folder: Folder = HERE,
    name: As = None,
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Take the filled rows of a sheet in as answers; those that do not count are told with their line."""
    from homeostat.flows.labeling.sheets import import_sheet

    done = import_sheet(open_for_reading(folder, from_), file, name or person(), now(), person())
    if as_json:
        lines = [{"line": line, "why": why} for line, why in done.refused]
        say_json({"counted": done.counted, "known": done.known, "refused": lines})
    else:
        say(f"{done.counted} answers count" + (f", {done.known} did before" if done.known else "") + ".")
    for line, why in done.refused:
        say_error(f"{file}, line {line}: {why}.")
    if done.refused:
        raise typer.Exit(1)


@label.command()
def undo(folder: Folder = HERE, name: As = None, as_json: AsJson = False, from_: FromWhere = None) -> None:
    """Take back your last answer, as long as its task is open."""
    from homeostat.flows.labeling.people import take_back

    said = take_back(open_for_reading(folder, from_), name or person(), now(), person())
    if as_json:
        say_json({"task": said.task, "who": said.who, "label": said.label})
    else:
        say(f"{said.who} no longer says {words_of(said.label)} of {said.task}.")


def _facts(item: Item) -> dict[str, Any]:
    task = item.task
    return {"task": task.id, "key": task.key, "shown": dict(item.shown), "classes": list(item.classes),
            "due_at": task.due_at}  # fmt: skip
