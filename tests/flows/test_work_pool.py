"""`homeostat deploy`: the deployments on a work pool, and a worker that runs a tick of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import small_project
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from homeostat.errors import HomeostatError
from homeostat.flows.loop import open_loop
from homeostat.flows.orchestration.deployments import deploy
from homeostat.flows.stages.sequence import STAGES
from homeostat.project import load_project
from homeostat.records import Scope

COMMAND = [sys.executable, "-c", "from homeostat.console.main import main; main()", "deploy"]


def make_pool(name: str, kind: str) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type=kind), overwrite=True)


def test_a_worker_of_a_process_pool_runs_a_tick(prefect_api: str, tmp_path: Path) -> None:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)
    folder = small_project(tmp_path / "pooled", start=start)
    make_pool("here", "process")
    done = subprocess.run([*COMMAND, str(folder), "--work-pool", "here", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["work_pool"] == "here"
    assert len(told["deployments"]) == 6 + len(STAGES)
    with get_client(sync_client=True) as client:
        tick = client.read_deployment_by_name("tick-due/small")
        assert tick.work_pool_name == "here"
        assert "@" not in json.dumps(tick.job_variables)
        run = client.create_flow_run_from_deployment(tick.id)
    worker = subprocess.run(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "here", "--run-once", "--type", "process"],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    with get_client(sync_client=True) as client:
        while (found := client.read_flow_run(run.id)).state_name != "Completed" and time.monotonic() < deadline:
            time.sleep(0.5)
        assert found.state_name == "Completed", worker.stdout + worker.stderr
        for name in told["deployments"].values():
            client.delete_deployment(name)
    assert open_loop(folder, Scope.LIVE).store.count_ticks("notify") == 1


@pytest.mark.parametrize(
    ("pool", "kind", "image", "words"),
    [
        ("absent", None, None, "has no work pool 'absent'.*prefect work-pool create absent --type process"),
        ("boxes", "docker", None, "runs images. Name one with --image"),
        ("procs", "process", "team/loop:1", "runs processes, not images"),
        ("clouds", "ecs", None, "expected process, docker or kubernetes"),
    ],
)
def test_a_pool_that_does_not_fit_is_told_in_a_line(
    prefect_api: str, tmp_path: Path, pool: str, kind: str | None, image: str | None, words: str
) -> None:
    if kind is not None:
        make_pool(pool, kind)
    with pytest.raises(HomeostatError, match=words):
        deploy(load_project(small_project(tmp_path)), pool, image)


def test_an_image_gets_addresses_and_no_secret(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("HOMEOSTAT_LAKE_URI", "s3://key:secret@bucket/lake")
    make_pool("images", "kubernetes")
    ids = deploy(load_project(small_project(tmp_path)), "images", "team/loop:1")
    with get_client(sync_client=True) as client:
        given = client.read_deployment(ids["tick-due"]).job_variables
        for each in ids.values():
            client.delete_deployment(each)
    assert given["image"] == "team/loop:1"
    assert given["env"] == {"PREFECT_API_URL": prefect_api, "MLFLOW_TRACKING_URI": "http://mlflow:5000"}


def test_without_a_server_or_a_pool_deploy_says_what_to_set(tmp_path: Path) -> None:
    folder = str(small_project(tmp_path))
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run([*COMMAND, folder], capture_output=True, text=True, env=env)
    assert (done.returncode, "PREFECT_API_URL is not set" in done.stderr) == (2, True)
