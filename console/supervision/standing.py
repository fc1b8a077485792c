"""The health of projects and of the services that run them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from homeostat.console.arguments import From, open_for_reading
from homeostat.console.supervision.keeper import WELL
from homeostat.console.supervision.notes import Note, ServiceState
from homeostat.console.titles import title_of
from homeostat.durations import instant
from homeostat.errors import HomeostatError
from homeostat.flows.orchestration.heartbeat import HEARTBEAT_FILE, read_heartbeat
from homeostat.installation import list_projects

Standing = dict[str, Any]
"""What `status --json` prints of a project or of all: healthy, problems, services and more."""


def list_services(notes: Sequence[Note]) -> dict[str, ServiceState]:
    """Every service of these notes by name; those of an `up` that died are failing."""
    services: dict[str, ServiceState] = {}
    for note in notes:
        dead = {"state": "failing", "pid": None, "problem": "ended with its 'homeostat up', which was killed"}
        services |= {name: service if note.runs else service | dead for name, service in note.services.items()}
    return services


def list_problems(notes: Sequence[Note]) -> list[str]:
    """What is wrong with the services of these notes, a sentence each."""
    problems = [
        f"'homeostat up' was killed (process {note.content.get('pid', 'unknown')}); start it again, or 'homeostat down'"
        for note in notes if not note.runs
    ]  # fmt: skip
    for note in (note for note in notes if note.runs):
        for name, service in note.services.items():
            if service["state"] not in WELL:
                problems.append(f"{title_of(name)} is {service['state']}" + _because(service.get("problem")))
    return problems


def stand_of_project(folder: Path, from_: From | None, notes: Sequence[Note], now: datetime) -> Standing:
    """Where a project's loop stands, and its problems, with those of the runner that ticks it.

    Where an `up` runs it, a project that has no state yet or cannot be opened is one with a problem; otherwise that
    raises HomeostatError.
    """
    from homeostat.flows.queries.status import find_overdue, status

    beats = [read_heartbeat(note.root / HEARTBEAT_FILE)[1] for note in notes if "runner" in note.services and note.runs]
    try:
        loop = open_for_reading(folder, from_)
        standing = status(loop)
    except HomeostatError as fault:
        if not notes:
            raise
        return {"project": folder.resolve().name, "healthy": False, "problems": [fault.message]}
    own = [beat[loop.project.name]["problem"] for beat in beats if loop.project.name in beat]
    problems = [problem for problem in own if problem]
    if beats and not loop.replaying and (oldest := find_overdue(loop, now)) is not None:
        problems.append(f"ticks have been overdue since {instant(oldest)}")
    standing["problems"] += problems
    standing["healthy"] = not standing["problems"]
    return standing


def stand_of_all(places: Sequence[Path], from_: From | None, notes: Sequence[Note], now: datetime) -> Standing:
    """Where every project of some places stands, with the services that run them."""
    projects = []
    for entry in list_projects(places):
        if entry.project is None:
            projects.append({"project": entry.folder.name, "healthy": False, "problems": [entry.problem]})
            continue
        try:
            projects.append(stand_of_project(entry.folder, from_, notes, now))
        except HomeostatError as fault:
            projects.append({"project": entry.project.name, "healthy": False, "problems": [fault.message]})
    problems = list_problems(notes)
    healthy = not problems and all(project["healthy"] for project in projects)
    return {"healthy": healthy, "problems": problems, "projects": projects, "services": list_services(notes)}


def _because(problem: str | None) -> str:
    return f": it {problem}" if problem else ""
