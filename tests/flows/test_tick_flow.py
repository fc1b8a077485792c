from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import START, small_project
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, TaskRunFilter
from prefect.states import Failed
from sqlalchemy.exc import OperationalError

from homeostat.durations import instant
from homeostat.errors import DataError, HomeostatError
from homeostat.flows.orchestration.tick import STAGE_FLOWS, may_pass, observed_tick, tick_due
from homeostat.flows.stages.sequence import STAGES

AT = instant(START)
ENDED = TaskRunFilter.model_validate({"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}})


def read_run(name: str, tasks: int) -> tuple[Any, list[Any]]:
    """The newest flow run of this name and its task runs, once so many of them are recorded as ended."""
    named = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while True:
            run = client.read_flow_runs(flow_run_filter=named)[-1]
            done = client.read_task_runs(flow_run_filter=named, task_run_filter=ENDED)
            if len(done) >= tasks or time.monotonic() > deadline:
                return run, sorted(done, key=lambda t: t.start_time)
            time.sleep(0.2)


def test_runs_tell_project_tick_and_stage(prefect_api: str, tmp_path: Path) -> None:
    outcome = observed_tick(str(small_project(tmp_path)), "small", "live", AT)
    run, tasks = read_run(f"small tick {AT}", len(STAGES))
    assert list(outcome) == list(STAGES)
    assert run.state_name == "Completed"
    assert {"small", "live"} <= set(run.tags)
    assert [t.name for t in tasks] == [f"small {AT} {stage}" for stage in STAGES]


def test_a_stage_run_by_itself_takes_the_oldest_slot_that_is_due(prefect_api: str, tmp_path: Path) -> None:
    outcome = STAGE_FLOWS["ingest"](str(small_project(tmp_path)), "alone")
    assert list(outcome) == [AT]
    with get_client(sync_client=True) as client:
        assert "alone ingest 20" in " ".join(run.name for run in client.read_flow_runs())


def test_a_mistake_of_the_user_fails_the_run_at_once(prefect_api: str, tmp_path: Path) -> None:
    folder = small_project(tmp_path)
    (folder / "inputs.parquet").unlink()
    with pytest.raises(HomeostatError, match=r"inputs\.parquet"):
        observed_tick(str(folder), "mistaken", "live", AT)
    run, tasks = read_run(f"mistaken tick {AT}", 1)
    assert run.state_name == "Failed"
    assert [(t.name, t.run_count) for t in tasks] == [(f"mistaken {AT} ingest", 1)]


def test_a_fault_that_passes_is_tried_again(prefect_api: str) -> None:
    tries: list[int] = []

    @task(retries=2, retry_condition_fn=may_pass)
    def shaky() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionResetError("the line was cut")
        return len(tries)

    @flow
    def run() -> int:
        return shaky()

    assert run() == 2


@pytest.mark.parametrize(
    ("fault", "again"),
    [
        (OSError("disk"), True),
        (TimeoutError(), True),
        (OperationalError("select", {}, Exception("locked")), True),
        (DataError("no such file"), False),
        (KeyError("a bug"), False),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(fault: Exception, again: bool) -> None:
    assert may_pass(None, None, Failed(data=fault)) is again


def test_with_nothing_due_the_tick_completes(prefect_api: str, tmp_path: Path) -> None:
    folder = small_project(tmp_path, start=START.replace(year=2099))
    assert tick_due(str(folder), "later") == []
