"""`homeostat up`: four services are kept running, everybody can see how they are, and nothing is left when it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import shells
from shells import homeostat, warm

from homeostat.flows.servers.local import prefect_server
from homeostat.project import load_project
from homeostat.records import Scope
from homeostat.settings import find_paths

SERVICES = {"prefect", "mlflow", "console", "runner"}
USUAL = (4200, 5000, 8321)
NAMES = ("shop", "depot", "broken")
NEVER = "2099-01-01T00:00:00Z"
YESTERDAY = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - 86_400))


def project_named(name: str, start: str = NEVER, more: str = "") -> str:
    """A small project's file, of another name and start."""
    return shells.PROJECT.replace('"small"', f'"{name}"').replace("2020-01-07T00:00:00Z", start) + more


def everybody(folder: Path) -> list[str]:
    """The command lines of all processes that name a folder, this test's own aside."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with suppress(OSError):
                words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                if str(folder).encode() in words:
                    found.append((process / "cmdline").read_text())
    return found


def shared(services: Iterable[str]) -> set[str]:
    """Of the names of services those that all projects share; a project that was moved in may have one of its own."""
    return {name for name in services if "-" not in name}


def wait_until(true: Callable[[], Any], what: Callable[[], Any], seconds: float = 180) -> None:
    """Wait until something is so; says what is there instead where that takes too long."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


@dataclass
class Up:
    """An `up` that runs: its process, what it prints, and the folders it was given."""

    process: subprocess.Popen[bytes]
    out: Path
    folder: Path
    root: Path

    def text(self) -> str:
        """All it has printed."""
        return self.out.read_text(encoding="utf-8")

    def services(self) -> dict[str, dict[str, Any]]:
        """What its note says of the services."""
        with suppress(OSError):
            for note in self.root.glob("services*.json"):
                return json.loads(note.read_text(encoding="utf-8"))["services"]
        return {}

    def states(self) -> dict[str, str]:
        """The state of each service."""
        return {name: each["state"] for name, each in self.services().items()}

    def await_words(self, words: str) -> None:
        """Wait until it has printed these words."""
        wait_until(lambda: words in self.text() or self.process.poll() is not None, self.text)
        assert words in self.text(), self.text()


def _heed_the_terminal() -> None:
    """Let a process notice that its terminal is gone, though these tests may run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def up(folder: Path, out: Path, *options: str, **environ: str) -> Iterator[Up]:
    """The services of a folder, killed at the end if they are still there."""
    with out.open("wb") as file:
        command = [str(shells.PROGRAM), "up", str(folder), *options]
        environment = shells._environ(environ)
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=environment, start_new_session=True, preexec_fn=_heed_the_terminal
        )
    try:
        yield Up(process, out, folder, folder / ".homeostat")
    finally:
        if process.poll() is None:
            process.kill()


def answer_of(url: str, body: Any = None) -> Any:
    """What a local server answers, read as JSON where it is that."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with opener.open(request, timeout=30) as answer:
        assert answer.status == 200
        text = answer.read()
    return json.loads(text) if text[:1] in b"[{" else text


@pytest.fixture(scope="module")
def busy_ports() -> Iterator[None]:
    """Other programs listen on all the usual ports."""
    listeners = []
    for port in USUAL:
        listener = socket.socket()
        # Connections that were closed lately must not keep it from listening.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            listener.bind(("127.0.0.1", port))
            listener.listen()
        listeners.append(listener)
    yield
    for listener in listeners:
        listener.close()


@dataclass
class Shelves:
    """Folders of three projects, one of which is broken; the newest of them is up as long as a test wants it."""

    base: Path
    made: int = 0
    opened: ExitStack = field(default_factory=ExitStack)
    running: Up | None = None

    def get(self) -> Up:
        """An `up` with all services healthy; a new one where a test has ended the one before."""
        if self.running is None or self.running.process.poll() is not None:
            self.made += 1
            self.running = self.opened.enter_context(self._put_up(self.base / str(self.made)))
        return self.running

    @contextmanager
    def _put_up(self, place: Path) -> Iterator[Up]:
        folder = place / "projects"
        shop = project_named("shop", YESTERDAY, '[schedule]\ncron = "* * * * *"\n')
        shells.small(folder / "shop", project=shop, begun=False)
        shells.small(folder / "depot", project=project_named("depot"), begun=False)
        shells.small(folder / "broken", project=project_named("broken").replace("task =", "tsk ="), begun=False)
        with up(folder, place / "out") as running:
            running.await_words("is up; Ctrl-C stops it")
            yield running


