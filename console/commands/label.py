"""Labels from people: answering tasks, their status, sheets; journaled with the person's name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeostat.console.arguments import HERE, AsJson, Folder, FromWhere, now, open_for_reading, person
from homeostat.console.asking import answer_once, ask_all, list_items_of, name_label
from homeostat.console.output import say, say_error, say_facts, say_json, say_table
from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from homeostat.flows.labeling.backends import Item

As = Annotated[str | None, typer.Option("--as", help="The name to answer under.", show_default="your login name")]

label = typer.Typer(
    help="Labels from people: answer tasks, see the status, export and import sheets.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(label, name="label")


@label.command("next")
def next_task(
    folder: Folder = HERE,
    name: As = None,
    answer: Annotated[str | None, typer.Option(help="Answer one task and exit; s skips it.")] = None,
    task: Annotated[str | None, typer.Option(help="The task to answer.", show_default="the one due first")] = None,
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Show the open tasks that wait for your answer, one by one, and take your answers."""
    loop, who = open_for_reading(folder, from_), name or person()
    if answer is not None:
        given = answer_once(loop, who, answer, task)
        say_json(given) if as_json else say(f"{who} labelled {given['task']} as {name_label(given['label'])}.")
    elif as_json:
        say_json([_facts(item) for item in list_items_of(loop, who, task)])
    else:
        ask_all(loop, who, task)


@label.command()
def status(folder: Folder = HERE, as_json: AsJson = False, from_: FromWhere = None) -> None:
    """Show the status of labeling: budget, tasks, answers by person, and agreement."""
    from homeostat.flows.labeling.board import board

    standing = board(open_for_reading(folder, from_))
    if as_json:
        say_json(standing)
        return
    names = ("backend", "asked", "open", "settled", "expired", "answered", "answers", "agreement")
    budget = {"budget": f"{standing['budget']} answers every {standing['period']}"}
    say_facts("Labeling", budget | {name: standing[name] for name in names})
    say_table("Purposes", ["purpose", *(names[2:5])], [[k, *v.values()] for k, v in standing["purposes"].items()])
    rated = {row["annotator"]: row for row in standing["scoreboard"]}
    rows = [[p["who"], p["answers"], p["passed"], *(rated.get(p["who"], {}).get(n) for n in ("agreement", "quality"))]
            for p in standing["annotators"]]  # fmt: skip
    say_table("Annotators", ["who", "answers", "skipped", "agreement", "quality"], rows)


@label.command()
def tasks(folder: Folder = HERE, as_json: AsJson = False, from_: FromWhere = None) -> None:
    """List all labeling tasks, oldest first."""
    from homeostat.store import rows

    loop = open_for_reading(folder, from_)
    listed = [rows.values(task) for task in loop.store.list_tasks()]
    if as_json:
        say_json(listed)
        return
    shown = ("id", "key", "purpose", "state", "due_at", "label")
    say_table("Labeling tasks", ["task", "key", "purpose", "state", "due", "label"],
              [[task[name] for name in shown] for task in listed])  # fmt: skip


@label.command()
def export(
    folder: Folder = HERE,
    to: Annotated[Path | None, typer.Option("--out", help="The file to write: .csv, .parquet or .jsonl.")] = None,
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Write the open tasks to a sheet, to fill in its columns label and who."""
    from homeostat.flows.labeling.items import list_items
    from homeostat.flows.labeling.sheets import write_sheet
    from homeostat.records import TaskState

    if to is None:
        raise HomeostatError("label export: no output file.", "Give --out FILE.")
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
    """Import the filled rows of a sheet as answers; refused rows are listed with their line."""
    from homeostat.flows.labeling.sheets import import_sheet

    done = import_sheet(open_for_reading(folder, from_), file, name or person(), now(), person())
    if as_json:
        lines = [{"line": line, "why": why} for line, why in done.refused]
        say_json({"counted": done.counted, "known": done.known, "refused": lines})
    else:
        say(f"{done.counted} answers imported" + (f", {done.known} known already" if done.known else "") + ".")
    for line, why in done.refused:
        say_error(f"{file}, line {line}: {why}.")
    if done.refused:
        raise typer.Exit(1)


@label.command()
def undo(folder: Folder = HERE, name: As = None, as_json: AsJson = False, from_: FromWhere = None) -> None:
    """Undo your last answer, while its task is open."""
    from homeostat.flows.labeling.people import take_back

    answer = take_back(open_for_reading(folder, from_), name or person(), now(), person())
    if as_json:
        say_json({"task": answer.task, "who": answer.who, "label": answer.label})
    else:
        say(f"Took back {name_label(answer.label)} for {answer.task}, by {answer.who}.")


def _facts(item: Item) -> dict[str, Any]:
    task = item.task
    return {"task": task.id, "key": task.key, "shown": dict(item.shown), "classes": list(item.classes),
            "due_at": task.due_at}  # fmt: skip
