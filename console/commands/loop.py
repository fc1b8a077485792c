"""Commands that run the loop: the tick, and every stage by itself."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeostat.console.arguments import HERE, AsJson, Folder, now, open_live, person
from homeostat.console.output import progress_bar, say, say_facts, say_json, say_note, say_table
from homeostat.errors import CheckFailed, HomeostatError

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop
    from homeostat.flows.stages.catch_up import Passed
    from homeostat.records import Document

MANY = 20
"""From so many due ticks on it is said beforehand how many they are."""


class How(StrEnum):
    """What is done where several ticks are due."""

    ALL = "all"
    SCORES = "scores"
    SKIP = "skip"


STAGES = {
    "ingest": "Ingest new inputs; quarantine what breaks a stated rule.",
    "feedback": "Ingest the labels that are known by now.",
    "monitor": "Measure performance of the open windows, and drift against the champion's reference.",
    "train": "Train and register a version, without promoting it (the first becomes champion).",
    "retrain": "Train a version, compare it with the champion on fresh rows, promote or refuse it.",
}


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("tick")(tick)
    app.command("ingest", help=STAGES["ingest"])(_stage_command("ingest"))
    app.command("predict")(predict)
    for name in list(STAGES)[1:]:
        app.command(name, help=STAGES[name])(_stage_command(name))


def predict(
    folder: Folder = HERE,
    corrections: Annotated[
        bool, typer.Option("--corrections", help="Score inputs again that were corrected after they were scored.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score every validated batch that is not scored yet, with the champion."""
    _run_stage("rescore" if corrections else "predict", folder, as_json)


def tick(
    folder: Folder = HERE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is due and what would be done; write nothing.")
    ] = False,
    catch_up: Annotated[
        How | None,
        typer.Option(
            "--catch-up",
            help="Where several ticks are due: run all of them, only score what came and learn once, or skip them.",
            show_default="schedule.catch_up",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run every tick that is due: ingest, predict, collect, feedback, check, decide, act, ask, notify."""
    if dry_run:
        _foresee(folder, as_json)
        return
    with open_live(folder) as loop:
        outcomes, passed = _run_due(loop, catch_up)
    if as_json:
        say_json(outcomes | {run.last: {"passed": run.slots, "from": run.first, "why": run.message} for run in passed})
    else:
        for run in passed:
            say(f"{loop.project.name}: {run.message}.")
        _tell_ticks(loop, outcomes)
    newest = next(reversed(outcomes.values()), {})
    if problem := newest.get("act", {}).get("problem"):
        raise CheckFailed(f"{loop.project.name}: a model could not be made: {problem}")


def _run_due(loop: Loop, how: How | None) -> tuple[dict[str, Document], list[Passed]]:
    """Run what is due, with a bar; says beforehand where that is much."""
    from homeostat.flows.stages.catch_up import CatchUp, due_ticks
    from homeostat.flows.stages.sequence import list_due, run_tick

    begun_at = now()
    due, chosen = list_due(loop, begun_at), CatchUp((how or How(loop.project.schedule.catch_up)).value)
    outcomes: dict[str, Document] = {}
    passed: list[Passed] = []
    if len(due) >= MANY and chosen is CatchUp.ALL:
        say_note(
            f"{loop.project.name}: {len(due)} ticks are due, {due[0]} to {due[-1]}. Those in which nothing came are "
            "passed together; '--catch-up scores' runs the newest alone, and '--catch-up skip' scores none of what "
            "came before."
        )
    with progress_bar("tick") as tell:
        for at in due_ticks(loop, begun_at, chosen, passed.append):
            tell(due.index(at) if at in due else len(due), len(due), at)
            outcomes[at] = run_tick(loop.project.folder, "live", at, clock=now(), begun_at=begun_at)
        tell(len(due), len(due), loop.project.name)
    return outcomes, passed


def _stage_command(name: str) -> Any:
    def command(folder: Folder = HERE, as_json: AsJson = False) -> None:
        _run_stage(name, folder, as_json)

    command.__name__ = name
    return command


def _run_stage(name: str, folder: Path, as_json: bool) -> None:
    from homeostat.flows.operations import manual

    with open_live(folder) as loop, progress_bar(name) as tell:
        tell(0, 1, loop.project.name)
        outcome = getattr(manual, name)(loop, now(), person())
        tell(1, 1, loop.project.name)
    if as_json:
        say_json(outcome)
    else:
        say_facts(f"{name} {loop.project.name}", {k: v for k, v in outcome.items() if k != "problem"})
    if outcome.get("problem"):
        raise HomeostatError(str(outcome["problem"]))


def _foresee(folder: Path, as_json: bool) -> None:
    from homeostat.flows.loop import open_untouched
    from homeostat.flows.operations import manual
    from homeostat.flows.stages.sequence import list_due

    with open_untouched(folder) as loop:
        slots = list_due(loop, now())
        plan = manual.foresee(loop, now(), slots)
    if as_json:
        say_json(plan)
        return
    due = f"{len(slots)} ticks, {slots[0]} to {slots[-1]}" if len(slots) > 1 else slots
    say_facts(f"tick {loop.project.name}, dry run", plan | {"due": due})


def _tell_ticks(loop: Loop, outcomes: dict[str, Document]) -> None:
    rows, name = [], loop.project.name
    if not outcomes:
        say(f"{name}: no tick is due{_why_none(loop)}")
        return
    for at, did in outcomes.items():
        taken, scored, labelled = did["ingest"], did["predict"], did["feedback"]
        broken = taken["quarantined"] + taken["held"] + labelled["quarantined"]
        rows.append((at, taken["rows"], broken, scored["scored"], labelled["labels"], _gist(did)))
    columns = ["tick", "rows", "quarantined", "scored", "labels", "did"]
    say_table(f"tick {name}", columns, rows)


def _why_none(loop: Loop) -> str:
    """What there is to say where the newest tick lies ahead of the clock."""
    last = loop.store.last_tick("notify")
    if last is None or last <= now():
        return ""
    until = f"{last:%Y-%m-%d %H:%M} UTC"
    return (
        f" before {until}: the newest tick lies ahead of the clock. Set the clock right; 'homeostat ingest' and "
        "'homeostat predict' score what comes until then."
    )


def _gist(did: dict[str, Any]) -> str:
    acted = did["act"]
    verdict = f", {acted['verdict']}" if "verdict" in acted else ""
    version = f" version {acted['version']}" if "version" in acted else ""
    problems = [str(part["problem"]) for part in (did["predict"], acted) if part.get("problem")]
    return "; ".join([f"{acted['did']}{version}{verdict}", *problems])
