"""The servers a project runs on: adopted where the environment names one, else started here and ended with us."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from filelock import Timeout

from homeostat.errors import HomeostatError
from homeostat.flows.servers.processes import spawn, stop, tail
from homeostat.flows.servers.spec import (
    LOCAL,
    Server,
    drop_address,
    free_port,
    home_lock,
    is_healthy,
    local_hosts,
    mlflow_at,
    prefect_at,
    read_address,
    require_healthy,
    write_address,
)
from homeostat.settings import ProjectPaths

START_SECONDS = 180
DELIVER_SECONDS = 10

# Errors reach the person as one line of ours; run logs go to the Prefect UI, not to the console.
PREFECT_CLIENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


@contextmanager
def prefect_server(paths: ProjectPaths, log: Path | None = None) -> Iterator[str]:
    """Run the block against a Prefect server and yield the URL of its API.

    The server that `PREFECT_API_URL` names is adopted; so is one that another process runs for this project; else
    one is started in `paths.prefect_home`, its output in `log`. Leaving the block delivers what runs have reported
    so far and ends what was started. Use it in the main thread: Prefect's settings hold for this thread alone.
    Raises HomeostatError where the server named cannot be reached or ours does not start.
    """
    url = paths.prefect_api_url
    with ExitStack() as stack:
        if url:
            require_healthy(f"{url.rstrip('/')}/health", url, "PREFECT_API_URL")
        else:
            url = stack.enter_context(_embedded(prefect_at(paths.prefect_home), log)) + "/api"
        stack.enter_context(_prefect_client(paths, url))
        yield url


@contextmanager
def mlflow_server(paths: ProjectPaths, log: Path | None = None) -> Iterator[str]:
    """Serve the project's MLflow store and yield its URL; a tracking URI that is a server already is adopted.

    Raises HomeostatError as `prefect_server` does.
    """
    uri = paths.tracking_uri
    if uri.startswith(("http://", "https://")):
        require_healthy(f"{uri.rstrip('/')}/health", uri, "MLFLOW_TRACKING_URI")
        yield uri
        return
    with _embedded(mlflow_at(uri, paths.artifact_root), log) as url:
        yield url


@contextmanager
def _prefect_client(paths: ProjectPaths, url: str) -> Iterator[None]:
    with _environment({"PREFECT_API_URL": url, "PREFECT_HOME": str(paths.prefect_home), **PREFECT_CLIENT}):
        from prefect import settings
        from prefect.logging.configuration import setup_logging

        ours: dict[Any, Any] = {
            settings.PREFECT_API_URL: url,
            settings.PREFECT_HOME: paths.prefect_home,
            settings.PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
            settings.PREFECT_LOGGING_LEVEL: "INFO",
            settings.PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",
            # A run joins its heartbeat thread, which sleeps a second at a time.
            settings.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }
        with settings.temporary_settings(ours), _own_client():
            setup_logging()
            try:
                yield
            finally:
                _deliver()


@contextmanager
def _own_client() -> Iterator[None]:
    """Have a client of the server that the settings name, also inside the block of another server."""
    from prefect.context import SyncClientContext

    # Prefect hands out the client of an outer block, and a run would be known to one server and its tasks to another.
    held: ContextVar[Any] = SyncClientContext.__var__
    outer = held.set(None)
    try:
        with SyncClientContext():
            yield
    finally:
        held.reset(outer)


def _deliver() -> None:
    """Wait until the server has been told every event and log line of this process."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=DELIVER_SECONDS, at_exit=False)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    local = local_hosts()
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


@contextmanager
def _embedded(server: Server, log: Path | None) -> Iterator[str]:
    """Own the server in its home, or share the one that another process owns; yields its base URL."""
    with ExitStack() as stack:
        try:
            stack.enter_context(home_lock(server.home).acquire(timeout=0))
        except Timeout:
            yield _shared(server)
            return
        drop_address(server.home)
        log = log or server.home / "server.log"
        port = free_port()
        url = f"http://{LOCAL}:{port}"
        process = spawn(server.args_at(port), server.env_at(port), log)
        stack.callback(stop, process)
        _await_health(server.name, url + server.health, process, log)
        write_address(server.home, url, process.pid)
        stack.callback(drop_address, server.home)
        yield url


def _shared(server: Server) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError, KeyError):
            url = read_address(server.home)
            if is_healthy(url + server.health):
                return url
        time.sleep(0.2)
    raise HomeostatError(
        f"another process runs the {server.name} server of this project ({server.home}), but it does not answer.",
        "Stop that process, then try again.",
    )


def _await_health(name: str, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if is_healthy(url):
            return
        if process.poll() is not None:
            raise HomeostatError(f"the {name} server ended while it started: {tail(log)}", f"See {log}.")
        time.sleep(0.1)
    raise HomeostatError(f"the {name} server did not answer within {START_SECONDS} s: {tail(log)}", f"See {log}.")
