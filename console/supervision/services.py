"""What the services of an installation are made of: programs, addresses, how one sees that they are healthy."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from homeostat.console.arguments import person
from homeostat.console.supervision.ports import USUAL, take_exactly, take_port
from homeostat.console.web.security.settings import read_access_settings
from homeostat.errors import HomeostatError
from homeostat.flows.orchestration.heartbeat import HEARTBEAT_FILE
from homeostat.flows.servers.local import PREFECT_CLIENT
from homeostat.flows.servers.spec import LOCAL, Server, local_hosts, mlflow_at, prefect_at, require_healthy
from homeostat.installation import Found, Installation, digest_store
from homeostat.records import Scope
from homeostat.settings import find_paths

KINDS = ("prefect", "mlflow", "console", "runner")
# Run logs go to the Prefect page and into the runner's log, which `homeostat logs` shows.
RUNNER_ENV = {name: value for name, value in PREFECT_CLIENT.items() if "CONSOLE_LEVEL" not in name}
ANYWHERE = {"0.0.0.0": LOCAL, "::": "::1"}


@dataclass(frozen=True, slots=True)
class Service:
    """One program to keep running; without `args` it is a server of somebody else, which is only looked at.

    Healthy is what answers at `health`, or has written its `heartbeat` lately. Who runs it holds the lock of `home`.
    `serves` tells which MLflow store it shows, as `digest_store` has it.
    """

    name: str
    log: Path
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str | None = None
    health: str | None = None
    heartbeat: Path | None = None
    home: Path | None = None
    address: tuple[str, int] | None = None
    serves: str | None = None

    @property
    def adopted(self) -> bool:
        """Whether somebody else runs it."""
        return not self.args


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asked of `up`."""

    host: str = LOCAL
    port: int | None = None
    only: tuple[str, ...] = ()

    def wants(self, kind: str) -> bool:
        """Whether services of this kind are to run."""
        return not self.only or kind in self.only


def plan_services(
    installation: Installation, projects: Sequence[Found], wishes: Wishes, held: ExitStack
) -> tuple[list[Service], str]:
    """The services of an installation in the order they are shown, and the key with which to ask the console.

    Ports are taken until `held` ends. Raises HomeostatError where a server that the environment names does not
    answer, where a runner would have no Prefect server, or where nobody could sign in to a console that is opened.
    """
    key, logs = secrets.token_urlsafe(32), installation.root / "logs"
    prefect = _prefect(installation, wishes, held, logs)
    servers = [prefect] if prefect is not None and wishes.wants("prefect") else []
    servers += _mlflow(installation, projects, held, logs) if wishes.wants("mlflow") else []
    env = {"PREFECT_HOME": str(installation.root / "prefect"), **local_hosts()}
    if prefect is not None:
        env["PREFECT_API_URL"] = os.environ.get("PREFECT_API_URL") or f"{prefect.url}/api"
    if wishes.wants("console"):
        servers.append(_console(installation, wishes, held, logs, {**env, "HOMEOSTAT_SERVICE_KEY": key}))
    if wishes.wants("runner"):
        if "PREFECT_API_URL" not in env:
            raise HomeostatError("--only runner: a Prefect server is needed.", "Set PREFECT_API_URL.")
        servers.append(_runner(installation, logs, {**env, **RUNNER_ENV}))
    return servers, key


def _prefect(installation: Installation, wishes: Wishes, held: ExitStack, logs: Path) -> Service | None:
    named = os.environ.get("PREFECT_API_URL")
    if named:
        health = f"{named.rstrip('/')}/health"
        require_healthy(health, named, "PREFECT_API_URL")
        return Service("prefect", logs / "prefect.log", url=named.rstrip("/").removesuffix("/api"), health=health)
    if not wishes.wants("prefect"):
        return None
    return _embedded("prefect", prefect_at(installation.root / "prefect"), logs, held)


