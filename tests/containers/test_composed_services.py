"""No engine is at hand, so what compose.yaml runs is run as processes: the same commands with the same environment.

Host names, ports and folders stand for those of the containers; PostgreSQL is a real one of this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import composed
import pytest
from composed import ROOT
from ports import free_port

LAST = datetime(2013, 12, 22, tzinfo=UTC)
TICKS = 3
# Every tenth flight, moved by whole weeks so that the newest is of these days: what is due are a few ticks.
HOOKS = """
import importlib.util
from datetime import timedelta
from pathlib import Path

import polars as pl

spec = importlib.util.spec_from_file_location("flights_as_they_were", Path(__file__).with_name("original.py"))
flights = importlib.util.module_from_spec(spec)
spec.loader.exec_module(flights)
build_features = flights.build_features


def _moved(frame, until):
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    frame = frame.filter(pl.col("id").hash(0) % 10 == 0).with_columns(pl.col(times) + timedelta(weeks=WEEKS))
    return frame if until is None else frame.filter(pl.col("known_at") <= until)


def load_inputs(folder, since=None, until=None):
    return _moved(flights.load_inputs(folder), until)


def load_feedback(folder, until=None):
    return _moved(flights.load_feedback(folder), until)
"""


@dataclass
class Machine:
    """One machine in the place of all containers: where each of their names, ports and folders is here."""

    folder: Path
    postgresql: str
    databases: dict[str, str]
    ports: dict[str, int] = field(default_factory=lambda: {n: free_port() for n in ("mlflow", "prefect", "console")})

    def here(self, text: str, service: str) -> str:
        """A text of compose.yaml as it must be on this machine."""
        owner, _, address = self.postgresql.rpartition("@")
        password = owner.partition(":")[2]
        text = text.replace(
            f"homeostat:{composed.GIVEN['POSTGRES_PASSWORD']}@postgres:5432", f"homeostat:{password}@{address}"
        )
        for base, name in self.databases.items():
            text = re.sub(rf"({re.escape(address)})/{base}\b", rf"\1/{name}", text)
        inside = {"mlflow": 5000, "prefect": 4200, "console": 8321}
        for name, port in inside.items():
            text = re.sub(rf"\b({name}|127\.0\.0\.1):{port}\b", f"127.0.0.1:{self.ports[name]}", text)
            text = str(self.ports[name]) if text == str(port) else text
        text = "127.0.0.1" if text == "0.0.0.0" else text
        places = {"/state": f"state-{'prefect' if service == 'prefect' else 'shared'}", "/artifacts": "artifacts"}
        for place, name in {**places, "/projects": "projects"}.items():
            text = re.sub(rf"(?<![\w.:]){place}\b", str(self.folder / name), text)
        return text.replace("/opt/homeostat/healthy.py", str(ROOT / "docker" / "healthy.py"))

    def environment(self, service: str) -> dict[str, str]:
        """What a container of the service would find in its environment, and nothing of the tests' own."""
        image = dict(re.findall(r"(PYTHON\w+|GIT\w+|MLFLOW\w+|PREFECT\w+|HOMEOSTAT\w+)=([\w/]+)", _dockerfile_env()))
        own = {name: os.environ[name] for name in ("PYTHONPATH", "LANG") if name in os.environ}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        told = {**image, **composed.services()[service]["environment"]}
        home = {"HOME": str(self.folder / f"home-{service}"), "PATH": path}
        return {**own, **home, **{name: self.here(value, service) for name, value in told.items()}}

    def words(self, service: str, words: list[str]) -> list[str]:
        """A command of compose.yaml, for this machine."""
        return [self.here(word, service) for word in words]


