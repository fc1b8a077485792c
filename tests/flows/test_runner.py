"""The runner finds projects by itself, wakes what looks after an event, and goes on after kills and restarts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import small_project
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound

from homeostat.flows.events import LABELS_ARRIVED, announce
from homeostat.flows.loop import open_loop
from homeostat.flows.orchestration.automations import WAKES, automation_name
from homeostat.flows.orchestration.heartbeat import HEARTBEAT_FILE
from homeostat.records import Scope

ENDED = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)


def project_named(folder: Path, name: str, extra: str = "", **ago: float) -> Path:
    """A small project of a name that began so long ago."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(**(ago or {"hours": 12}))
    file = small_project(folder, start=start, extra=extra) / "homeostat.toml"
    file.write_text(file.read_text().replace('name = "small"', f'name = "{name}"'))
    return folder


@contextmanager
def runner(root: Path, shelf: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A runner of the projects in a folder, ended with the block, whatever it left."""
    root.mkdir(parents=True, exist_ok=True)
    shelf.mkdir(parents=True, exist_ok=True)
    with (root / "runner.log").open("ab") as log:
        command = [
            sys.executable,
            "-m",
            "homeostat.flows.orchestration.runner",
            "--root",
            str(root),
            "--poll",
            "1",
            str(shelf),
        ]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(what: Callable[[], Any], root: Path, seconds: float = 120) -> Any:
    """Wait until something is true of the world, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            pytest.fail(f"it never came: {(root / 'runner.log').read_text()[-3000:]}")
        time.sleep(0.5)
    return found


def heartbeat(root: Path) -> dict[str, Any]:
    file = root / HEARTBEAT_FILE
    return json.loads(file.read_text()) if file.exists() else {"projects": {}}


def runs_of(flow: str, project: str) -> list[Any]:
    """The runs of a deployment that have ended, oldest first."""
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(f"{flow}/{project}")
        except ObjectNotFound:
            return []
        wanted = FlowRunFilter.model_validate({"deployment_id": {"any_": [deployment.id]}})
        found = client.read_flow_runs(flow_run_filter=wanted)
    return sorted((r for r in found if r.state_type in ENDED), key=lambda r: r.expected_start_time)


def deployments_of(project: str) -> set[str]:
    with get_client(sync_client=True) as client:
        named = DeploymentFilter.model_validate({"name": {"any_": [project]}})
        return {client.read_flow(d.flow_id).name for d in client.read_deployments(deployment_filter=named)}


def automations_of(project: str) -> list[str]:
    with get_client(sync_client=True) as client:
        names = [automation_name(project, words) for words, _ in WAKES.values()]
        return [found.name for name in names for found in client.read_automations_by_name(name)]


def ticks_of(folder: Path) -> int:
    return open_loop(folder, Scope.LIVE).store.count_ticks("notify")


@pytest.mark.long
def test_a_runner_takes_up_mends_and_lets_go_projects_by_itself(prefect_api: str, tmp_path: Path) -> None:
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    with runner(root, shelf):
        wait_for(lambda: heartbeat(root).get("pid"), root)
        folder = project_named(shelf / "dropped", "dropped")
        first = wait_for(lambda: runs_of("sweep", "dropped"), root)
        assert [run.state_name for run in first] == ["Completed"]
        assert ticks_of(folder) == 1
        assert {"tick-due", "sweep", "arrivals", "labels", "deliver", "ingest", "act"} <= deployments_of("dropped")
        assert len(automations_of("dropped")) == len(WAKES)

        # The first tick decided to train; whoever it woke found nothing left to do.
        woken = wait_for(lambda: runs_of("act", "dropped"), root)
        assert woken[0].state.message == "skipped: no tick is due"

        # New rows in the watched file are scored without waiting for the next tick.
        file = folder / "inputs.parquet"
        rows = pl.read_parquet(file)
        late = rows.head(5).with_columns(id=pl.col("id") + 10_000, at=pl.lit(datetime.now(UTC) - timedelta(minutes=1)))
        pl.concat([rows, late.select(rows.columns).cast(rows.schema)]).write_parquet(file)
        wait_for(lambda: runs_of("arrivals", "dropped"), root)

        assert announce(LABELS_ARRIVED, "dropped", {"rows": 3})
        told = wait_for(lambda: runs_of("labels", "dropped"), root)[0]
        assert (told.state_name, told.created_by.type) == ("Completed", "AUTOMATION")

        toml = folder / "homeostat.toml"
        sound = toml.read_text()
        toml.write_text(sound + '[schedule]\ncron = "daily"\n')
        problem = wait_for(lambda: heartbeat(root)["projects"].get("dropped", {}).get("problem"), root)
        assert "schedule.cron: 'daily' is not a cron expression" in problem
        toml.write_text(sound + '[schedule]\ncron = "0 6 * * *"\n[schedule.stages]\nmonitor = "30 * * * *"\n')
        wait_for(lambda: heartbeat(root)["projects"]["dropped"]["problem"] is None, root)
        wait_for(lambda: crons_of("dropped") == {"tick-due": "0 6 * * *", "check": "30 * * * *"}, root)

        toml.unlink()
        wait_for(lambda: not deployments_of("dropped"), root)
        assert automations_of("dropped") == []


def crons_of(project: str) -> dict[str, str]:
    with get_client(sync_client=True) as client:
        named = DeploymentFilter.model_validate({"name": {"any_": [project]}})
        found = client.read_deployments(deployment_filter=named)
        timed = [(client.read_flow(d.flow_id).name, s.schedule) for d in found for s in d.schedules]
    return {flow: schedule.cron for flow, schedule in timed if isinstance(schedule, CronSchedule)}


@pytest.mark.long
def test_a_killed_runner_leaves_no_run_that_seems_to_go_on(prefect_api: str, tmp_path: Path) -> None:
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    folder = project_named(shelf / "killed", "killed", days=3)
    with runner(root, shelf) as process:
        wait_for(lambda: "ingest" in (root / "runner.log").read_text(), root)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    assert ticks_of(folder) < 4
    with runner(root, shelf):
        wait_for(lambda: ticks_of(folder) == 4, root)
        ended = wait_for(lambda: len(found := runs_of("sweep", "killed")) == 2 and found, root)
        assert [run.state_name for run in ended] == ["Crashed", "Completed"]
        wanted = {"state": {"type": {"any_": ["RUNNING"]}}, "tags": {"all_": ["killed", "live"]}}
        running = FlowRunFilter.model_validate(wanted)
        with get_client(sync_client=True) as client:
            wait_for(lambda: client.read_flow_runs(flow_run_filter=running) == [], root)


def test_nobody_to_tell_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert announce(LABELS_ARRIVED, "told", {"rows": 3}) is False
    monkeypatch.delenv("PREFECT_API_URL")
    assert announce(LABELS_ARRIVED, "told", {"rows": 3}) is False
