"""The health of projects and of the services that run them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeostat.console.arguments import From, open_for_reading
from homeostat.console.supervision.keeper import WELL
from homeostat.console.supervision.notes import Note, ServiceState
from homeostat.console.titles import title_of
from homeostat.errors import HomeostatError
from homeostat.flows.orchestration.heartbeat import HEARTBEAT_FILE, read_heartbeat
from homeostat.installation import list_projects

if TYPE_CHECKING:
    from homeostat.flows.health.problems import Problem

Standing = dict[str, Any]
"""What `status --json` prints of a project or of all: healthy, problems, services and more."""


def list_services(notes: Sequence[Note]) -> dict[str, ServiceState]:
    """Every service of these notes by name; those of an `up` that died are failing."""
    services: dict[str, ServiceState] = {}
    for note in notes:
        dead = {"state": "failing", "pid": None, "problem": "ended with its 'homeostat up', which was killed"}
        services |= {name: service if note.runs else service | dead for name, service in note.services.items()}
    return services


def list_problems(notes: Sequence[Note]) -> list[Problem]:
    """What is wrong with the services of these notes."""
    from homeostat.flows.health.problems import Problem, ProblemCode

    killed = "start it again, or 'homeostat down'"
    problems = [
        Problem(
            ProblemCode.SERVICE,
            f"'homeostat up' was killed (process {note.content.get('pid', 'unknown')}); {killed}",
        )
        for note in notes if not note.runs
    ]  # fmt: skip
    for note in (note for note in notes if note.runs):
        for name, service in note.services.items():
            if service["state"] not in WELL:
                message = f"{title_of(name)} is {service['state']}" + _because(service.get("problem"))
                problems.append(Problem(ProblemCode.SERVICE, message, None, f"See 'homeostat logs {name}'."))
    return problems


def add_problems(standing: Standing, problems: Sequence[Problem]) -> Standing:
    """The same, with more problems; healthy where there is none."""
    messages = [*standing.get("problems", ()), *(problem.message for problem in problems)]
    details = [*standing.get("problem_details", ()), *(problem.as_json() for problem in problems)]
    return standing | {"healthy": not messages, "problems": messages, "problem_details": details}


def stand_of_project(folder: Path, from_: From | None, notes: Sequence[Note], now: datetime) -> Standing:
    """Where a project's loop stands, and its problems, with those of the runner that ticks it.

    Where an `up` runs it, a project that has no state yet or cannot be opened is one with a problem; otherwise that
    raises HomeostatError.
    """
    from homeostat.flows.health.problems import Problem, ProblemCode
    from homeostat.flows.queries.status import status

    beats = [read_heartbeat(note.root / HEARTBEAT_FILE)[1] for note in notes if "runner" in note.services and note.runs]
    try:
        loop = open_for_reading(folder, from_)
        standing = status(loop, now)
    except HomeostatError as fault:
        if not notes:
            raise
        return _unreadable(folder.resolve().name, fault.message)
    own = [beat[loop.project.name]["problem"] for beat in beats if loop.project.name in beat]
    return add_problems(standing, [Problem(ProblemCode.RUNNER, problem) for problem in own if problem])


def stand_of_all(places: Sequence[Path], from_: From | None, notes: Sequence[Note], now: datetime) -> Standing:
    """Where every project of some places stands, with the services that run them."""
    projects = []
    for entry in list_projects(places):
        if entry.project is None:
            projects.append(_unreadable(entry.folder.name, entry.problem or "it cannot be read"))
            continue
        try:
            projects.append(stand_of_project(entry.folder, from_, notes, now))
        except HomeostatError as fault:
            projects.append(_unreadable(entry.project.name, fault.message))
    whole = add_problems({}, list_problems(notes))
    healthy = whole["healthy"] and all(project["healthy"] for project in projects)
    return whole | {"healthy": healthy, "projects": projects, "services": list_services(notes)}


def _unreadable(name: str, message: str) -> Standing:
    """A project that cannot be opened."""
    from homeostat.flows.health.problems import Problem, ProblemCode

    return {"project": name} | add_problems({}, [Problem(ProblemCode.UNREADABLE, message)])


def _because(problem: str | None) -> str:
    return f": it {problem}" if problem else ""
