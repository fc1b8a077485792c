"""Stages as Prefect tasks and flows: names, retries and order of runs, and no logic of their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prefect import flow, get_run_logger, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from homeostat.durations import instant
from homeostat.errors import BusyError, HomeostatError
from homeostat.flows.events import ALERT_RAISED, RETRAINING_DECIDED, announce
from homeostat.flows.locks import claim
from homeostat.flows.loop import Loop, open_loop
from homeostat.flows.operations import between, manual
from homeostat.flows.orchestration.artifacts import describe_outcome, leave_artifacts
from homeostat.flows.orchestration.orphaned_runs import end_orphaned_ticks
from homeostat.flows.stages.catch_up import CatchUp, due_ticks
from homeostat.flows.stages.sequence import STAGES, due_slots, list_due, run_stage, run_tick
from homeostat.records import Scope

RETRY_SECONDS: list[float] = [1, 5]
# How long a run waits for another to end before it leaves the work to it.
PATIENCE_SECONDS = 20
LIVE = Scope.LIVE.value
Outcome = dict[str, Any]
"""What a stage did, in plain values."""
Result = Outcome | list[str] | State
"""What a flow returns: what it did, the slots that it ran, or a state of Prefect's where it was skipped."""
Work = Callable[[Loop], Result]


def may_pass(_task: object, _run: object, state: State) -> bool:
    """Whether a failure may pass by itself: a mistake that a person must fix, or a bug, is not retried."""
    fault = state.result(raise_on_failure=False)
    if isinstance(fault, HomeostatError):
        return False
    return isinstance(fault, OSError) or type(fault).__module__ != "builtins"


def _stage_task(stage: str) -> Callable[..., Outcome]:
    @task(
        name=stage,
        task_run_name="{project} {at} " + stage,
        retries=len(RETRY_SECONDS),
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=may_pass,
        cache_policy=NO_CACHE,
    )
    def run(folder: str, project: str, scope: str, at: str, begun_at: datetime | None = None) -> Outcome:
        outcome = run_stage(folder, scope, stage, at, datetime.now(UTC) if scope == LIVE else None, begun_at)
        get_run_logger().info("%s: %s", stage, describe_outcome(outcome, stage))
        if stage == "decide" and scope == LIVE and outcome.get("decision") != "wait":
            announce(RETRAINING_DECIDED, project, {"at": at, "kind": outcome.get("decision")})
        return outcome

    return run


STAGE_TASKS = {stage: _stage_task(stage) for stage in STAGES}


@flow(name="tick", flow_run_name="{project} tick {at}")
def tick(folder: str, project: str, scope: str, at: str, begun_at: datetime | None = None) -> Outcome:
    """Run the tick at `at` (an ISO instant), each stage a task; a stage that fails fails the run.

    `begun_at` is when the ticks that it is run with were listed.
    """
    outcomes = run_tick(folder, scope, at, lambda stage: STAGE_TASKS[stage](folder, project, scope, at, begun_at))
    if scope == LIVE:
        leave_artifacts(open_loop(folder, Scope.LIVE), at, outcomes)
    return outcomes


def observed_tick(folder: str, project: str, scope: str, at: str, begun_at: datetime | None = None) -> Outcome:
    """Run a tick as a Prefect flow run that carries the project and the scope as tags."""
    with tags(project, scope):
        return tick(folder, project, scope, at, begun_at)


def _due_at() -> datetime:
    """When the run was to start, to the second; Prefect's own type of time does not divide by a timedelta."""
    return datetime.fromtimestamp(int(flow_run.scheduled_start_time.timestamp()), UTC)


def _now() -> datetime:
    """The clock of this process, and never before the time for which its run was scheduled."""
    return max(datetime.now(UTC), _due_at())


def _run_name(what: str) -> Callable[[], str]:
    def name() -> str:
        given = flow_run.parameters
        return f"{given['project']} {what} {given.get('at') or instant(_due_at())}"

    return name


def _claimed(folder: str, scope: str, work: Work) -> Result:
    """Do work under the project's claim; where another run has it, end quietly: that one looks for what is due."""
    try:
        with claim(folder, scope, wait=PATIENCE_SECONDS) as loop:
            return work(loop)
    except BusyError as fault:
        return _skipped(str(fault))


def _between(folder: str, project: str, scope: str, work: Work) -> Result:
    """Do work between ticks; then the ticks that fell due meanwhile, whose own run may have found us at work."""

    def and_ticks(loop: Loop) -> Result:
        done = work(loop)
        _run_due(loop, folder, project, scope)
        return done

    return _claimed(folder, scope, and_ticks)


def _skipped(why: str) -> State:
    get_run_logger().info("skipped: %s", why)
    return Completed(message=f"skipped: {why}")


def _report(loop: Loop, outcome: Outcome) -> Result:
    """Log what was done between ticks, and wake the delivery of the alerts it raised."""
    if outcome.get("skipped"):
        return _skipped(outcome["skipped"])
    get_run_logger().info("%s", describe_outcome(outcome))
    if waiting := loop.store.list_alerts(undelivered=True):
        announce(ALERT_RAISED, loop.project.name, {"alerts": [alert.key for alert in waiting]})
    return outcome