@pytest.fixture(scope="module")
def shelves(busy_ports: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelves]:
    made = Shelves(tmp_path_factory.mktemp("installation"))
    with made.opened:
        yield made


@pytest.fixture
def shelf(shelves: Shelves) -> Up:
    """An `up` of a folder of three projects, one of which is broken, with all services healthy."""
    running = shelves.get()
    wait_until(lambda: set(running.states().values()) == {"healthy"}, running.services)
    return running


def test_all_is_healthy_although_the_usual_ports_are_taken(shelf: Up) -> None:
    assert shared(shelf.states()) == SERVICES and set(shelf.states().values()) == {"healthy"}
    urls = {name: each["url"] for name, each in shelf.services().items() if each["url"]}
    assert not {int(url.rpartition(":")[2]) for url in urls.values()} & set(USUAL)
    assert all(re.search(rf"(?m)^  \w+ +{url}$", shelf.text()) for url in urls.values())
    assert answer_of(f"{urls['console']}/healthz")["healthy"] is True
    assert b"<html" in answer_of(urls["mlflow"]) and b"<html" in answer_of(urls["prefect"])


def test_projects_run_side_by_side_and_a_broken_one_is_told_without_stopping_them(shelf: Up) -> None:
    shelf.await_words("broken: ")
    assert "'tsk'" in shelf.text() or "tsk" in shelf.text()
    prefect = shelf.services()["prefect"]["url"]

    def deployed() -> set[str]:
        found = answer_of(f"{prefect}/api/deployments/filter", {})
        return {each["name"] for each in found}

    wait_until(lambda: {"shop", "depot"} <= deployed(), deployed)
    assert (shelf.root / "mlflow.db").exists()


def test_a_second_up_of_the_same_projects_is_one_clear_line(shelf: Up) -> None:
    again = warm("up", shelf.folder)
    assert (again.code, len(again.told)) == (2, 1)
    assert f"is already running (process {shelf.process.pid}; prefect http://127.0.0.1:" in again.err
    assert shelf.services()["console"]["url"] in again.err


def test_servers_that_the_environment_names_are_adopted_and_left_alone(shelf: Up, tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "guest", project=project_named("guest"))
    prefect, mlflow = (shelf.services()[name]["url"] for name in ("prefect", "mlflow"))
    with up(folder, tmp_path / "out", PREFECT_API_URL=f"{prefect}/api", MLFLOW_TRACKING_URI=mlflow) as guest:
        guest.await_words("is up; Ctrl-C stops it")
        assert guest.states() == {"prefect": "adopted", "mlflow": "adopted", "console": "healthy", "runner": "healthy"}
        assert prefect in guest.text() and mlflow in guest.text()
        assert (done := warm("down", folder)).code == 0, done.err
        assert done.out.strip() == "guest is down." and guest.process.wait(10) == 0
    assert everybody(folder) == []
    assert not (guest.root / "prefect" / "prefect.db").exists()
    assert answer_of(f"{prefect}/api/health") and answer_of(f"{mlflow}/health")


def test_what_is_killed_comes_back_on_its_port_and_all_is_healthy_again(shelf: Up) -> None:
    before = shelf.services()
    for each in before.values():
        os.kill(each["pid"], signal.SIGKILL)
    wait_until(
        lambda: all(now["restarts"] > before[name]["restarts"] for name, now in shelf.services().items()),
        shelf.services,
    )
    wait_until(lambda: set(shelf.states().values()) == {"healthy"}, shelf.services)
    now = shelf.services()
    assert {name: each["url"] for name, each in now.items()} == {name: each["url"] for name, each in before.items()}
    assert not {each["pid"] for each in before.values()} & {each["pid"] for each in now.values()}
    assert "Prefect was killed (SIGKILL); restarting" in shelf.text()
    shelf.await_words("Runner is healthy again")


