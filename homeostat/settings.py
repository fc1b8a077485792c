"""Where the memory of a project lies: its own folder by default, the environment's addresses by setting."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from homeostat.errors import ProjectError
from homeostat.project import Project
from homeostat.records import Scope

INSTALLATION_FILE = "installation.json"


@dataclass(frozen=True, slots=True)
class ProjectPaths:
    """The addresses of one project in one scope. `root` is the scope's own folder.

    Addresses that may hold a password are left out of its repr.
    """

    root: Path
    lake_uri: str
    store_url: str = field(repr=False)
    tracking_uri: str = field(repr=False)
    artifact_root: Path
    model_name: str
    prefect_home: Path
    prefect_api_url: str | None


def state_folder(project: Project) -> Path:
    """The folder of a project's state: `.homeostat/` in it, or a folder of its name under `HOMEOSTAT_HOME`.

    Raises ProjectError where its name holds what Delta's and SQLite's addresses would read as something else.
    """
    home = os.environ.get("HOMEOSTAT_HOME")
    folder = Path(home).resolve() / project.name if home else project.folder / ".homeostat"
    if sign := next((sign for sign in "?%" if sign in str(folder)), None):
        raise ProjectError(
            f"{folder}: a folder with {sign!r} in its name cannot hold the state.",
            "Rename it, or set HOMEOSTAT_HOME to another folder.",
        )
    return folder


def find_paths(project: Project, scope: Scope) -> ProjectPaths:
    """Resolve every address of a project from its folder and the environment.

    A replay has a lake and a store of its own under `replay/`, and the registered model `NAME-replay`; only
    MLflow and Prefect are shared with life. A project of an installation that has no MLflow store of its own yet
    uses the one that the installation's projects share.
    """
    state = state_folder(project)
    replay = scope is Scope.REPLAY
    root = state / "replay" if replay else state / "live"
    lake, store = os.environ.get("HOMEOSTAT_LAKE_URI"), os.environ.get("HOMEOSTAT_STORE_URL")
    suffix = f"{project.name}{'-replay' if replay else ''}"
    shared = _models_folder(project, state)
    return ProjectPaths(
        root=root,
        lake_uri=f"{lake.rstrip('/')}/{suffix}" if lake else str(root / "lake"),
        store_url=store if store and not replay else f"sqlite:///{root / 'store.db'}",
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{shared / 'mlflow.db'}",
        artifact_root=shared / "mlartifacts",
        model_name=suffix,
        prefect_home=state / "prefect",
        prefect_api_url=os.environ.get("PREFECT_API_URL"),
    )


def _models_folder(project: Project, state: Path) -> Path:
    home = os.environ.get("HOMEOSTAT_HOME")
    installation = Path(home).resolve() if home else project.folder.parent / ".homeostat"
    if (state / "mlflow.db").exists() or not (installation / INSTALLATION_FILE).exists():
        return state
    return installation
