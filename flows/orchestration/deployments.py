"""A project's flows as Prefect deployments: tick and sweep on their schedules, the rest when woken or by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from homeostat.errors import HomeostatError, ProjectError
from homeostat.project import Project

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
    from prefect.deployments.runner import RunnerDeployment

    Schedule = CronSchedule | IntervalSchedule

JobVariables = Mapping[str, str | Mapping[str, str]]
"""What a run in a work pool is given: its image, and variables of its environment."""
SWEEP_EVERY = timedelta(minutes=15)
SWEEP_ANCHOR = datetime(2020, 1, 1, 0, 7, tzinfo=UTC)
MARK = "homeostat"
# What `[schedule.stages]` calls a stage, where its flow has another name.
TIMED_FLOWS = {"monitor": "check"}
# What a run on another machine must be told; values are taken from where it runs unless they hold no secret.
PASSED_ON = (
    "HOMEOSTAT_HOME", "HOMEOSTAT_LAKE_URI", "HOMEOSTAT_STORE_URL", "MLFLOW_TRACKING_URI", "PREFECT_API_URL",
)  # fmt: skip


def build_deployments(project: Project) -> list[RunnerDeployment]:
    """The deployments of a project: FLOW/NAME for the flows of `homeostat.flows.orchestration.tick`.

    `tick-due` and `sweep` are on schedules; `arrivals`, `labels`, `deliver`, `retrain` and each stage wait to be asked,
    unless `[schedule.stages]` says otherwise. None limits how many of its runs go on at once: the claim of a project
    does, and it is free once its holder is dead, where a limit would wait for a run that Prefect still calls running.
    Raises ProjectError on a cron that is none.
    """
    from prefect.client.schemas.schedules import IntervalSchedule
    from prefect.types.entrypoint import EntrypointType

    from homeostat.flows.orchestration import tick

    schedules: dict[str, Schedule] = {
        "tick-due": find_schedule(project),
        "sweep": IntervalSchedule(interval=SWEEP_EVERY, anchor_date=SWEEP_ANCHOR, timezone="UTC"),
    }
    for stage, cron in project.schedule.stages.items():
        schedules[TIMED_FLOWS.get(stage, stage)] = _cron(project, cron, f"schedule.stages.{stage}")
    flows = [
        tick.tick_due, tick.sweep, tick.arrivals, tick.labels, tick.deliver, tick.retrain, *tick.STAGE_FLOWS.values()
    ]  # fmt: skip
    return [
        stage_flow.to_deployment(
            name=project.name,
            parameters={"folder": str(project.folder), "project": project.name, "scope": "live"},
            tags=[MARK, project.name, "live"],
            schedules=[schedules[stage_flow.name]] if stage_flow.name in schedules else [],
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for stage_flow in flows
    ]


def find_schedule(project: Project) -> Any:
    """The cron of `[schedule]` in its time zone; without one, the grid of ticks itself.

    Raises ProjectError on a cron that is none.
    """
    from prefect.client.schemas.schedules import IntervalSchedule

    if project.schedule.cron is None:
        return IntervalSchedule(interval=project.loop.tick, anchor_date=project.start_at, timezone="UTC")
    return _cron(project, project.schedule.cron, "schedule.cron")


def _cron(project: Project, line: str, key: str) -> CronSchedule:
    from cronsim import CronSim, CronSimError
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSim(line, project.start_at)
        return CronSchedule(cron=line, timezone=project.schedule.timezone or project.data.timezone or "UTC")
    except (ValueError, CronSimError):
        raise ProjectError(
            f"{project.file}: {key}: {line!r} is not a cron expression.",
            "Expected five fields, as in '0 6 * * *' for every day at six.",
        ) from None


def deploy(project: Project, pool: str | None = None, image: str | None = None) -> dict[str, UUID]:
    """Register the project's deployments and automations with the current Prefect server, without running any.

    Returns the ids of the deployments by their flows. With `pool` a worker of that work pool runs them, from `image`
    where its kind takes one. Raises HomeostatError where there is no such pool, or it wants an image and got none.
    """
    import asyncio

    return asyncio.run(_deploy(project, build_deployments(project), pool, image))


async def _deploy(
    project: Project, built: list[RunnerDeployment], pool: str | None, image: str | None
) -> dict[str, UUID]:
    from prefect.client.orchestration import get_client

    from homeostat.flows.orchestration.automations import put_automations

    ids = {}
    async with get_client() as client:
        variables = {} if pool is None else await _job_variables(client, pool, image)
        for deployment in built:
            place_in(deployment, pool, variables)
            ids[deployment.flow_name] = await deployment.aapply()
        await put_automations(client, project.name, ids)
    return ids


def place_in(deployment: RunnerDeployment, pool: str | None, variables: JobVariables) -> None:
    """Say which pool runs a deployment: None for the runner, which an earlier pool must be taken from."""
    deployment.work_pool_name = pool
    deployment.work_queue_name = None
    if pool is not None:
        deployment.job_variables = dict(variables)


async def _job_variables(client: PrefectClient, pool: str, image: str | None) -> JobVariables:
    """What a run in a pool is given: where it works, or its image, and the variables of the environment it needs."""
    from prefect.exceptions import ObjectNotFound

    try:
        work_pool = await client.read_work_pool(pool)
    except ObjectNotFound:
        known = ", ".join(sorted(known_pool.name for known_pool in await client.read_work_pools())) or "none"
        raise HomeostatError(
            f"deploy: the Prefect server has no work pool {pool!r}; it has {known}.",
            f"Create it with 'prefect work-pool create {pool} --type process' (or docker, or kubernetes).",
        ) from None
    environment = _environment(os.environ)
    if work_pool.type == "process":
        if image is not None:
            raise HomeostatError(f"deploy: work pool {pool!r} runs processes, not images.", "Omit --image.")
        return {"env": environment | {"PYTHONSAFEPATH": "1"}}
    if work_pool.type not in ("docker", "kubernetes"):
        raise HomeostatError(
            f"deploy: work pool {pool!r} is of type {work_pool.type!r}; expected process, docker or kubernetes."
        )
    if image is None:
        raise HomeostatError(f"deploy: work pool {pool!r} runs images.", "Name one with --image.")
    return {"image": image, "env": environment}


def _environment(known: Mapping[str, str]) -> dict[str, str]:
    """The variables that runs are given: addresses that hold no password. Secrets belong to the worker's own."""
    return {name: known[name] for name in PASSED_ON if known.get(name) and "@" not in known[name]}
