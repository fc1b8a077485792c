"""An installation: the projects that one `homeostat up` runs, and the folder that its services share."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeostat.errors import HomeostatError, ProjectError
from homeostat.project import PROJECT_FILE, Project, load_project
from homeostat.settings import INSTALLATION_FILE, state_folder

SERVICES_FILE = "services.json"


@dataclass(frozen=True, slots=True)
class Installation:
    """`places` are projects or folders of projects, resolved; `root` holds what their services keep."""

    root: Path
    places: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A project's folder and the project, or why it is none that could run."""

    folder: Path
    project: Project | None = None
    problem: str | None = None


def find_installation(folders: Sequence[Path]) -> Installation:
    """The installation of these folders: each is a project, or a folder whose sub-folders are or will be projects.

    Its root is `HOMEOSTAT_HOME` where that is set, else the state folder of the only project, else `.homeostat` in the
    first folder of projects, or beside the first project. Raises HomeostatError where a folder is none.
    """
    places = tuple(dict.fromkeys(_place(folder) for folder in folders))
    for place in places:
        if not place.is_dir():
            raise HomeostatError(f"{place}: no such folder.", "Give a project, or a folder of projects.")
    home = os.environ.get("HOMEOSTAT_HOME")
    if home:
        return Installation(Path(home).resolve(), places)
    shelves = [place for place in places if not _is_project(place)]
    if shelves:
        return Installation(shelves[0] / ".homeostat", places)
    if len(places) == 1:
        return Installation(state_folder(load_project(places[0])), places)
    return Installation(places[0].parent / ".homeostat", places)


def list_projects(places: Sequence[Path]) -> list[Found]:
    """Every project of the places, sorted by folder; of two with the same name the second is a problem."""
    folders = [entry for place in places for entry in ([place] if _is_project(place) else _inside(place))]
    projects, names = [], dict[str, Path]()
    for folder in dict.fromkeys(folders):
        try:
            project = load_project(folder)
        except ProjectError as fault:
            projects.append(Found(folder, problem=str(fault)))
            continue
        if project.name in names:
            problem = f"{project.file}: project.name: {project.name!r} is that of {names[project.name]} too."
            projects.append(Found(folder, problem=f"{problem} Give it another."))
            continue
        names[project.name] = folder
        projects.append(Found(folder, project))
    return projects


def write_mark(installation: Installation) -> None:
    """Mark the root, so that projects in it that have no MLflow store of their own share the one there."""
    installation.root.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"places": [str(place) for place in installation.places]}, indent=1)
    (installation.root / INSTALLATION_FILE).write_text(text + "\n", encoding="utf-8")


def read_services(root: Path) -> dict[str, Any]:
    """What `homeostat up` says of its services there; empty where it never ran."""
    with suppress(OSError, ValueError):
        return json.loads((root / SERVICES_FILE).read_text(encoding="utf-8"))
    return {}


def service_url(root: Path, name: str, variable: str) -> str | None:
    """Where a person finds a service's page: the address that the variable names, else that of `homeostat up`."""
    stated = os.environ.get(variable)
    return stated.rstrip("/") if stated else read_services(root).get("services", {}).get(name, {}).get("url")


def digest_store(tracking_uri: str) -> str:
    """What tells one MLflow store from another in `services.json`: an address may hold a password."""
    return hashlib.sha256(tracking_uri.encode()).hexdigest()[:16]


def mlflow_url(root: Path, tracking_uri: str) -> str | None:
    """Where a person finds the pages of an MLflow store: the address of the variable, else its server of the root.

    None where no server of the root serves that store.
    """
    stated = os.environ.get("HOMEOSTAT_MLFLOW_UI")
    if stated:
        return stated.rstrip("/")
    served, services = digest_store(tracking_uri), read_services(root).get("services", {})
    return next((entry.get("url") for entry in services.values() if entry.get("serves") == served), None)


def _list_roots(project: Project) -> list[Path]:
    """Where the installation of a project may have its root, where only the project is known."""
    stated, home = os.environ.get("HOMEOSTAT_INSTALLATION"), os.environ.get("HOMEOSTAT_HOME")
    around = [Path(home).resolve()] if home else [state_folder(project), project.folder.parent / ".homeostat"]
    return [*([Path(stated)] if stated else []), *around]


def find_service_url(project: Project, name: str, variable: str) -> str | None:
    """Where a person finds a service's page, where only a project is known: its installation's root is looked for."""
    return next((url for root in _list_roots(project) if (url := service_url(root, name, variable))), None)


def find_mlflow_url(project: Project, tracking_uri: str) -> str | None:
    """Where a person finds the pages of a project's MLflow store, where only the project is known."""
    return next((url for root in _list_roots(project) if (url := mlflow_url(root, tracking_uri))), None)


def _place(folder: Path) -> Path:
    return (folder.parent if folder.name == PROJECT_FILE else folder).resolve()


def _is_project(folder: Path) -> bool:
    return (folder / PROJECT_FILE).is_file()


def _inside(shelf: Path) -> list[Path]:
    return sorted(entry for entry in shelf.iterdir() if not entry.name.startswith(".") and _is_project(entry))
