from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import START, small_project
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.flows import Flow

from homeostat.errors import ProjectError
from homeostat.flows.orchestration.deployments import build_deployments, deploy, find_schedule
from homeostat.flows.stages.sequence import STAGES
from homeostat.project import load_project

SCHEDULED = FlowRunFilter.model_validate({"tags": {"all_": ["auto-scheduled", "small"]}})


def test_a_cron_is_read_in_the_time_zone_of_the_schedule(tmp_path: Path) -> None:
    extra = '[schedule]\ncron = "0 6 * * *"\ntimezone = "Europe/Berlin"'
    schedule = find_schedule(load_project(small_project(tmp_path, extra=extra)))
    assert (schedule.cron, schedule.timezone) == ("0 6 * * *", "Europe/Berlin")


def test_without_a_cron_the_schedule_is_the_grid_of_ticks(tmp_path: Path) -> None:
    schedule = find_schedule(load_project(small_project(tmp_path)))
    assert (schedule.interval, schedule.anchor_date) == (timedelta(days=1), START)


def test_a_cron_that_is_none_names_file_and_key(tmp_path: Path) -> None:
    project = load_project(small_project(tmp_path, extra='[schedule]\ncron = "daily at six"'))
    with pytest.raises(ProjectError, match=r"homeostat\.toml: schedule\.cron: 'daily at six'"):
        find_schedule(project)


def test_every_deployment_is_a_module_entrypoint_that_leads_to_a_flow(tmp_path: Path) -> None:
    built = build_deployments(load_project(small_project(tmp_path)))
    found = [deployment.entrypoint.rsplit(".", 1) for deployment in built]
    assert [module for module, _ in found] == ["homeostat.flows.orchestration.tick"] * (6 + len(STAGES))
    assert all(isinstance(getattr(importlib.import_module(module), name), Flow) for module, name in found)


def test_a_stage_may_have_a_cron_of_its_own(tmp_path: Path) -> None:
    extra = '[schedule]\ntimezone = "Europe/Berlin"\n[schedule.stages]\nmonitor = "5 * * * *"\nretrain = "0 3 * * 0"'
    built = build_deployments(load_project(small_project(tmp_path, extra=extra)))
    crons = {each.flow_name: each.schedules[0].schedule for each in built if each.schedules}
    assert set(crons) == {"tick-due", "sweep", "check", "retrain"}
    assert (crons["check"].cron, crons["check"].timezone) == ("5 * * * *", "Europe/Berlin")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ('[schedule.stages]\nmonitor = "hourly"', r"schedule\.stages\.monitor: 'hourly' is not a cron expression"),
        ('[schedule.stages]\ndecide = "0 * * * *"', r"schedule\.stages\.decide"),
        ('[schedule]\narrivals = "now"', r"schedule\.arrivals"),
    ],
)
def test_a_mistake_in_the_schedule_names_its_key(tmp_path: Path, extra: str, words: str) -> None:
    with pytest.raises(ProjectError, match=words):
        build_deployments(load_project(small_project(tmp_path, extra=extra)))


def test_deploying_twice_leaves_one_deployment_a_flow(prefect_api: str, tmp_path: Path) -> None:
    project = load_project(small_project(tmp_path, start=START.replace(year=2099)))
    assert deploy(project) == deploy(project)
    with get_client(sync_client=True) as client:
        for deployment in deploy(project).values():
            client.delete_deployment(deployment)


@pytest.mark.long
def test_a_cron_deployment_fires_on_a_real_server(prefect_api: str, tmp_path: Path) -> None:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)
    folder = small_project(tmp_path, start=start, extra='[schedule]\ncron = "* * * * *"')
    command = [
        sys.executable,
        "-m",
        "homeostat.flows.orchestration.runner",
        "--root",
        str(tmp_path),
        "--poll",
        "1",
        str(folder),
    ]
    with (tmp_path / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        run = _first_finished(180)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    output = (tmp_path / "serve.log").read_text()
    assert run is not None and run.state_name == "Completed", output
    assert run.name.startswith("small due 20")
    assert run.deployment_id is not None
    with get_client(sync_client=True) as client:
        assert f"small tick {start.isoformat().replace('+00:00', 'Z')}" in {r.name for r in client.read_flow_runs()}
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def _first_finished(seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            for run in client.read_flow_runs(flow_run_filter=SCHEDULED):
                if " due " in run.name and run.state is not None and run.state.is_final():
                    return run
            time.sleep(1)
    return None
