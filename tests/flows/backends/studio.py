"""A real Label Studio server for the tests, and a proxy before it that breaks what it is told to."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from filelock import FileLock
from installed import find_label_studio, missing
from ports import free_port

OWNER, TOKEN = "owner@example.org", "0123456789abcdef0123456789abcdef01234567"
STARTS_WITHIN, SLOW_SECONDS = 400, 5


@dataclass
class Studio:
    """A server that runs, as a person there uses it."""

    url: str
    people: dict[str, int] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the server's own interface."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method)) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def tasks(self, title: str) -> list[dict[str, Any]]:
        """The tasks of a project, whole."""
        query = f"/api/tasks?project={self.project(title)['id']}&page_size=100&fields=all"
        return self.call("GET", query)["tasks"]

    def project(self, title: str) -> dict[str, Any]:
        """A project by its title."""
        [found] = [
            each for each in self.call("GET", "/api/projects?page_size=1000")["results"] if each["title"] == title
        ]
        return found

    def annotate(self, task: int | str, who: str, result: Any, skipped: bool = False) -> int:
        """Answer a task as somebody; returns the annotation's id."""
        body = {"result": result, "was_cancelled": skipped, "completed_by": self.person(who)}
        return self.call("POST", f"/api/tasks/{task}/annotations", body)["id"]

    def person(self, email: str) -> int:
        """The number of an account, made where there is none."""
        if email not in self.people:
            try:
                made = self.call("POST", "/api/users/", {"email": email, "username": email, "password": TOKEN})
                self.people[email] = made["id"]
            except urllib.error.HTTPError:
                self.people |= {user["email"]: user["id"] for user in self.call("GET", "/api/users/")}
        return self.people[email]


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A Label Studio server of its own for the whole run; skipped where there is none."""
    venv = find_label_studio()
    if venv is None:
        pytest.skip(missing("Label Studio"))
    folder = tmp_path_factory.mktemp("label-studio") / "data"
    shutil.copytree(_migrated(venv), folder)
    with _started(venv, folder) as url:
        yield Studio(url)


def _migrated(venv: Path) -> Path:
    """Data of a server that nobody has used; made once a machine, for its migrations take a minute and more."""
    made = venv / f"data-of-{OWNER}"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            draft = made.with_name("data-draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            with _started(venv, draft):
                pass
            draft.rename(made)
    return made


@contextmanager
def _started(venv: Path, folder: Path) -> Iterator[str]:
    """A server whose data lie in a folder; yields its address."""
    port = free_port()
    command = [f"{venv}/bin/label-studio", "start", "--no-browser", "--port", str(port),
               "--username", OWNER, "--password", TOKEN, "--user-token", TOKEN]  # fmt: skip
    environ = {
        **os.environ,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
    }
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd=folder, start_new_session=True)
    try:
        _wait_until_up(f"http://127.0.0.1:{port}", server, folder / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _wait_until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"Label Studio did not start: {log.read_text()[-2000:]}")
            time.sleep(0.5)


@dataclass
class Proxy:
    """A proxy before a server; what `faults` names happens to the next calls of `method` whose path holds `path`.

    A number is an answer with that status. "cut" hangs up before the call reaches the server, "lost" after it did,
    "half" in the middle of the answer; "slow" answers too late. None lets a call pass.
    """

    target: str
    url: str = ""
    method: str = ""
    path: str = ""
    faults: list[int | str | None] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def break_next(self, method: str, path: str, *faults: int | str | None) -> None:
        """Plan faults."""
        self.method, self.path, self.faults = method, path, list(faults)

    def next_fault(self, method: str, path: str) -> int | str | None:
        """What happens to a call."""
        self.seen.append(f"{method} {path.partition('?')[0]}")
        return self.faults.pop(0) if self.faults and method == self.method and self.path in path else None


@contextmanager
def broken_proxy(target: str) -> Iterator[Proxy]:
    """A proxy before a server, for the time of a test."""
    proxy = Proxy(target)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy

    def _pass_on(self) -> None:
        fault = self.proxy.next_fault(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if isinstance(fault, int):
            self._say(fault, "application/json", b'{"detail": "broken on purpose"}')
        elif fault != "cut":
            status, kind, answer = self._ask(body)
            if fault == "slow":
                time.sleep(SLOW_SECONDS)
            if fault != "lost":
                self._say(status, kind, answer, half=fault == "half")
        self.close_connection = True

    def _ask(self, body: bytes) -> tuple[int, str, bytes]:
        inner = http.client.HTTPConnection(urlsplit(self.proxy.target).netloc, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "accept-encoding", "connection")}
        inner.request(self.command, self.path, body, headers)
        answer = inner.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read()

    def _say(self, status: int, kind: str, body: bytes, half: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """Answer, however the other side hung up."""
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = _pass_on
