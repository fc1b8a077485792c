"""All checks together: of the machine, of what projects share, and of each project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from homeostat.errors import HomeostatError, ProjectError
from homeostat.flows.health import machine, memory, projects, services
from homeostat.flows.health.findings import Check, Clock, Finding, run_checks
from homeostat.flows.health.versions import check_versions
from homeostat.installation import Found, Installation, find_installation, list_projects
from homeostat.project import Project
from homeostat.records import Scope
from homeostat.settings import ProjectPaths, find_paths

SECONDS = 9.0
SOUND_SECONDS = 6.0
SERVERS = {"prefect": "PREFECT_API_URL", "mlflow": "MLFLOW_TRACKING_URI"}
SECRET_FILES = ("HOMEOSTAT_ACCESS",)


def examine(folders: Sequence[Path], environ: Mapping[str, str], clock: Clock) -> list[Finding]:
    """Look at the machine and at the projects in some folders, or in none; changes nothing. Takes 9 s at most.

    A folder is a project or a folder of projects. Raises HomeostatError where one is none.
    """
    installation = _installation(folders)
    listed = list_projects(installation.places) if installation else []
    root = installation.root if installation else None
    checks: dict[str, Check] = {
        **_of_machine(root, environ),
        **_of_servers(root, environ, clock),
        **_of_memory([item.project for item in listed if item.project], environ, clock),
    }
    for item in listed:
        checks |= _of_project(item, environ, clock)
    return run_checks(checks, SECONDS)


def _installation(folders: Sequence[Path]) -> Installation | None:
    if not folders:
        return None
    try:
        return find_installation(folders)
    except ProjectError:
        # The only project is broken, which a check of it will say.
        place = (folders[0].parent if folders[0].is_file() else folders[0]).resolve()
        return Installation(place / ".homeostat", (place,))


def _of_machine(root: Path | None, environ: Mapping[str, str]) -> dict[str, Check]:
    here = root or Path.cwd()
    beside = root.parent if root else here
    ours = services.list_addresses(root) if root else {}
    elsewhere = {name: variable for name, variable in SERVERS.items() if _is_server(environ.get(variable))}
    lake = uri if (uri := environ.get("HOMEOSTAT_LAKE_URI")) and "://" not in uri else None
    secrets = [Path(environ[name]) for name in SECRET_FILES if environ.get(name)]
    secrets += [here / "access.toml", *sorted(beside.glob("*.env")), beside / ".env"]
    return {
        "versions": partial(check_versions, environ.get("HOMEOSTAT_STORE_URL", "")),
        "ports": partial(machine.check_ports, ours, elsewhere),
        "disk": partial(machine.check_disks, {"disk": here, **({"disk of the lake": Path(lake)} if lake else {})}),
        "time zone": lambda: [machine.check_time_zone(environ.get("TZ"))],
        "secrets": partial(machine.check_secret_files, list(dict.fromkeys(secrets))),
    }


def _of_servers(root: Path | None, environ: Mapping[str, str], clock: Clock) -> dict[str, Check]:
    ours = services.list_addresses(root) if root else {}
    prefect = environ.get("PREFECT_API_URL") or (f"{ours['prefect'].rstrip('/')}/api" if "prefect" in ours else None)
    mlflow = environ.get("MLFLOW_TRACKING_URI") or ours.get("mlflow")
    nobody = "none runs; 'homeostat up' starts one"
    checks: dict[str, Check] = {}
    if prefect:
        checks["prefect"] = partial(services.check_prefect, prefect, clock)
    else:
        checks["prefect"] = lambda: [Finding("prefect", "ok", nobody)]
    if _is_server(mlflow):
        checks["mlflow"] = partial(services.check_mlflow, str(mlflow), clock)
    else:
        checks["mlflow"] = lambda: [Finding("mlflow", "ok", f"{nobody}, and without one its store is opened directly")]
    if root is not None:
        checks["up"] = partial(services.check_up, root, clock)
    return checks


def _is_server(url: str | None) -> bool:
    return bool(url and url.startswith(("http://", "https://")))


def _of_memory(opened: Sequence[Project], environ: Mapping[str, str], clock: Clock) -> dict[str, Check]:
    """A store or a lake that projects share is looked at once."""
    paths_by_project = {project.name: _paths_of(project) for project in opened}
    stores = {paths.store_url: f"store of {name}" for name, paths in paths_by_project.items() if paths}
    lakes = {paths.lake_uri: f"lake of {name}" for name, paths in paths_by_project.items() if paths}
    if url := environ.get("HOMEOSTAT_STORE_URL"):
        stores = {url: "store"}
    if uri := environ.get("HOMEOSTAT_LAKE_URI"):
        lakes = {uri: "lake"}
    checks: dict[str, Check] = {name: partial(memory.check_store, name, url, clock) for url, name in stores.items()}
    return checks | {name: partial(memory.check_lake, name, uri) for uri, name in lakes.items()}


def _paths_of(project: Project) -> ProjectPaths | None:
    try:
        return find_paths(project, Scope.LIVE)
    except HomeostatError:
        return None


def _of_project(listed: Found, environ: Mapping[str, str], clock: Clock) -> dict[str, Check]:
    checks: dict[str, Check] = {f"project {listed.folder}": partial(projects.check_soundness, listed, SOUND_SECONDS)}
    if listed.project is not None:
        checks[f"alerts of {listed.project.name}"] = partial(projects.check_routes, listed.project, environ)
        checks[f"work of {listed.project.name}"] = partial(projects.check_work, listed.project, clock)
    return checks
