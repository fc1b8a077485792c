"""Commands that turn the loop: the tick, each stage by itself, and what a person may do to the champion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.arguments import HERE, AsJson, Folder, From, FromWhere, Why, now, open_for_reading, person
from console.output import out, progress_bar, say_facts, say_json, say_table
from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from flows.loop import Loop

STAGES = {
    "ingest": "Take in the inputs that are new; quarantine what breaks a stated rule.",
    "predict": "Score every validated batch that is not scored yet with the champion.",
    "feedback": "Take in the labels that are known by now.",
    "monitor": "Measure the open windows, and drift against the champion's reference.",
    "train": "Train and register a version, without promoting it (the first becomes champion).",
    "retrain": "Train a version, compare it with the champion on fresh rows, promote it or refuse.",
}


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for name, text in STAGES.items():
        app.command(name, help=text)(_stage_command(name))
    app.command("tick")(tick)
    app.command("promote")(promote)
    app.command("rollback")(rollback)
    app.command("quarantine")(quarantine)


def _stage_command(name: str) -> Any:
    def command(folder: Folder = HERE, as_json: AsJson = False) -> None:
        from flows import by_hand

        with _live(folder) as loop, progress_bar(name) as tell:
            tell(0, 1, str(loop.project.name))
            outcome = getattr(by_hand, name)(loop, now(), person())
            tell(1, 1, str(loop.project.name))
        say_json(outcome) if as_json else say_facts(f"{name} {loop.project.name}", outcome)
        if outcome.get("problem"):
            raise HomeostatError(str(outcome["problem"]))

    command.__name__ = name
    return command


def tick(
    folder: Folder = HERE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is due and what would be done; do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run every tick that is due: ingest, predict, feedback, check, decide, act, notify."""
    from flows import by_hand
    from flows.stages import due_slots, run_tick

    with _live(folder) as loop:
        slots = due_slots(folder, now())
        if dry_run:
            say_json(by_hand.foresee(loop, now(), slots)) if as_json else say_facts(
                f"tick {loop.project.name}, dry run", by_hand.foresee(loop, now(), slots)
            )
            return
        outcomes = {}
        with progress_bar("tick") as tell:
            for done, at in enumerate(slots):
                tell(done, len(slots), at)
                outcomes[at] = run_tick(folder, "live", at)
            tell(len(slots), len(slots), loop.project.name)
    if as_json:
        say_json(outcomes)
        return
    rows = [(at, stage, what) for at, stages in outcomes.items() for stage, what in stages.items()]
    say_table(
        f"tick {loop.project.name}" if rows else f"{loop.project.name}: no tick is due",
        ["tick", "stage", "outcome"],
        rows,
    )


def promote(
    folder: Folder = HERE,
    version: Annotated[int | None, typer.Option(help="The version.", show_default="the one that waits")] = None,
    why: Why = "",
    from_: FromWhere = None,
) -> None:
    """Make a version champion: the challenger that waits for approval, or any other; journaled with your name."""
    from flows import by_hand

    with _changing(folder, from_) as loop:
        verdict = by_hand.promote_version(loop, now(), version, person(), why)
    out.print(f"Version {verdict.model_version} is champion of {loop.house.model_name}.", highlight=False)


def rollback(
    folder: Folder = HERE,
    to: Annotated[int | None, typer.Option(help="The version.", show_default="the previous champion")] = None,
    why: Why = "",
    from_: FromWhere = None,
) -> None:
    """Put an earlier version back in place at once; journaled with your name."""
    from flows import by_hand

    with _changing(folder, from_) as loop:
        verdict = by_hand.rollback(loop, now(), to, person(), why)
    out.print(f"Version {verdict.model_version} is champion of {loop.house.model_name} again.", highlight=False)


def quarantine(
    action: Annotated[str, typer.Argument(help="list or release")] = "list",
    folder: Folder = HERE,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Release this row; may be repeated.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only rows of this batch.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only rows that broke this rule.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Release all that is listed.")] = False,
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """List the rows that broke a stated rule, or release some: they come back with the next batch."""
    from flows import by_hand

    if action not in {"list", "release"}:
        raise HomeostatError(f"quarantine {action!r}: unknown.", "Say 'quarantine list' or 'quarantine release'.")
    if action == "release":
        if not (ids or batch or rule or everything):
            raise HomeostatError("quarantine release: nothing chosen.", "Give --id, --batch, --rule or --all.")
        with _changing(folder, from_) as loop:
            released = by_hand.release(loop, now(), person(), ids, batch, rule)
        out.print(f"Released {released} rows; they come with the next batch.", highlight=False)
        return
    rows = by_hand.list_quarantine(open_for_reading(folder, from_), ids, batch, rule)
    columns = ["row_id", "source", "batch", "rule", "key", "detail", "released"]
    if as_json:
        say_json([{**{c: row[c] for c in columns}, "row": row["row"]} for row in rows])
    else:
        say_table("Quarantine", columns, [[row[c] for c in columns] for row in rows])


@contextmanager
def _live(folder: Path) -> Iterator[Loop]:
    from flows.loop import open_loop
    from flows.replay import exclusive
    from homeostat.project import load_project
    from homeostat.records import Scope
    from homeostat.settings import find_house

    project = load_project(folder)
    with exclusive(find_house(project, Scope.LIVE).root, f"a tick of {project.name!r}"):
        yield open_loop(folder, Scope.LIVE)


@contextmanager
def _changing(folder: Path, from_: From | None) -> Iterator[Loop]:
    from flows.replay import exclusive

    loop = open_for_reading(folder, from_)
    with exclusive(loop.house.root, f"a run of {loop.project.name!r}"):
        yield loop
