"""New inputs and labels in local files: watched, and announced as events, at most as often as batches may come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from homeostat.flows.events import INPUTS_ARRIVED, LABELS_ARRIVED, announce
from homeostat.project import Project
from homeostat.sections.data import Source

if TYPE_CHECKING:
    from watchfiles import Change

WILD = "*?["
LOOK_SECONDS = 2.0
DEBOUNCE_MS = 1600


@dataclass(frozen=True, slots=True)
class Watched:
    """A local source: which event a file that matches `pattern` in `folder` stands for."""

    event: str
    project: str
    folder: Path
    pattern: str
    deep: bool
    gap_seconds: float

    def holds(self, path: str) -> bool:
        """Whether a path is one of the source's files."""
        return fnmatch(path, self.pattern)


def list_watched(projects: Iterable[Project]) -> list[Watched]:
    """The sources of projects that are files of this machine; inputs only where they are scored as they come."""
    listed = []
    for project in projects:
        sources: list[tuple[str, Source]] = [(LABELS_ARRIVED, project.data.feedback)]
        if project.schedule.arrivals == "score":
            sources.append((INPUTS_ARRIVED, project.data.inputs))
        listed += [watched for event, source in sources if (watched := _watched(project, event, source)) is not None]
    return listed


def _watched(project: Project, event: str, source: Source) -> Watched | None:
    if source.uri is None or "://" in source.uri:
        return None
    pattern = str(project.folder / source.uri)
    parts = Path(pattern).parts
    plain = [i for i, part in enumerate(parts) if any(sign in part for sign in WILD)]
    first = plain[0] if plain else len(parts) - 1
    folder = Path(*parts[:first])
    deep = first < len(parts) - 1
    return Watched(event, project.name, folder, pattern, deep, project.gap.total_seconds())


class FileWatch:
    """Watches the sources of whatever projects it is told of, and announces what changed."""

    def __init__(self) -> None:
        self._watched: tuple[Watched, ...] = ()
        self._changed = asyncio.Event()
        self._waiting: dict[Watched, int] = {}
        self._announced: dict[tuple[str, str], float] = {}

    def watch(self, projects: Sequence[Project]) -> None:
        """Watch the sources of these projects from now on."""
        watched = tuple(source for source in list_watched(projects) if source.folder.is_dir())
        if watched != self._watched:
            self._watched = watched
            self._changed.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell())
            while True:
                self._changed.clear()
                if self._watched:
                    await self._notice(self._watched)
                else:
                    await self._changed.wait()

    async def _notice(self, watched: tuple[Watched, ...]) -> None:
        from watchfiles import awatch

        folders = {source.folder for source in watched}
        deep = any(source.deep for source in watched)

        def concerns(_change: Change, path: str) -> bool:
            return any(source.holds(path) for source in watched)

        changes = awatch(
            *folders, watch_filter=concerns, debounce=DEBOUNCE_MS, stop_event=self._changed, recursive=deep
        )
        async for changed in changes:
            for _, path in changed:
                self._waiting |= {source: self._waiting.get(source, 0) + 1 for source in watched if source.holds(path)}

    async def _tell(self) -> None:
        """Announce what waits; soon after the last time it waits on, for it would be left to the next tick."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for source in list(self._waiting):
                key = (source.event, source.project)
                if now - self._announced.get(key, -source.gap_seconds) < source.gap_seconds:
                    continue
                files = self._waiting.pop(source)
                self._announced[key] = now
                await asyncio.to_thread(
                    announce, source.event, source.project, {"changes": files, "source": source.pattern}
                )