def _run_due(loop: Loop, folder: str, project: str, scope: str) -> list[str]:
    """Run what is due, and what falls due meanwhile: a run that was skipped in between counts on it."""
    done: list[str] = []
    if list_due(loop, _now()):
        end_orphaned_ticks(project, scope)
    while list_due(loop, _now()):
        how = CatchUp(loop.project.schedule.catch_up)
        now = _now()
        for at in due_ticks(loop, now, how, lambda passed: get_run_logger().info("%s", passed.message)):
            observed_tick(folder, project, scope, at, now)
            done.append(at)
        loop = open_loop(folder, Scope(scope))
    return done


@flow(name="tick-due", flow_run_name=_run_name("due"))
def tick_due(folder: str, project: str, scope: str = LIVE) -> Result:
    """Run every slot that is due and not done, oldest first, each as a tick of its own; returns the slots."""
    if not due_slots(folder, _now(), scope):
        return []
    return _claimed(folder, scope, lambda loop: _run_due(loop, folder, project, scope))


@flow(name="sweep", flow_run_name=_run_name("sweep"))
def sweep(folder: str, project: str, scope: str = LIVE) -> Result:
    """Do whatever is due and not done, because an event was lost or a run was killed; nothing where nothing is."""
    if not between.find_work(open_loop(folder, Scope(scope)), _now()):
        return []

    def work(loop: Loop) -> list[str]:
        done: list[str] = []
        if between.find_work(loop, _now()) == ["ticks"]:
            done = [f"tick {at}" for at in _run_due(loop, folder, project, scope)]
        for name in between.find_work(loop, _now()):
            get_run_logger().info("%s: %s", name, between.do_work(loop, _now(), name))
            done.append(name)
        return done

    return _claimed(folder, scope, work)


@flow(name="arrivals", flow_run_name=_run_name("arrivals"))
def arrivals(folder: str, project: str, scope: str = LIVE) -> Result:
    """Take in and score what is new now, as a batch of its own between ticks."""
    return _between(folder, project, scope, lambda loop: _report(loop, between.arrivals(loop, _now())))


@flow(name="labels", flow_run_name=_run_name("labels"))
def labels(folder: str, project: str, scope: str = LIVE) -> Result:
    """Collect answers and take in the labels known by now."""
    return _between(folder, project, scope, lambda loop: _report(loop, between.labels(loop, _now())))


@flow(name="deliver", flow_run_name=_run_name("deliver"))
def deliver(folder: str, project: str, scope: str = LIVE) -> Result:
    """Deliver the alerts that wait and anchor the journal."""

    def work(loop: Loop) -> Result:
        outcome = between.deliver(loop, _now())
        get_run_logger().info("%s", describe_outcome(outcome))
        return outcome

    return _between(folder, project, scope, work)


@flow(name="retrain", flow_run_name=_run_name("retrain"))
def retrain(folder: str, project: str, scope: str = LIVE) -> Result:
    """Train, compare on fresh rows, and promote or refuse, whatever the policy would have waited for."""

    def work(loop: Loop) -> Result:
        if list_due(loop, _now()):
            return _skipped("a tick is due, which comes first")
        return _report(loop, manual.retrain(loop, _now(), between.WHO))

    return _between(folder, project, scope, work)


WITHOUT_TICK: dict[str, Callable[[Loop, datetime], Outcome]] = {
    "ingest": lambda loop, at: manual.ingest(loop, at, between.WHO),
    "predict": lambda loop, at: manual.predict(loop, at, between.WHO),
    "collect": lambda loop, at: between.collect(loop, at),
    "feedback": lambda loop, at: manual.feedback(loop, at, between.WHO),
    "check": lambda loop, at: manual.monitor(loop, at, between.WHO),
    "notify": between.deliver,
}


def _stage_flow(stage: str) -> Any:
    def run(folder: str, project: str, scope: str = LIVE, at: str | None = None) -> Result:
        def work(loop: Loop) -> Result:
            slots = [at] if at else list_due(loop, _now())[:1]
            if slots:
                return _in_turn(loop, folder, project, scope, slots[0], stage, asked=at is not None)
            if stage in WITHOUT_TICK and loop.store.last_tick("notify") is not None:
                return _report(loop, WITHOUT_TICK[stage](loop, _now()))
            return _skipped("no tick is due")

        return _claimed(folder, scope, work)

    # A module entrypoint finds a flow by the name of its function.
    run.__name__ = run.__qualname__ = f"{stage}_flow"
    run.__doc__ = f"Run {stage} for the tick at `at`, or for the oldest slot that is due and not done, or now."
    return flow(name=stage, flow_run_name=_run_name(stage))(run)


def _in_turn(loop: Loop, folder: str, project: str, scope: str, slot: str, stage: str, *, asked: bool) -> Result:
    """Run a stage of a slot; unless a person asked for this slot, only where all stages before it are done."""
    at = datetime.fromisoformat(slot)
    before = STAGES[: STAGES.index(stage)]
    missing = [name for name in before if loop.store.get_stage(at, name) is None]
    if missing and not asked:
        return _skipped(f"the tick at {slot} has yet to run {missing[0]}")
    return {slot: STAGE_TASKS[stage](folder, project, scope, slot)}


STAGE_FLOWS = {stage: _stage_flow(stage) for stage in STAGES}
(
    ingest_flow, predict_flow, collect_flow, feedback_flow, check_flow, decide_flow, act_flow, ask_flow, notify_flow,
) = STAGE_FLOWS.values()  # fmt: skip
