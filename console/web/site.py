"""What the page knows: the projects of an installation, each with its loop open, and where other pages are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from homeostat.console.web.journal_checks import Proofs
from homeostat.errors import HomeostatError
from homeostat.installation import Found, list_projects, mlflow_url, service_url
from homeostat.project import Project
from homeostat.records import Scope
from homeostat.settings import find_paths

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop

RESCAN_SECONDS = 3.0


@dataclass(slots=True, eq=False)
class Site:
    """The projects of `places`; `root` is the installation's folder, `clock` gives the time of a request.

    Safe to use from several threads.
    """

    root: Path
    places: tuple[Path, ...]
    clock: Callable[[], datetime]
    proofs: Proofs = field(default_factory=Proofs)
    _projects: list[Found] = field(default_factory=list)
    _scanned: float = -RESCAN_SECONDS
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def projects(self) -> Sequence[Found]:
        """Every project, sound or not; looked for again after a few seconds."""
        with self._lock:
            if time.monotonic() - self._scanned >= RESCAN_SECONDS:
                self._projects, self._scanned = list_projects(self.places), time.monotonic()
            return self._projects

    def loop(self, name: str) -> Loop:
        """The live loop of a project, or its replay where life has not begun. Raises UnknownProject."""
        from homeostat.flows.loop import open_loop

        project, live = self.find(name), self.live(name)
        if live.store.last_tick("ingest") is not None or not find_paths(project, Scope.REPLAY).root.exists():
            return live
        return open_loop(project.folder, Scope.REPLAY)

    def live(self, name: str) -> Loop:
        """The live loop of a project, to which everything goes that a person or another system does."""
        from homeostat.flows.loop import open_loop

        return open_loop(self.find(name).folder, Scope.LIVE)

    def find(self, name: str) -> Project:
        """A project by its name. Raises UnknownProject."""
        for entry in self.projects():
            if entry.project is not None and entry.project.name == name:
                return entry.project
        raise UnknownProject(f"there is no project {name!r} here.", "The overview lists those that there are.")

    def mlflow_url(self, loop: Loop) -> str | None:
        """Where a person finds MLflow's pages of a project; None where none is known."""
        return mlflow_url(self.root, loop.paths.tracking_uri)

    def prefect_url(self) -> str | None:
        """Where a person finds Prefect's pages; None where none is known."""
        return service_url(self.root, "prefect", "HOMEOSTAT_PREFECT_UI")


class UnknownProject(HomeostatError):
    """A project was named that is none of the installation's."""
