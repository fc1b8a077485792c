"""The HTTP API, served for real: what is posted is held once, and what is asked is answered in words."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from ports import free_port
from shells import AWAY, PROJECT, START, small

from homeostat.console.web.api.app import PREFIX, group_operations
from homeostat.console.web.api.events import Waker
from homeostat.console.web.app import make_app
from homeostat.console.web.site import Site
from homeostat.console.web.warmup import warm_up
from homeostat.durations import instant
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.stages.feedback import feedback
from homeostat.flows.stages.ingest import ingest
from homeostat.flows.stages.sequence import run_tick
from homeostat.records import LabelTask, PostKind, Purpose, Scope

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "api.md"
DAY = timedelta(days=1)
NOW = START + DAY + timedelta(hours=6)
LONG = START + timedelta(days=36500)
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.M | re.S)


@contextmanager
def served(folder: Path, root: Path) -> Iterator[str]:
    """The real application over a project, in a thread of its own; its address."""
    app = make_app(Site(root, (folder,), lambda: NOW))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has lived for two ticks; a task waits in it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in AWAY:
            patch.delenv(name, raising=False)
        place = tmp_path_factory.mktemp("api")
        folder = small(place / "payments", project=PROJECT.replace('name = "small"', 'name = "payments"'))
        for at in (START, START + DAY):
            run_tick(folder, "live", instant(at))
        return folder


@pytest.fixture
def folder(lived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in AWAY:
        monkeypatch.delenv(name, raising=False)
    yield Path(shutil.copytree(lived, tmp_path / "payments"))
    forget_open_loops()


@pytest.fixture
def loop(folder: Path) -> Loop:
    loop = open_loop(folder, Scope.LIVE)
    with loop.store.write("tasks") as write:
        write.put_task(LabelTask("a/t1", "370", "b", Purpose.MEASURE, 1, NOW, LONG, 0.5))
    return loop


@pytest.fixture
def address(folder: Path, loop: Loop, tmp_path: Path) -> Iterator[str]:
    with served(folder, tmp_path / "root") as url:
        yield url


@pytest.fixture
def api(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{address}{PREFIX}/projects/payments", timeout=60) as client:
        yield client


def rows(*keys: Any) -> dict[str, Any]:
    return {"rows": [{"id": key, "at": "2020-01-08T01:00Z", "x": 0.5} for key in keys]}


def test_what_is_posted_is_held_once_and_reaches_the_lake(api: httpx.Client, loop: Loop) -> None:
    first = api.post("/inputs", json=rows(9001, "9002"), headers={"Idempotency-Key": "a"})
    again = api.post("/inputs", json=rows(9001, "9002"), headers={"Idempotency-Key": "a"})
    other = api.post("/inputs", json=rows(9003), headers={"Idempotency-Key": "a"})
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 422)
    assert (
        first.json() == again.json() and first.json()["rows"] == 2 and "used for other rows" in other.json()["detail"]
    )
    assert api.post("/feedback", json={"rows": [{"id": 9001, "y": 1}]}).status_code == 202
    assert loop.store.count_waiting_posts(PostKind.INPUTS) == loop.store.count_waiting_posts(PostKind.FEEDBACK) == 1
    waits = api.get("/predictions/9001")
    assert waits.status_code == 202 and "waits to be taken in" in waits.json()["detail"]
    assert ingest(loop, NOW + DAY)["rows"] >= 2 and feedback(loop, NOW + DAY)["labels"] >= 1
    assert "waits to be scored" in api.get("/predictions/9001").json()["detail"]
    labels = loop.lake.read("feedback", columns=["id", "label"])
    assert labels is not None and labels.rows().count((9001, "1")) == 1


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/inputs", {"rows": [{"id": 1, "at": "2020-01-01", "z": 1}]}, 422, "rows[0]: 'z' is not a column"),
        ("/inputs", {"rows": [{"id": 1, "att": "2020-01-01"}]}, 422, "rows[0]: the column 'at' is missing"),
        ("/feedback", {"rows": [{"id": 1}]}, 422, "rows[0]: the column 'y' is missing"),
        ("/feedback", {"row": []}, 422, "Expected"),
        ("/inputs", "no", 422, "the body is not JSON"),
        ("/inputs", '{"rows": [{"id": NaN, "at": ""}]}', 422, "NaN is not valid JSON"),
        ("/inputs", "[" * 100_000, 422, "the body is not JSON"),
        ("/inputs", " " * 10_000_001, 413, "at most 10,000,000 bytes"),
        ("/wake", {"what": "lables"}, 422, "what: "),
        ("/tasks/t9/answers", {"label": "1"}, 404, "there is no task 't9'"),
    ],
)
def test_what_has_not_the_right_form_is_refused_in_words(
    api: httpx.Client, loop: Loop, path: str, body: Any, status: int, words: str
) -> None:
    answer = api.post(path, content=body, headers=JSON) if isinstance(body, str) else api.post(path, json=body)
    assert answer.status_code == status and words in answer.json()["detail"]
    assert loop.store.count_waiting_posts(PostKind.INPUTS) == 0


def test_a_key_that_is_none_and_a_project_that_is_none_are_told(api: httpx.Client, address: str) -> None:
    answer = api.post("/inputs", json=rows(1), headers={"Idempotency-Key": "with a space"})
    assert answer.status_code == 422 and "without spaces" in answer.json()["detail"]
    for path in ("", "/decisions", "/predictions/1", "/journal"):
        missing = httpx.get(f"{address}{PREFIX}/projects/none{path}")
        assert missing.status_code == 404 and "there is no project 'none'" in missing.json()["detail"]
    assert httpx.post(f"{address}{PREFIX}/projects/none/inputs", json=rows(1)).status_code == 404


def test_many_posts_at_once_are_all_held(address: str, loop: Loop) -> None:
    async def post_all() -> list[int]:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            url = f"{PREFIX}/projects/payments/feedback"
            posts = [client.post(url, json={"rows": [{"id": key, "y": 1}]}) for key in range(300)]
            return [answer.status_code for answer in await asyncio.gather(*posts)]

    assert asyncio.run(post_all()) == [202] * 300
    held = loop.store.list_posts(PostKind.FEEDBACK, NOW + DAY, "")
    assert sorted(post.rows[0]["id"] for post in held) == list(range(300))
    assert len({post.received_at for post in held}) == 300


def test_what_cannot_be_held_is_not_acknowledged(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_STORE_URL", "postgresql+psycopg://u:s3cret@127.0.0.1:9/db")
    with served(folder, tmp_path / "root") as url:
        answer = httpx.post(f"{url}{PREFIX}/projects/payments/inputs", json=rows(1), timeout=60)
        listed = httpx.get(f"{url}{PREFIX}/projects", timeout=60).json()
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    assert "It was not stored" in answer.json()["detail"] and "s3cret" not in answer.text
    assert listed[0]["name"] == "payments" and not listed[0]["healthy"] and "s3cret" not in str(listed)


def test_stores_are_open_before_the_first_request_whatever_a_project_beside_them_says(tmp_path: Path) -> None:
    folder = small(tmp_path / "new")
    small(tmp_path / "broken", project=PROJECT.replace("task =", "tsk ="))
    try:
        warm_up(Site(tmp_path / "root", (tmp_path,), lambda: NOW)).join(60)
        assert (folder / ".homeostat" / "live" / "store.db").exists()
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        forget_open_loops()


def test_the_next_run_is_when_the_schedule_comes_round_after_the_slot(folder: Path, tmp_path: Path) -> None:
    def told() -> tuple[str, str]:
        with served(folder, tmp_path) as url:
            line = httpx.get(f"{url}{PREFIX}/projects").json()[0]
            page = httpx.get(url).text
        forget_open_loops()
        return line["next_run"], page

    assert told()[0] == "2020-01-09T00:00:00Z"
    file = folder / "homeostat.toml"
    file.write_text(file.read_text() + '[schedule]\ncron = "0 6 * * 5"\ntimezone = "Europe/Berlin"\n')
    at, page = told()
    assert at == "2020-01-10T05:00:00Z"
    assert 'datetime="2020-01-10T05:00:00Z"' in page and "by its schedule, 0 6 * * 5" in page


def test_what_the_loop_did_can_be_asked(api: httpx.Client, address: str, loop: Loop) -> None:
    line = httpx.get(f"{address}{PREFIX}/projects").json()[0]
    assert line["name"] == "payments" and line["champion"] == 1 and line["next_tick"] == "2020-01-09T00:00:00Z"
    assert httpx.get(f"{address}{PREFIX}/projects/payments").json()["posts_waiting"] == {"inputs": 0, "feedback": 0}
    scored = api.get("/predictions/370").json()
    assert scored["latest"] == scored["scores"][0] and 0 <= scored["latest"]["score"] <= 1
    assert api.get("/why/370").json()["model_version"] == 1 and api.get("/why/none").status_code == 404
    assert "never scored" in api.get("/predictions/3").json()["detail"]
    quarantined = api.get("/predictions/7")
    assert quarantined.status_code == 404 and "quarantine" in quarantined.json()["detail"]
    decisions = api.get("/decisions", params={"limit": 2}).json()
    earlier = api.get("/decisions", params={"before": decisions[0]["tick_at"], "limit": 1000}).json()
    assert len(decisions) == 2 and all(each["tick_at"] < decisions[0]["tick_at"] for each in earlier)
    assert {each["stage"] for each in api.get("/decisions", params={"stage": "promotion"}).json()} == {"promotion"}
    assert [each["batch"] for each in api.get("/windows").json()] == [w.batch for w in loop.store.list_windows()]
    journal = api.get("/journal", params={"limit": 2}).json()
    assert [each["seq"] for each in journal + api.get("/journal", params={"after": 2, "limit": 1}).json()] == [1, 2, 3]
    assert api.get("/alerts").json() and api.get("/approvals").json() == []


def test_a_task_is_answered_once_in_ones_own_name_and_taken_back(api: httpx.Client, loop: Loop) -> None:
    (task,) = api.get("/tasks").json()
    assert task["id"] == "a/t1" and task["key"] == "370" and "x" in task["columns"] and task["classes"] == ["0", "1"]
    said = [api.post("/tasks/a/t1/answers", json={"label": 1}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [each.status_code for each in said] == [201, 201] and said[0].json() == said[1].json()
    assert [entry.kind for entry in loop.store.list_journal()].count("answer") == 1
    refused = api.post("/tasks/a/t1/answers", json={"label": 0})
    assert refused.status_code == 409 and "had answered" in refused.json()["detail"]
    other = api.post("/tasks/a/t1/answers", json={"label": 0}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422 and "used for another request" in other.json()["detail"]
    assert api.delete("/tasks/a/t1/answers").json()["label"] == "1" and loop.store.list_answers() == []
    assert api.delete("/tasks/a/t1/answers").status_code == 404


def test_an_alert_is_acknowledged_and_snoozed_by_name(api: httpx.Client, loop: Loop) -> None:
    key = api.get("/alerts").json()[0]["key"]
    seen = api.post(f"/alerts/{key}/acknowledge", json={"note": "on it"}, headers={"Idempotency-Key": "k"}).json()
    assert seen["note"] == "on it" and seen["acknowledged_by"]
    quiet = api.post(f"/alerts/{key}/snooze", json={"until": (NOW + DAY).isoformat()}).json()
    assert datetime.fromisoformat(quiet["snoozed_until"]) == NOW + DAY
    assert key not in [alert["key"] for alert in api.get("/alerts", params={"waiting": True}).json()]
    assert api.post("/alerts/none/acknowledge", json={}).status_code == 404


def test_the_description_says_of_every_operation_what_it_is_and_what_may_happen(address: str) -> None:
    described = httpx.get(f"{address}{PREFIX}/openapi.json").json()
    assert described["openapi"].startswith("3.") and described["components"]["securitySchemes"]["token"]
    schemas = described["components"]["schemas"]
    for group in group_operations(described).values():
        for operation in group:
            where = f"{operation['method']} {operation['path']}"
            assert operation["path"].startswith(PREFIX) and operation["summary"], where
            assert len(operation["description"]) > 20 and operation["security"] == [{"token": []}], where
            assert {"401", "403"} < set(operation["responses"]), where
            assert any(status.startswith("2") for status in operation["responses"]), where
            declared = {parameter["name"] for parameter in operation.get("parameters", ())}
            assert set(re.findall(r"{(\w+)}", operation["path"])) <= declared, where
            assert (operation["method"] == "POST") <= ("Idempotency-Key" in declared), where
            assert (operation["method"] == "POST") == ("requestBody" in operation), where
    named = set(re.findall(r'"#/components/schemas/(\w+)"', httpx.get(f"{address}{PREFIX}/openapi.json").text))
    assert named <= set(schemas)
    page = httpx.get(f"{address}/api").text
    assert all(path in page for path in described["paths"])


def test_the_examples_of_the_docs_work(address: str, loop: Loop, tmp_path: Path) -> None:
    blocks = BLOCK.findall(DOCS.read_text())
    assert len(blocks) == 5 and shutil.which("curl")
    for kind, text in blocks:
        here = text.replace("http://127.0.0.1:8321", address)
        command = ["bash", "-e", "-c", here] if kind == "bash" else [sys.executable, "-c", here]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
        assert done.returncode == 0 and done.stdout, (text, done.stdout, done.stderr)
    assert loop.store.count_waiting_posts(PostKind.INPUTS) == 2


def test_events_come_at_once_then_seldom_and_the_last_is_not_lost() -> None:
    sent: list[tuple[str, str]] = []
    waker = Waker(lambda what, project: sent.append((what, project)), 0.3)
    for _ in range(50):
        waker.arrived("inputs", "p")
        waker.arrived("labels", "p")
        time.sleep(0.002)
    deadline = time.monotonic() + 10
    while len(sent) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.4)
    assert sorted(sent) == [("inputs", "p"), ("inputs", "p"), ("labels", "p"), ("labels", "p")]


def start_console(folder: Path, port: int, log: Path, **environ: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "homeostat.console.web",
        "--root",
        str(folder.parent / "root"),
        "--port",
        str(port),
    ]
    with log.open("ab") as output:
        process = subprocess.Popen([*command, str(folder)], stdout=output, stderr=output, env={**os.environ, **environ})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError(log.read_text())


def test_a_console_that_is_killed_has_kept_what_it_acknowledged_and_doubles_nothing(
    folder: Path, loop: Loop, tmp_path: Path
) -> None:
    port = free_port()
    url, acknowledged = f"http://127.0.0.1:{port}{PREFIX}/projects/payments/feedback", []
    console = start_console(folder, port, tmp_path / "log")
    killer = threading.Timer(0.7, lambda: os.kill(console.pid, signal.SIGKILL))
    try:
        httpx.post(url, json={"rows": [{"id": 0, "y": 1}]}, headers={"Idempotency-Key": "k0"}, timeout=60)
        killer.start()
        with httpx.Client(timeout=60) as client:
            for key in range(10_000):
                answer = client.post(url, json={"rows": [{"id": key, "y": 1}]}, headers={"Idempotency-Key": f"k{key}"})
                assert answer.status_code == 202
                acknowledged.append(key)
    except httpx.TransportError:
        pass
    finally:
        killer.join()
        console.wait()
    assert {f"k{key}" for key in acknowledged} <= {p.id for p in loop.store.list_posts(PostKind.FEEDBACK, LONG, "")}
    console = start_console(folder, port, tmp_path / "log")
    try:
        for key in range(len(acknowledged) + 1):
            answer = httpx.post(url, json={"rows": [{"id": key, "y": 1}]}, headers={"Idempotency-Key": f"k{key}"})
            assert answer.status_code == 202
    finally:
        console.terminate()
        console.wait()
    held = [post.rows[0]["id"] for post in loop.store.list_posts(PostKind.FEEDBACK, LONG, "")]
    assert sorted(held) == list(range(len(acknowledged) + 1)) and len(held) > 1


@pytest.mark.parametrize("boundary", ["store.answers:before", "store.reply:before#2"])
def test_an_act_that_was_killed_before_it_was_answered_is_done_once(
    folder: Path, loop: Loop, tmp_path: Path, boundary: str
) -> None:
    port, log = free_port(), tmp_path / "log"
    url = f"http://127.0.0.1:{port}{PREFIX}/projects/payments/tasks/a/t1/answers"
    asked: dict[str, Any] = {"json": {"label": 1}, "headers": {"Idempotency-Key": "k"}, "timeout": 60}
    console = start_console(folder, port, log, HOMEOSTAT_KILL_AT=boundary)
    with pytest.raises(httpx.TransportError):
        httpx.post(url, **asked)
    assert console.wait() == -signal.SIGKILL
    begun = loop.store.get_reply("k")
    assert begun is not None and begun.status is None
    console = start_console(folder, port, log)
    try:
        answers = [httpx.post(url, **asked) for _ in range(2)]
    finally:
        console.terminate()
        console.wait()
    assert [answer.status_code for answer in answers] == [201, 201] and answers[0].json() == answers[1].json()
    assert [answer.at for answer in loop.store.list_answers("a/t1")] == [begun.at]
    assert [entry.kind for entry in loop.store.list_journal()].count("answer") == 1
