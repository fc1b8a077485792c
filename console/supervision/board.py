"""The projects of an installation on the status screen, from the console, the runner and their files."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from homeostat.errors import HomeostatError
from homeostat.flows.orchestration.heartbeat import HEARTBEAT_FILE, Beat, read_heartbeat
from homeostat.installation import Found, Installation, list_projects

EVERY_SECONDS = 10
ASK_SECONDS = 5
Status = dict[str, Any]
"""A project as the console's API lists it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A project on the screen; `healthy` is None while unknown."""

    name: str
    healthy: bool | None = None
    problem: str | None = None
    champion: str | None = None
    last_tick: str | None = None
    next_run: str | None = None
    alerts: int | None = None


class Board(threading.Thread):
    """Looks at the projects every few seconds, in a thread of its own; `lines` and `projects` are what it saw last."""

    def __init__(self, installation: Installation, console: str | None, key: str) -> None:
        """Prepare to look; `console` is asked with `key` for more than the files say, where it is given."""
        super().__init__(name="board", daemon=True)
        self.lines: list[Line] | None = None
        self.projects: Sequence[Found] = ()
        self._installation, self._console, self._key = installation, console, key
        self._ending = threading.Event()

    def end(self) -> None:
        """Look no more."""
        self._ending.set()

    def run(self) -> None:
        """Look until the end."""
        while not self._ending.is_set():
            self.look()
            self._ending.wait(EVERY_SECONDS)

    def look(self) -> None:
        """Look once."""
        projects: Sequence[Found] = ()
        with suppress(OSError, ValueError, HomeostatError):
            projects = list_projects(self._installation.places)
        self.projects = projects
        _, beats = read_heartbeat(self._installation.root / HEARTBEAT_FILE)
        self.lines = [line_of(entry, beats, statuses) for statuses in [self._ask()] for entry in projects]

    def _ask(self) -> dict[str, Status]:
        if self._console is None:
            return {}
        asked = urllib.request.Request(
            f"{self._console}/api/v1/projects", headers={"Authorization": f"Bearer {self._key}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with (
            suppress(OSError, ValueError, TypeError, KeyError, HTTPException),
            opener.open(asked, timeout=ASK_SECONDS) as answer,
        ):
            return {project["name"]: project for project in json.load(answer)}
        return {}


def line_of(entry: Found, beats: Mapping[str, Beat], statuses: Mapping[str, Status]) -> Line:
    """What is known of a project: a problem of its file first, then of the runner, then what the console says.

    >>> from pathlib import Path
    >>> line_of(Found(Path("shop"), problem="no such key."), {}, {})
    Line(name='shop', healthy=False, problem='no such key.', champion=None, last_tick=None, next_run=None, alerts=None)
    """
    name = entry.project.name if entry.project is not None else entry.folder.name
    if entry.problem is not None:
        return Line(name, False, entry.problem)
    problem = beats[name]["problem"] if name in beats else None
    status = statuses.get(name, {})
    problems = [text for text in (problem, *(status.get("problems") or ())) if text]
    healthy = False if problem else status.get("healthy")
    champion, alerts = status.get("champion"), status.get("alerts_open")
    return Line(
        name, healthy, "; ".join(problems) or None, None if champion is None else str(champion),
        status.get("last_tick"), status.get("next_run"), alerts,
    )  # fmt: skip


def name_projects(installation: Installation, projects: Sequence[Found]) -> str:
    """What an `up` is called in messages: its projects where they are few, else its folder.

    >>> from pathlib import Path
    >>> name_projects(Installation(Path("a/.homeostat"), (Path("a"),)), [])
    'a'
    """
    names = [entry.project.name for entry in projects if entry.project is not None]
    if not 0 < len(names) <= 4:
        return ", ".join(place.name for place in installation.places)
    return ", ".join(names)
