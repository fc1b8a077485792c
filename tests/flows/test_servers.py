from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import house_at
from prefect.client.orchestration import get_client

from homeostat.errors import HomeostatError
from homeostat.flows.servers.local import mlflow_server, prefect_server

PARENT = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from conftest import house_at
from prefect.client.orchestration import get_client

from homeostat.flows.servers.local import prefect_server
with prefect_server(house_at(Path(sys.argv[1]))):
    print("up", flush=True)
    time.sleep(600)
"""


def group_of(home: Path) -> int:
    """The process group of the server that runs in `home`."""
    return json.loads((home / "server.json").read_text())["pid"]


def alive(group: int) -> bool:
    """Whether any process of the group still runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def ends_within(group: int, seconds: float) -> bool:
    """Whether the group is gone within so many seconds."""
    deadline = time.monotonic() + seconds
    while alive(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive(group)


def test_an_embedded_server_ends_with_its_block_and_the_environment_is_as_before(tmp_path: Path) -> None:
    paths, before = house_at(tmp_path), dict(os.environ)
    with prefect_server(paths) as url:
        group = group_of(paths.prefect_home)
        assert os.environ["PREFECT_API_URL"] == url
        assert alive(group)
        with urllib.request.urlopen(url.removesuffix("/api") + "/ui-settings") as settings:
            assert json.load(settings)["api_url"] == url
    assert not alive(group)
    assert dict(os.environ) == before


def test_an_embedded_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    args = [sys.executable, "-c", PARENT, str(tmp_path), *map(str, Path(__file__).parents[:2])]
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        group = group_of(tmp_path / "prefect")
        parent.send_signal(signal.SIGKILL)
    assert ends_within(group, 30)


def test_a_second_user_of_a_project_shares_its_server(prefect_api: str, prefect_home: Path) -> None:
    group = group_of(prefect_home)
    with prefect_server(house_at(prefect_home.parent)) as url:
        assert url == prefect_api
    assert alive(group)


def test_a_server_named_by_the_environment_is_adopted(prefect_api: str, tmp_path: Path) -> None:
    with prefect_server(house_at(tmp_path, prefect_api)) as url:
        assert url == prefect_api
    assert not (tmp_path / "prefect").exists()


def test_a_server_inside_the_block_of_another_is_the_one_that_is_told(prefect_api: str, tmp_path: Path) -> None:
    def told() -> str:
        with get_client(sync_client=True) as client:
            return str(client.api_url).rstrip("/")

    assert told() == prefect_api
    with prefect_server(house_at(tmp_path)) as url:
        assert url != prefect_api
        assert told() == url
    assert told() == prefect_api


def test_a_named_server_that_does_not_answer_is_one_clear_line(tmp_path: Path) -> None:
    with (
        pytest.raises(HomeostatError, match=r"PREFECT_API_URL: no server answers at http://127\.0\.0\.1:9/api"),
        prefect_server(house_at(tmp_path, "http://127.0.0.1:9/api")),
    ):
        pass


def test_a_server_that_cannot_start_says_why_and_where_its_log_is(tmp_path: Path) -> None:
    paths = house_at(tmp_path)
    paths.prefect_home.mkdir()
    (paths.prefect_home / "prefect.db").write_text("not a database " * 100)
    with pytest.raises(HomeostatError, match=r"ended while it started: .*server\.log"), prefect_server(paths):
        pass


def test_the_mlflow_server_answers_in_two_processes_and_ends_with_its_block(tmp_path: Path) -> None:
    with mlflow_server(house_at(tmp_path)) as url:
        group = group_of(tmp_path / "mlflow")
        with urllib.request.urlopen(f"{url}/version") as answer:
            assert answer.status == 200
        groups = [os.getpgid(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit()]
        assert groups.count(group) <= 2
    assert not alive(group)