def _mlflow(installation: Installation, projects: Sequence[Found], held: ExitStack, logs: Path) -> list[Service]:
    """A server for each store of the projects; the one that most of them use goes by the plain name."""
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    if named.startswith(("http://", "https://")):
        health = f"{named.rstrip('/')}/health"
        require_healthy(health, named, "MLFLOW_TRACKING_URI")
        return [
            Service("mlflow", logs / "mlflow.log", url=named.rstrip("/"), health=health, serves=digest_store(named))
        ]
    root, stores = installation.root, _list_stores(projects)
    if not stores:
        stores[named or f"sqlite:///{root / 'mlflow.db'}"] = (root / "mlartifacts", [])
    (store, (artifacts, _)), *others = sorted(stores.items(), key=lambda item: -len(item[1][1]))
    first = _mlflow_over("mlflow", store, artifacts, logs, held)
    return [first, *_mlflow_beside(dict(others), logs, held)]


def plan_late_services(
    installation: Installation, held: ExitStack, projects: Sequence[Found], running: Sequence[Service]
) -> list[Service]:
    """Servers for the MLflow stores that projects brought with them since the services were planned.

    None where MLflow is not among the services, or is somebody else's.
    """
    shown = {service.serves for service in running if service.serves is not None}
    if not shown or any(service.adopted for service in running if service.serves is not None):
        return []
    stores = {uri: kept for uri, kept in _list_stores(projects).items() if digest_store(uri) not in shown}
    return _mlflow_beside(stores, installation.root / "logs", held)


def _list_stores(projects: Sequence[Found]) -> dict[str, tuple[Path, list[str]]]:
    """The MLflow stores of projects by their addresses: where each keeps artifacts, and the names of its projects."""
    stores: dict[str, tuple[Path, list[str]]] = {}
    for project in (entry.project for entry in projects if entry.project is not None):
        paths = find_paths(project, Scope.LIVE)
        stores.setdefault(paths.tracking_uri, (paths.artifact_root, []))[1].append(project.name)
    return stores


def _mlflow_beside(stores: Mapping[str, tuple[Path, list[str]]], logs: Path, held: ExitStack) -> list[Service]:
    return [
        _mlflow_over(f"mlflow-{names[0]}", store, artifacts, logs, held) for store, (artifacts, names) in stores.items()
    ]


def _mlflow_over(name: str, store: str, artifacts: Path, logs: Path, held: ExitStack) -> Service:
    return replace(_embedded(name, mlflow_at(store, artifacts), logs, held), serves=digest_store(store))


def _embedded(name: str, server: Server, logs: Path, held: ExitStack) -> Service:
    port = take_port(USUAL[server.name], LOCAL, held)
    url = f"http://{LOCAL}:{port}"
    return Service(
        name, logs / f"{name}.log", tuple(server.args_at(port)), server.env_at(port), url, url + server.health,
        home=server.home, address=(LOCAL, port),
    )  # fmt: skip


def _console(
    installation: Installation, wishes: Wishes, held: ExitStack, logs: Path, env: Mapping[str, str]
) -> Service:
    host = wishes.host
    # A mistake in its settings is told once, before anything starts, and not by a console that ends again and again.
    read_access_settings(installation.root, host, person(), os.environ)
    port = take_port(USUAL["console"], host, held) if wishes.port is None else take_exactly(wishes.port, host, held)
    shown = ANYWHERE.get(host, host)
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
    args = ("homeostat.console.web", "--root", str(installation.root), "--host", host, "--port", str(port))
    places = tuple(map(str, installation.places))
    return Service(
        "console", logs / "console.log", (*args, *places), env, url, f"{url}/healthz", address=(host, port)
    )  # fmt: skip


def _runner(installation: Installation, logs: Path, env: Mapping[str, str]) -> Service:
    args = ("homeostat.flows.orchestration.runner", "--root", str(installation.root), *map(str, installation.places))
    return Service("runner", logs / "runner.log", args, env, heartbeat=installation.root / HEARTBEAT_FILE)
