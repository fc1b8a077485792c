"""Stages as Prefect tasks and flows: names, retries and order of runs, and no logic of their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prefect import flow, get_run_logger, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows.claims import claim
from flows.stages import STAGES, due_slots, run_stage, run_tick
from homeostat.durations import instant
from homeostat.errors import HomeostatError
from homeostat.records import Scope

RETRY_SECONDS: list[float] = [1, 5]


def may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a failure may pass by itself: what a person must mend, and what is a bug, is not tried again."""
    fault = state.result(raise_on_failure=False)
    if isinstance(fault, HomeostatError):
        return False
    return isinstance(fault, OSError) or type(fault).__module__ != "builtins"


def _stage_task(stage: str) -> Any:
    @task(
        name=stage,
        task_run_name="{project} {at} " + stage,
        retries=len(RETRY_SECONDS),
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=may_pass,
        cache_policy=NO_CACHE,
    )
    def run(folder: str, project: str, scope: str, at: str) -> dict[str, Any]:
        outcome = run_stage(folder, scope, stage, at)
        told = ", ".join(f"{name} {value}" for name, value in outcome.items())
        get_run_logger().info("%s: %s", stage, told or "nothing to do")
        return outcome

    return run


STAGE_TASKS = {stage: _stage_task(stage) for stage in STAGES}


@flow(name="tick", flow_run_name="{project} tick {at}")
def tick(folder: str, project: str, scope: str, at: str) -> dict[str, Any]:
    """Run the tick at `at` (an ISO instant), each stage a task; a stage that fails fails the run."""
    return run_tick(folder, scope, at, lambda stage: STAGE_TASKS[stage](folder, project, scope, at))


def observed_tick(folder: str, project: str, scope: str, at: str) -> dict[str, Any]:
    """Run a tick as a Prefect flow run that carries the project and the scope as tags."""
    with tags(project, scope):
        return tick(folder, project, scope, at)


def _due_at() -> datetime:
    """When the run was to start, to the second; Prefect's own type of time does not divide by a timedelta."""
    return datetime.fromtimestamp(int(flow_run.scheduled_start_time.timestamp()), UTC)


def _run_name(what: str) -> Callable[[], str]:
    def name() -> str:
        given = flow_run.parameters
        return f"{given['project']} {what} {given.get('at') or instant(_due_at())}"

    return name


@flow(name="tick-due", flow_run_name=_run_name("due"))
def tick_due(folder: str, project: str, scope: str = Scope.LIVE.value) -> list[str]:
    """Run every slot that is due and not done, oldest first, each as a tick of its own; returns the slots."""
    with claim(folder, scope):
        slots = due_slots(folder, _due_at(), scope)
        for at in slots:
            observed_tick(folder, project, scope, at)
    return slots


def _stage_flow(stage: str) -> Any:
    def run(folder: str, project: str, scope: str = Scope.LIVE.value, at: str | None = None) -> dict[str, Any]:
        with claim(folder, scope):
            slots = [at] if at else due_slots(folder, _due_at(), scope)[:1]
            return {slot: STAGE_TASKS[stage](folder, project, scope, slot) for slot in slots}

    # A module entrypoint finds a flow by the name of its function.
    run.__name__ = run.__qualname__ = f"{stage}_flow"
    run.__doc__ = f"Run {stage} for the tick at `at`, or for the oldest slot that is due and not done."
    return flow(name=stage, flow_run_name=_run_name(stage))(run)


STAGE_FLOWS = {stage: _stage_flow(stage) for stage in STAGES}
(
    ingest_flow, predict_flow, collect_flow, feedback_flow, check_flow, decide_flow, act_flow, ask_flow, notify_flow,
) = STAGE_FLOWS.values()  # fmt: skip
