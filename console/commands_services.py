"""Commands that run services: `up` serves a project's schedule, its Prefect and its MLflow."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import typer

from console.arguments import HERE, Folder
from console.output import progress_bar, say, say_facts

if TYPE_CHECKING:
    from homeostat.project import Project
    from homeostat.settings import House


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("up")(up)


def up(folder: Folder = HERE) -> None:
    """Start the Prefect and the MLflow server on the project's state and run its ticks as they fall due.

    Runs until Ctrl-C, and leaves no process behind. Servers that PREFECT_API_URL and MLFLOW_TRACKING_URI name are used
    instead of servers of its own.
    """
    from flows.claims import exclusive
    from flows.deployments import find_schedule, work
    from flows.loop import open_loop
    from homeostat.project import load_project
    from homeostat.records import Scope
    from homeostat.settings import find_house, state_folder

    project = load_project(folder)
    find_schedule(project)
    house = find_house(project, Scope.LIVE)
    with exclusive(state_folder(project) / "up", f"'homeostat up' of {project.name!r}"), ExitStack() as services:
        open_loop(folder, Scope.LIVE)
        with progress_bar(f"up {project.name}") as tell:
            prefect, mlflow = _start(house, services, tell)
        _tell(project, prefect, mlflow)
        with suppress(KeyboardInterrupt):
            work(project, house, say)
    say(f"{project.name} is down.")


def _start(house: House, services: ExitStack, tell: Callable[[int, int, str], None]) -> tuple[str, str]:
    from flows.servers import mlflow_server, prefect_server

    tell(0, 2, "starting MLflow")
    mlflow = services.enter_context(mlflow_server(house))
    tell(1, 2, "starting Prefect")
    prefect = services.enter_context(prefect_server(house))
    tell(2, 2, "started")
    return prefect.removesuffix("/api"), mlflow


def _tell(project: Project, prefect: str, mlflow: str) -> None:
    from homeostat.durations import format_duration, instant

    grid = f"every {format_duration(project.loop.tick)}, counted from {instant(project.start_at)}"
    cron = project.schedule.cron
    facts = {"Prefect": prefect, "MLflow": mlflow, "ticks": grid if cron is None else f"by the cron line {cron!r}"}
    say_facts(f"{project.name} is up; Ctrl-C ends it", facts)