def _dockerfile_env() -> str:
    return (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").rpartition("FROM ")[2]


@contextmanager
def running(machine: Machine, service: str) -> Iterator[Path]:
    """A service of compose.yaml as a process, ended with its children; its log."""
    words = machine.words(service, composed.command(composed.services()[service]))
    log, place = machine.folder / f"{service}.log", machine.folder / f"work-{service}"
    for folder in (place, machine.folder / f"home-{service}"):
        folder.mkdir(parents=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            words, cwd=place, env=machine.environment(service), stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def check(machine: Machine, service: str) -> bool:
    """Whether the health check of a service in compose.yaml passes."""
    words = machine.words(service, composed.services()[service]["healthcheck"]["test"][1:])
    done = subprocess.run(words, env=machine.environment(service), capture_output=True, check=False)
    return done.returncode == 0


def until(true: Callable[[], Any], what: str, log: Path, seconds: float = 180) -> Any:
    """Wait until something is so; what it is."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what}: {log.read_text(encoding='utf-8', errors='replace')[-4000:]}"
        time.sleep(0.5)
    return found


def ask(url: str, body: dict[str, Any] | None = None, token: str | None = None) -> Any:
    """What a server of this machine answers, to whoever the token says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, data, headers)
    with opener.open(request, timeout=30) as answer:
        return json.load(answer)


def flights(folder: Path) -> Path:
    """The example of flights, its history moved to these days and every tenth of it."""
    # Midnight in New York is some hours later than here.
    weeks = (datetime.now(UTC) - timedelta(hours=6) - LAST) // timedelta(weeks=1)
    start = LAST + timedelta(weeks=weeks - TICKS + 1)
    shutil.copytree(ROOT / "examples" / "flights", folder, ignore=shutil.ignore_patterns(".homeostat"))
    (folder / "hooks.py").rename(folder / "original.py")
    (folder / "hooks.py").write_text(HOOKS.replace("WEEKS", str(weeks)), encoding="utf-8")
    file = folder / "homeostat.toml"
    text = re.sub(r"^start = .*$", f'start = "{start.date()}"', file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    file.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def databases(postgresql_server: str) -> Iterator[dict[str, str]]:
    """The databases that docker/databases.sql and POSTGRES_DB make, under names of this test."""
    import psycopg

    script = (ROOT / "docker" / "databases.sql").read_text(encoding="utf-8")
    names = {name: f"{name}_{uuid.uuid4().hex[:8]}" for name in ("homeostat", *re.findall(r"DATABASE (\w+)", script))}
    with psycopg.connect(f"postgresql://{postgresql_server}/postgres", autocommit=True) as connection:
        for name in names.values():
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        yield names
        for name in names.values():
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.mark.long
def test_the_composed_services_run_the_loop_of_flights(
    tmp_path: Path, postgresql_server: str, databases: dict[str, str]
) -> None:
    machine = Machine(tmp_path, postgresql_server, databases)
    flights(tmp_path / "projects" / "flights")
    prefect = f"http://127.0.0.1:{machine.ports['prefect']}/api"
    mlflow = f"http://127.0.0.1:{machine.ports['mlflow']}/api/2.0/mlflow"
    with ExitStack() as stack:
        logs = {name: stack.enter_context(running(machine, name)) for name in ("mlflow", "prefect")}
        for name, log in logs.items():
            until(lambda name=name: check(machine, name), f"{name} is not healthy", log)
        runner = stack.enter_context(running(machine, "runner"))
        until(lambda: check(machine, "runner"), "the runner is not healthy", runner)
        token = _open_console(machine, stack)
        due = until(lambda: _deployment(prefect, "tick-due", "flights"), "nothing is deployed", runner)
        ask(f"{prefect}/deployments/{due}/create_flow_run", {"state": {"type": "SCHEDULED"}})
        until(lambda: _completed_ticks(prefect) >= TICKS, "the ticks did not end", runner, 400)
        _holds(machine, mlflow)
        (told,) = ask(f"http://127.0.0.1:{machine.ports['console']}/api/v1/projects", token=token)
        assert (told["name"], told["healthy"]) == ("flights", True)
    assert_nothing_is_left(machine)


def _deployment(prefect: str, flow: str, name: str) -> str | None:
    try:
        return ask(f"{prefect}/deployments/name/{flow}/{name}")["id"]
    except OSError:
        return None


def _completed_ticks(prefect: str) -> int:
    runs = ask(f"{prefect}/flow_runs/filter", {"flows": {"name": {"any_": ["tick"]}}})
    failed = [run["name"] for run in runs if run["state_type"] in ("FAILED", "CRASHED")]
    assert not failed
    return sum(run["state_type"] == "COMPLETED" for run in runs)


def _open_console(machine: Machine, stack: ExitStack) -> str:
    """Give somebody access, as docs/guides/docker.md says, and open the page; their token."""
    add = [str(Path(sys.executable).parent / "homeostat"), "access", "add", "ann", "--role", "admin", "--json"]
    added = subprocess.run(add, env=machine.environment("console"), check=True, capture_output=True)
    console = stack.enter_context(running(machine, "console"))
    until(lambda: check(machine, "console"), "the console is not healthy", console)
    return json.loads(added.stdout)["token"]


def _holds(machine: Machine, mlflow: str) -> None:
    """What the loop did is in PostgreSQL and on the servers, and nowhere else."""
    import psycopg

    url = f"postgresql://{machine.postgresql}/{machine.databases['homeostat']}"
    with psycopg.connect(url) as connection:
        states = connection.execute("SELECT state, count(*) FROM batches GROUP BY state").fetchall()
        owners = connection.execute("SELECT DISTINCT owner FROM journal").fetchall()
    assert dict(states)["scored"] >= TICKS - 1 and owners == [("flights",)]
    found = ask(f"{mlflow}/registered-models/alias?name=flights&alias=champion")["model_version"]
    assert found["name"] == "flights"
    experiments = ask(f"{mlflow}/experiments/search", {"max_results": 10})["experiments"]
    places = {each["name"]: each["artifact_location"] for each in experiments if each["name"].startswith("flights/")}
    assert set(places) == {"flights/training", "flights/monitoring"}
    assert all(place.startswith("mlflow-artifacts:/") for place in places.values())
    kept = [file.name for file in (machine.folder / "artifacts").rglob("*") if file.is_file()]
    assert {"MLmodel", "golden.parquet", "evidently.html"} <= set(kept)
    ours = machine.folder / "state-shared"
    assert list((ours / "flights" / "live" / "lake" / "predictions").glob("*.parquet"))
    elsewhere = [file for file in machine.folder.rglob("*") if file.name in ("MLmodel", "mlflow.db", "store.db")]
    assert all(file.is_relative_to(machine.folder / "artifacts") for file in elsewhere)
    assert not list(machine.folder.rglob("mlruns")) and not list(machine.folder.rglob("mlartifacts"))
    assert not list((machine.folder / "projects").rglob(".homeostat"))


def assert_nothing_is_left(machine: Machine) -> None:
    """No process of these services lives."""
    deadline = time.monotonic() + 30
    while (left := _processes(machine)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def _processes(machine: Machine) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if str(machine.folder).encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return [line for line in found if line]
