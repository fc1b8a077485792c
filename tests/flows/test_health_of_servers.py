"""What doctor says of real Prefect and MLflow servers: well, without a scheduler, and with hosts that it refuses."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import house_at, small_project

from homeostat.flows.health.services import GRACE, check_mlflow, check_prefect
from homeostat.flows.orchestration.deployments import SWEEP_ANCHOR, SWEEP_EVERY, deploy
from homeostat.flows.servers.local import mlflow_server, prefect_server
from homeostat.flows.servers.spec import MLFLOW_SERVER
from homeostat.project import load_project

DEPLOY = """
import sys
from homeostat.flows.orchestration.deployments import SWEEP_ANCHOR, SWEEP_EVERY, deploy
from homeostat.project import load_project
deploy(load_project(sys.argv[1]))
"""


def now() -> datetime:
    return datetime.now(UTC)


def later() -> datetime:
    """When the deployments made by these tests are just old enough to be judged by."""
    return now() + GRACE + timedelta(seconds=1)


def let_a_near_sweep_pass() -> None:
    """Wait for a moment from which no sweep falls due for a minute: one that nobody takes is told, and rightly."""
    left = (SWEEP_ANCHOR - now()) % SWEEP_EVERY
    if left < timedelta(minutes=1):
        time.sleep(left.total_seconds() + 1)


def states(found: list) -> dict[str, str]:
    return {each.name: each.state for each in found}


def test_a_scheduler_that_plans_is_well(prefect_api: str, tmp_path: Path) -> None:
    assert check_prefect(prefect_api, now)[2].state == "ok"
    let_a_near_sweep_pass()
    deploy(load_project(small_project(tmp_path, start=now().replace(microsecond=0) - timedelta(hours=12))))
    deadline = time.monotonic() + 120
    while (told := check_prefect(prefect_api, later)[2]).state != "ok" and time.monotonic() < deadline:
        time.sleep(1)
    assert told.state == "ok" and told.message.startswith("it has planned runs of")


def test_a_scheduler_that_is_dead_is_a_problem_though_the_server_is_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED", "false")
    with prefect_server(house_at(tmp_path)) as url:
        # Beside us: this process keeps to the server that all tests share.
        subprocess.run([sys.executable, "-c", DEPLOY, str(small_project(tmp_path / "p"))], check=True)
        server, clock, scheduler = check_prefect(url, later)
        young = check_prefect(url, now)[2]
    assert (server.state, scheduler.state, young.state) == ("ok", "problem", "ok")
    assert "it plans no run for small" in scheduler.message and "sqlalchemy" in scheduler.advice
    assert clock.state == "warning" and "behind this machine's" in clock.message


def test_an_mlflow_server_that_answers_is_well_and_one_that_refuses_the_host_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MLFLOW_SERVER, "MLFLOW_SERVER_ALLOWED_HOSTS", "127.0.0.1:*")
    with mlflow_server(house_at(tmp_path)) as url:
        fine = check_mlflow(url, now)
        (refused,) = check_mlflow(url.replace("127.0.0.1", "localhost"), now)
    assert states(fine) == {"mlflow": "ok", "clock of mlflow": "ok"}
    assert refused.state == "problem" and "403" in refused.message and "MLFLOW_SERVER_ALLOWED_HOSTS" in refused.advice
