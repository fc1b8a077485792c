"""What an embedded server is made of, and who may run the one of a folder.

A server has a home. `server.lock` there belongs to the process that runs it, and `server.json` tells the others where
it answers, so that commands share a server rather than fight over its database.
"""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock

from homeostat.errors import HomeostatError

LOCAL = "127.0.0.1"

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
MLFLOW_SERVER = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True, slots=True)
class Server:
    """A server as a module with arguments; `{port}` in these and in its environment stands for the port it gets.

    The environment may hold a password, and so is left out of its repr.
    """

    name: str
    home: Path
    args: tuple[str, ...]
    health: str
    env: Mapping[str, str] = field(repr=False)

    def args_at(self, port: int) -> list[str]:
        """The module and its arguments, with the port in its place."""
        return [arg.replace("{port}", str(port)) for arg in self.args]

    def env_at(self, port: int) -> dict[str, str]:
        """The environment, with the port in its place."""
        return {name: value.replace("{port}", str(port)) for name, value in self.env.items()}


def prefect_at(home: Path) -> Server:
    """The Prefect server whose database lies in `home`."""
    database = f"sqlite+aiosqlite:///{home / 'prefect.db'}"
    env = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        # Without it the pages ask the default port for their data, and show none.
        "PREFECT_SERVER_UI_API_URL": f"http://{LOCAL}:{{port}}/api",
        **PREFECT_SERVER,
    }
    args = ("prefect", "server", "start", "--host", LOCAL, "--port", "{port}")
    return Server("prefect", home, args, "/api/health", env)


def mlflow_at(store: str, artifact_root: Path) -> Server:
    """The MLflow server on a store (a SQLAlchemy URL), with one worker and no job execution: 0.4 GB, not 2.6 GB.

    The store's address may hold a password: it goes by the environment, which `ps` does not show.
    """
    env = {
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifact_root.resolve().as_uri(),
        **MLFLOW_SERVER,
    }
    args = (
        "mlflow",
        "server",
        "--host",
        LOCAL,
        "--port",
        "{port}",
        "--workers",
        "1",
        "--uvicorn-opts",
        "--no-access-log",
    )
    return Server("mlflow", artifact_root.parent / "mlflow", args, "/health", env)


def home_lock(home: Path) -> FileLock:
    """The lock that whoever runs the server of `home` holds; not acquired yet."""
    home.mkdir(parents=True, exist_ok=True)
    return FileLock(home / "server.lock")


def write_address(home: Path, url: str, pid: int) -> None:
    """Tell other processes where the server of `home` answers."""
    note = home / "server.json"
    draft = note.with_suffix(".json.new")
    draft.write_text(json.dumps({"url": url, "pid": pid}), encoding="utf-8")
    draft.replace(note)


def read_address(home: Path) -> str:
    """Where the server of `home` answers. Raises OSError, ValueError or KeyError where nobody has said so."""
    return json.loads((home / "server.json").read_text(encoding="utf-8"))["url"]


def drop_address(home: Path) -> None:
    """Take back what `write_address` told."""
    (home / "server.json").unlink(missing_ok=True)


def is_healthy(url: str, seconds: float = 2, direct: bool = False) -> bool:
    """Whether an address answers with 200 in time; a proxy is never asked for one of this machine, nor if `direct`."""
    try:
        with opener_for(url, direct).open(url, timeout=seconds) as answer:
            return answer.status == 200
    except (OSError, ValueError, HTTPException):
        return False


def opener_for(url: str, direct: bool = False) -> urllib.request.OpenerDirector:
    """What opens an address: no proxy is asked for one of this machine, nor if `direct`."""
    local = direct or url.startswith((f"http://{LOCAL}", "http://localhost"))
    return urllib.request.build_opener(*[urllib.request.ProxyHandler({})] if local else [])


def require_healthy(health: str, url: str, variable: str) -> None:
    """See that the server which a variable of the environment names answers. Raises HomeostatError."""
    if not is_healthy(health, seconds=10):
        raise HomeostatError(
            f"{variable}: no server answers at {url}.",
            f"Start that server, or unset {variable} to run on an embedded one.",
        )


def free_port(host: str = LOCAL) -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def local_hosts() -> dict[str, str]:
    """`no_proxy` and `NO_PROXY` of the environment, with this machine among them."""
    return {name: _with_local(os.environ.get(name)) for name in ("no_proxy", "NO_PROXY")}


def _with_local(hosts: str | None) -> str:
    return ",".join(dict.fromkeys([*filter(None, (hosts or "").split(",")), LOCAL]))
