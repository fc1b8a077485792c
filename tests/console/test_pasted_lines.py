"""What a replay prints last, pasted into a shell that knows nothing of our environment: each line shows the replay."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import shells
from shells import homeostat, warm
from test_up import answer_of, everybody, wait_until

from homeostat.flows.servers.spec import free_port

ORDERS = "my orders"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project in it that was replayed from there; `told` is what that printed."""
    place = tmp_path_factory.mktemp("pasted")
    shells.small(place / ORDERS)
    done = homeostat("replay", ORDERS, cwd=place)
    assert done.code == 0, done.err
    (place / "told").write_text(done.out, encoding="utf-8")
    return place


def line_for(place: Path, title: str) -> str:
    """The line below a title."""
    told = (place / "told").read_text(encoding="utf-8").splitlines()
    (at,) = [number for number, line in enumerate(told) if line.startswith(f"{title}, at http://127.0.0.1:")]
    return told[at + 1]


@contextmanager
def pasted(place: Path, title: str) -> Iterator[str]:
    """What a line starts, at a free port in place of the usual one; yields the address."""
    port = free_port()
    environ = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
    with (place / "server.log").open("wb") as log:
        command = ["sh", "-c", f"{line_for(place, title)} --port {port}"]
        shell = subprocess.Popen(command, cwd=place, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(60)


def await_answer(place: Path, url: str) -> None:
    """Wait until a server answers at an address."""

    def answers() -> bool:
        try:
            return bool(answer_of(url))
        except OSError:
            return False

    wait_until(answers, lambda: (place / "server.log").read_text())


def test_the_page_shows_the_replay_and_no_life_begins(place: Path) -> None:
    with pasted(place, "The result in the web page") as url:
        await_answer(place, f"{url}/healthz")
        page = answer_of(f"{url}/projects/small/overview").decode()
        assert "replay: not live yet" in page
        (project,) = answer_of(f"{url}/api/v1/projects")
        assert (project["name"], project["champion"]) == ("small", 1)
    wait_until(lambda: everybody(place / ORDERS) == [], lambda: everybody(place / ORDERS), 60)
    assert '"scope": "replay"' in warm("status", place / ORDERS, "--json").out


def test_mlflow_holds_the_models_of_the_replay(place: Path) -> None:
    with pasted(place, "Models and checks in MLflow") as url:
        await_answer(place, f"{url}/health")
        found = answer_of(f"{url}/api/2.0/mlflow/registered-models/get?name=small-replay")
        assert found["registered_model"]["aliases"] == [{"alias": "champion", "version": "1"}]


def test_prefect_holds_the_runs_of_the_replay(place: Path) -> None:
    with pasted(place, "Runs in Prefect") as url:
        await_answer(place, f"{url}/api/health")
        runs = answer_of(f"{url}/api/flow_runs/filter", {"flows": {"name": {"any_": ["tick"]}}})
        told = re.search(r"(?m)^ *ticks +(\d+)", (place / "told").read_text(encoding="utf-8"))
        assert told is not None and len(runs) == int(told[1]) > 1


def test_paths_are_from_where_the_person_is_and_programs_those_of_this_environment(place: Path) -> None:
    lines = [line_for(place, title) for title in ("The result in the web page", "Models and checks in MLflow")]
    assert lines[0] == f"  {shells.PROGRAM} up '{ORDERS}' --only console"
    assert lines[1].endswith(f"--backend-store-uri 'sqlite:///{ORDERS}/.homeostat/mlflow.db'")


def test_where_life_has_begun_no_line_promises_the_replay_in_the_page(place: Path, tmp_path: Path) -> None:
    folder = shells.copy_of(place / ORDERS, tmp_path / "p")
    answer = warm("replay", folder, "--no-prefect", "--adopt")
    assert answer.code == 0, answer.err
    assert "MLflow" in answer.out and "web page" not in answer.out
