"""A project's flows as Prefect deployments: the tick on its schedule, each stage on demand."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

from flows.processes import follow, spawn, stop, tail
from homeostat.errors import HomeostatError, ProjectError
from homeostat.project import Project, load_project
from homeostat.settings import House

QUIET = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"


def build_deployments(project: Project) -> list[Any]:
    """The deployments of a project: `tick-due/NAME` with its schedule, and `STAGE/NAME` for every stage.

    One run of the tick at a time; what comes meanwhile waits. Raises ProjectError on a cron that is none.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.types.entrypoint import EntrypointType

    from flows.tick import STAGE_FLOWS, tick_due

    common: dict[str, Any] = {
        "name": project.name,
        "parameters": {"folder": str(project.folder), "project": project.name, "scope": "live"},
        "tags": [project.name, "live"],
        "entrypoint_type": EntrypointType.MODULE_PATH,
    }
    one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    scheduled = tick_due.to_deployment(schedule=find_schedule(project), concurrency_limit=one, **common)
    return [scheduled, *(stage.to_deployment(**common) for stage in STAGE_FLOWS.values())]


def find_schedule(project: Project) -> Any:
    """The cron of `[schedule]` in its time zone; without one, the grid of ticks itself.

    Raises ProjectError on a cron that is none.
    """
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    if project.schedule.cron is None:
        return IntervalSchedule(interval=project.loop.tick, anchor_date=project.start_at, timezone="UTC")
    zone = project.schedule.timezone or project.data.timezone or "UTC"
    try:
        return CronSchedule(cron=project.schedule.cron, timezone=zone)
    except ValueError:
        raise ProjectError(
            f"{project.file}: schedule.cron: {project.schedule.cron!r} is not a cron line.",
            "Write five fields, as in '0 6 * * *' for every day at six.",
        ) from None


def deploy(project: Project) -> list[UUID]:
    """Register the project's deployments with the current Prefect server, without running any; their ids."""
    return [deployment.apply() for deployment in build_deployments(project)]


def serve(project: Project) -> None:
    """Register the deployments and run what falls due, in the foreground, until interrupted.

    Each run is a process of its own, which logs to the console.
    """
    from prefect import serve as serve_deployments

    os.environ.pop(QUIET, None)
    os.environ["PYTHONSAFEPATH"] = "1"
    serve_deployments(*build_deployments(project), print_starting_message=False)


def work(project: Project, house: House, tell: Callable[[str], None]) -> None:
    """Serve the project beside us and tell what it logs, until interrupted; it ends with us.

    It is a process of its own, so that Ctrl-C reaches us alone: a tick that runs is then ended in order, and Prefect
    is told. Raises HomeostatError where it ends by itself.
    """
    log = house.prefect_home / "worker.log"
    process = spawn(["flows.deployments", str(project.folder)], {}, log)
    try:
        follow(process, log, tell)
    finally:
        stop(process)
    raise HomeostatError(f"the process that runs the ticks ended: {tail(log)}", f"See {log}, then run 'up' again.")


if __name__ == "__main__":
    serve(load_project(sys.argv[1]))