def test_status_is_healthy_once_services_are_and_the_ticks_are_done(shelf: Up) -> None:
    def found() -> dict[str, Any]:
        return json.loads(warm("status", shelf.folder / "shop", "--json").out)

    wait_until(lambda: found()["healthy"], found)
    shop = found()
    assert (shop["project"], shop["champion"], shop["problems"]) == ("shop", 1, [])
    assert shared(shop["services"]) == SERVICES
    whole = warm("status", shelf.folder, "--json")
    assert whole.code == 1
    said = json.loads(whole.out)
    assert (said["healthy"], said["problems"]) == (False, [])
    healthy = {each["project"]: each["healthy"] for each in said["projects"]}
    assert {name: healthy[name] for name in NAMES} == {"shop": True, "depot": False, "broken": False}


def test_logs_are_shown_with_their_service_and_hold_no_key(shelf: Up) -> None:
    told = warm("logs", shelf.folder, "--lines", 2)
    assert {line.split()[0] for line in told.out.splitlines()} >= {"mlflow", "runner"}
    assert len(warm("logs", "runner", shelf.folder, "--lines", 1).out.splitlines()) == 1
    wrong = warm("logs", "nothing", shelf.folder)
    assert (wrong.code, len(wrong.told)) == (2, 1)
    assert "'nothing'" in wrong.err and "runner" in wrong.err
    environ = Path(f"/proc/{shelf.services()['console']['pid']}/environ").read_text()
    key = re.search(r"HOMEOSTAT_SERVICE_KEY=([^\0]{20,})", environ)
    assert key is not None
    kept = [shelf.out, *(shelf.root / "logs").iterdir(), shelf.root / "services.json"]
    assert not [file for file in kept if key[1] in file.read_text(encoding="utf-8", errors="replace")]


def test_a_project_that_is_moved_in_with_its_models_gets_a_server_for_them_and_goes_on(
    shelf: Up, tmp_path: Path
) -> None:
    alone = shells.small(tmp_path / "yard", project=project_named("yard", YESTERDAY))
    assert warm("tick", alone).code == 0
    late = pl.DataFrame({"id": [9001], "at": [datetime.now(UTC) - timedelta(minutes=1)], "x": [0.5]})
    rows = pl.read_parquet(alone / "inputs.parquet")
    pl.concat([rows, late.cast(rows.schema)]).write_parquet(alone / "inputs.parquet")
    moved = shutil.move(alone, shelf.folder / "yard")
    wait_until(lambda: shelf.states().get("mlflow-yard") == "healthy", shelf.services)
    urls = {name: each["url"] for name, each in shelf.services().items()}
    assert urls["mlflow-yard"] != urls["mlflow"]
    asked = f"{urls['mlflow-yard']}/api/2.0/mlflow/registered-models/get?name=yard"
    assert answer_of(asked)["registered_model"]["aliases"] == [{"alias": "champion", "version": "1"}]
    wait_until(lambda: warm("why", moved, 9001).code == 0, lambda: warm("why", moved, 9001))
    assert not alone.exists()


def test_one_of_the_projects_cannot_be_taken_down_alone(shelf: Up) -> None:
    alone = warm("down", shelf.folder / "shop")
    assert (alone.code, len(alone.told)) == (2, 1)
    assert f"'homeostat down {shelf.folder}' stops them" in alone.err


def test_ctrl_c_ends_everything_and_leaves_no_process(shelf: Up) -> None:
    os.killpg(shelf.process.pid, signal.SIGINT)
    assert shelf.process.wait(90) == 0
    assert shelf.text().rstrip().endswith("depot, shop is down.")
    assert "Traceback" not in shelf.text()
    assert everybody(shelf.folder) == []
    assert not (shelf.root / "services.json").exists()
    assert warm("down", shelf.folder).out.strip().endswith("nothing is running.")


