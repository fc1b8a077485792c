"""The servers a project runs on: adopted where the environment names one, else started here and ended with us."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from flows.processes import spawn, stop, tail
from homeostat.errors import HomeostatError
from homeostat.settings import House

START_SECONDS = 180
DELIVER_SECONDS = 10

# Recording every task event in a transaction of its own makes SQLite refuse the next flow run with "database is
# locked", which costs the client two seconds; recorded in lots they hardly ever meet.
PREFECT_SERVER = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "4",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
}
# Errors reach the person as one line of ours; run logs go to the Prefect UI, not to the console.
PREFECT_CLIENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
MLFLOW_SERVER = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@contextmanager
def prefect_server(house: House, log: Path | None = None) -> Iterator[str]:
    """Run the block against a Prefect server and yield the URL of its API.

    The server that `PREFECT_API_URL` names is adopted; so is one that another process runs for this project; else
    one is started in `house.prefect_home`, its output in `log`. Leaving the block delivers what runs have reported
    so far and ends what was started. Use it in the main thread: Prefect's settings hold for this thread alone.
    Raises HomeostatError where the server named cannot be reached or ours does not start.
    """
    url = house.prefect_api_url
    with ExitStack() as stack:
        if url:
            _require(f"{url.rstrip('/')}/health", url, "PREFECT_API_URL")
        else:
            args = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", "{port}")
            url = stack.enter_context(
                _embedded("prefect", house.prefect_home, log, args, "/api/health", _prefect_env(house))
            )
            url += "/api"
        stack.enter_context(_prefect_client(house, url))
        yield url


@contextmanager
def mlflow_server(house: House, log: Path | None = None) -> Iterator[str]:
    """Serve the project's MLflow store and yield its URL; a tracking URI that is a server already is adopted.

    One worker and no job execution: 0.4 GB rather than 2.6 GB. Raises HomeostatError as `prefect_server` does.
    """
    uri = house.tracking_uri
    if uri.startswith(("http://", "https://")):
        _require(f"{uri.rstrip('/')}/health", uri, "MLFLOW_TRACKING_URI")
        yield uri
        return
    args = ("mlflow", "server", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1")
    stores = ("--backend-store-uri", uri, "--default-artifact-root", house.artifact_root.resolve().as_uri())
    home = house.artifact_root.parent / "mlflow"
    with _embedded("mlflow", home, log, (*args, *stores), "/health", MLFLOW_SERVER) as url:
        yield url


def _prefect_env(house: House) -> dict[str, str]:
    database = f"sqlite+aiosqlite:///{house.prefect_home / 'prefect.db'}"
    return {
        "PREFECT_HOME": str(house.prefect_home),
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        # Without it the pages ask the default port for their data, and show none.
        "PREFECT_SERVER_UI_API_URL": "http://127.0.0.1:{port}/api",
        **PREFECT_SERVER,
    }


@contextmanager
def _prefect_client(house: House, url: str) -> Iterator[None]:
    with _environment({"PREFECT_API_URL": url, "PREFECT_HOME": str(house.prefect_home), **PREFECT_CLIENT}):
        from prefect import settings
        from prefect.context import SyncClientContext
        from prefect.logging.configuration import setup_logging

        ours: dict[Any, Any] = {
            settings.PREFECT_API_URL: url,
            settings.PREFECT_HOME: house.prefect_home,
            settings.PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
            settings.PREFECT_LOGGING_LEVEL: "INFO",
            settings.PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",
            # A run joins its heartbeat thread, which sleeps a second at a time.
            settings.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }
        with settings.temporary_settings(ours), SyncClientContext.get_or_create():
            setup_logging()
            try:
                yield
            finally:
                _deliver()


def _deliver() -> None:
    """Wait until the server has been told every event and log line of this process."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=DELIVER_SECONDS, at_exit=False)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    local = {name: _with_local(os.environ.get(name)) for name in ("no_proxy", "NO_PROXY")}
    before = {name: os.environ.get(name) for name in (*values, *local)}
    os.environ.update({**values, **local})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _with_local(hosts: str | None) -> str:
    return ",".join(dict.fromkeys([*filter(None, (hosts or "").split(",")), "127.0.0.1"]))


@contextmanager
def _embedded(
    name: str, home: Path, log: Path | None, args: Sequence[str], health: str, env: dict[str, str]
) -> Iterator[str]:
    """Own the server in `home`, or share the one that another process owns; yields its base URL."""
    home.mkdir(parents=True, exist_ok=True)
    log = log or home / "server.log"
    note = home / "server.json"
    with ExitStack() as stack:
        lock = FileLock(home / "server.lock", timeout=0)
        try:
            stack.enter_context(lock)
        except Timeout:
            yield _shared(name, note, health)
            return
        note.unlink(missing_ok=True)
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        env = {name: value.replace("{port}", str(port)) for name, value in env.items()}
        process = spawn([arg.format(port=port) for arg in args], env, log)
        stack.callback(stop, process)
        _await_health(name, url + health, process, log)
        note.write_text(json.dumps({"url": url, "pid": process.pid}), encoding="utf-8")
        stack.callback(note.unlink, missing_ok=True)
        yield url


def _shared(name: str, note: Path, health: str) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError, KeyError):
            url = json.loads(note.read_text(encoding="utf-8"))["url"]
            if _healthy(url + health):
                return url
        time.sleep(0.2)
    raise HomeostatError(
        f"another process owns the {name} server of this project ({note.parent}), but it does not answer.",
        "End that process, then try again.",
    )


def _await_health(name: str, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if _healthy(url):
            return
        if process.poll() is not None:
            raise HomeostatError(f"the {name} server ended while it started: {tail(log)}", f"See {log}.")
        time.sleep(0.1)
    raise HomeostatError(f"the {name} server did not answer within {START_SECONDS} s: {tail(log)}", f"See {log}.")


def _require(health: str, url: str, variable: str) -> None:
    if not _healthy(health, seconds=10):
        raise HomeostatError(
            f"{variable}: no server answers at {url}.",
            f"Start that server, or unset {variable} to run on an embedded one.",
        )


def _healthy(url: str, seconds: float = 2) -> bool:
    local = url.startswith(("http://127.0.0.1", "http://localhost"))
    opener = urllib.request.build_opener(*[urllib.request.ProxyHandler({})] if local else [])
    try:
        with opener.open(url, timeout=seconds) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
