"""Whether all is well with projects and with the services that run them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from homeostat.console.arguments import From, open_for_reading
from homeostat.console.supervision.keeper import WELL, read_heartbeat
from homeostat.console.supervision.notes import Note
from homeostat.console.supervision.services import HEARTBEAT
from homeostat.console.titles import title_of
from homeostat.durations import instant
from homeostat.errors import HomeostatError
from homeostat.installation import list_projects


def list_services(notes: Sequence[Note]) -> dict[str, dict[str, Any]]:
    """Every service of these notes by name; those of an `up` that died are failing."""
    found: dict[str, dict[str, Any]] = {}
    for note in notes:
        dead = {"state": "failing", "pid": None, "problem": "ended with its 'homeostat up', which was killed"}
        found |= {name: each if note.runs else each | dead for name, each in note.services.items()}
    return found


def list_problems(notes: Sequence[Note]) -> list[str]:
    """What is wrong with the services of these notes, a sentence each."""
    problems = [
        f"'homeostat up' has died (process {note.said.get('pid', 'unknown')}); start it again, or 'homeostat down'"
        for note in notes if not note.runs
    ]  # fmt: skip
    for note in (note for note in notes if note.runs):
        for name, each in note.services.items():
            if each["state"] not in WELL:
                problems.append(f"{title_of(name)} is {each['state']}" + _because(each.get("problem")))
    return problems


def stand_of_project(folder: Path, from_: From | None, notes: Sequence[Note], now: datetime) -> dict[str, Any]:
    """Where a project's loop stands, and its problems, with those of the runner that ticks it.

    Where an `up` runs it, a project that has no state yet or cannot be opened is one with a problem; otherwise that
    raises HomeostatError.
    """
    from homeostat.flows.queries.status import find_overdue, status

    beats = [read_heartbeat(note.root / HEARTBEAT)[1] for note in notes if "runner" in note.services and note.runs]
    try:
        loop = open_for_reading(folder, from_)
        found = status(loop)
    except HomeostatError as fault:
        if not notes:
            raise
        return {"project": folder.resolve().name, "healthy": False, "problems": [fault.message]}
    problems = [beat[loop.project.name]["problem"] for beat in beats if beat.get(loop.project.name, {}).get("problem")]
    if beats and not loop.replaying and (oldest := find_overdue(loop, now)) is not None:
        problems.append(f"ticks are overdue since {instant(oldest)}")
    found["problems"] += problems
    found["healthy"] = not found["problems"]
    return found


def stand_of_all(places: Sequence[Path], from_: From | None, notes: Sequence[Note], now: datetime) -> dict[str, Any]:
    """Where every project of some places stands, with the services that run them."""
    projects = []
    for each in list_projects(places):
        if each.project is None:
            projects.append({"project": each.folder.name, "healthy": False, "problems": [each.problem]})
            continue
        try:
            projects.append(stand_of_project(each.folder, from_, notes, now))
        except HomeostatError as fault:
            projects.append({"project": each.project.name, "healthy": False, "problems": [fault.message]})
    problems = list_problems(notes)
    healthy = not problems and all(project["healthy"] for project in projects)
    return {"healthy": healthy, "problems": problems, "projects": projects, "services": list_services(notes)}


def _because(problem: str | None) -> str:
    return f": it {problem}" if problem else ""