def test_in_the_background_commands_share_its_server_and_nothing_survives_the_supervisor(
    busy_ports: None, tmp_path: Path
) -> None:
    folder = shells.small(tmp_path / "small", project=project_named("small"))
    begun = homeostat("up", folder, "--detach", "--json")
    assert begun.code == 0, begun.err
    note = json.loads(begun.out)
    assert {each["state"] for each in note["services"].values()} == {"healthy"}
    with prefect_server(find_paths(load_project(folder), Scope.LIVE)) as url:
        assert url == f"{note['services']['prefect']['url']}/api"
    os.kill(note["pid"], signal.SIGKILL)
    wait_until(lambda: not everybody(folder), lambda: everybody(folder), 60)
    told = warm("status", folder, "--json")
    assert told.code == 1
    assert any("'homeostat up' was killed" in problem for problem in json.loads(told.out)["problems"])
    assert warm("down", folder).out.strip() == "small: nothing is running."
    assert not (folder / ".homeostat" / "services.json").exists()


def test_a_project_that_was_broken_while_it_ran_can_be_taken_down(tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "small", project=project_named("small"))
    with up(folder, tmp_path / "out", "--only", "console") as running:
        running.await_words("is up; Ctrl-C stops it")
        (folder / "homeostat.toml").write_text("[project", encoding="utf-8")
        told = json.loads(warm("status", folder, "--json").out)
        assert not told["healthy"] and "homeostat.toml" in told["problems"][0]
        assert (done := warm("down", folder)).code == 0, done.err
        assert running.process.wait(10) == 0
    assert everybody(folder) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_asks_for_the_end_gets_it(number: signal.Signals, tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "small", project=project_named("small"))
    with up(folder, tmp_path / "out", "--only", "console") as running:
        running.await_words("is up; Ctrl-C stops it")
        running.process.send_signal(number)
        assert running.process.wait(60) == 0
    assert running.text().rstrip().endswith("small is down.")
    assert everybody(folder) == []


def test_one_service_alone_on_a_terminal_is_a_screen_that_ctrl_c_ends(tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "small", project=project_named("small"))
    process, screen = pty.fork()
    if not process:
        os.execve(shells.PROGRAM, ["homeostat", "up", str(folder), "--only", "console"], shells._environ({}))
    seen = ""
    while "all healthy" not in seen:
        seen += os.read(screen, 65_536).decode("utf-8", "replace")
    os.write(screen, b"\x03")
    with suppress(OSError):
        while more := os.read(screen, 65_536):
            seen += more.decode("utf-8", "replace")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert "Console" in seen and "● healthy" in seen and "MLflow" not in seen
    assert seen.rstrip().endswith("small is down.") and "Traceback" not in seen
    assert everybody(folder) == []


@pytest.mark.parametrize(
    ("options", "more", "said"),
    [
        ((), '[schedule]\ncron = "daily at six"\n', "schedule.cron: 'daily at six' is not a cron expression"),
        (("--only", "runner"), "", "a Prefect server is needed"),
        (("--port", "99999"), "", "--port 99999: not a port"),
        (("--host", "0.0.0.0"), "", "Run 'homeostat access add NAME --role admin' first"),
    ],
)
def test_what_cannot_work_is_one_clear_line_before_anything_starts(
    options: tuple[str, ...], more: str, said: str, tmp_path: Path
) -> None:
    folder = shells.small(tmp_path / "small", project=project_named("small", more=more))
    told = warm("up", folder, *options)
    assert (told.code, len(told.told), told.out) == (2, 1, "")
    assert said in told.err
    assert not (folder / ".homeostat" / "logs").exists()


def test_the_port_that_was_asked_for_must_be_free(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        told = warm("up", shells.small(tmp_path / "small"), "--port", port)
    assert (told.code, len(told.told)) == (2, 1)
    assert f"--port {port}: in use by another program" in told.err


@pytest.mark.long
def test_a_service_that_hangs_is_started_again(tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "small", project=project_named("small"))
    with up(folder, tmp_path / "out", "--only", "console") as running:
        running.await_words("is up; Ctrl-C stops it")
        os.killpg(running.services()["console"]["pid"], signal.SIGSTOP)
        running.await_words("Console does not answer")
        running.await_words("Console did not answer for 60 s; restarting")
        running.await_words("Console is healthy again")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
    assert everybody(folder) == []
