"""The projects of an installation as the status screen shows them: what the console, the runner and their files say."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from homeostat.console.supervision.keeper import read_heartbeat
from homeostat.console.supervision.services import HEARTBEAT
from homeostat.errors import HomeostatError
from homeostat.installation import Found, Installation, list_projects

EVERY_SECONDS = 10
ASK_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A project on the screen; `healthy` is None while nobody has said so."""

    name: str
    healthy: bool | None = None
    problem: str | None = None
    champion: str | None = None
    last_tick: str | None = None
    next_run: str | None = None
    alerts: int | None = None


class Board(threading.Thread):
    """Looks at the projects every few seconds, in a thread of its own; `lines` and `found` are what it saw last."""

    def __init__(self, installation: Installation, console: str | None, key: str) -> None:
        """Prepare to look; `console` is asked with `key` for more than the files say, where it is given."""
        super().__init__(name="board", daemon=True)
        self.lines: list[Line] | None = None
        self.found: Sequence[Found] = ()
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
        found: Sequence[Found] = ()
        with suppress(OSError, ValueError, HomeostatError):
            found = list_projects(self._installation.places)
        self.found = found
        _, beats = read_heartbeat(self._installation.root / HEARTBEAT)
        self.lines = [line_of(each, beats, told) for told in [self._ask()] for each in found]

    def _ask(self) -> dict[str, dict[str, Any]]:
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
            return {each["name"]: each for each in json.load(answer)}
        return {}


def line_of(found: Found, beats: dict[str, Any], told: dict[str, dict[str, Any]]) -> Line:
    """What is known of a project: a problem of its file first, then of the runner, then what the console says.

    >>> from pathlib import Path
    >>> line_of(Found(Path("shop"), problem="no such key."), {}, {})
    Line(name='shop', healthy=False, problem='no such key.', champion=None, last_tick=None, next_run=None, alerts=None)
    """
    name = found.project.name if found.project is not None else found.folder.name
    if found.problem is not None:
        return Line(name, False, found.problem)
    problem = (beats.get(name) or {}).get("problem")
    said = told.get(name, {})
    problems = [each for each in (problem, *(said.get("problems") or ())) if each]
    healthy = False if problem else said.get("healthy")
    champion, alerts = said.get("champion"), said.get("alerts_open")
    return Line(
        name, healthy, "; ".join(problems) or None, None if champion is None else str(champion),
        said.get("last_tick"), said.get("next_run"), alerts,
    )  # fmt: skip


def name_projects(installation: Installation, found: Sequence[Found]) -> str:
    """What an `up` is called in messages: its projects where they are few, else its folder.

    >>> from pathlib import Path
    >>> name_projects(Installation(Path("a/.homeostat"), (Path("a"),)), [])
    'a'
    """
    names = [each.project.name for each in found if each.project is not None]
    if not 0 < len(names) <= 4:
        return ", ".join(place.name for place in installation.places)
    return ", ".join(names)
