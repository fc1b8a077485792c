"""Replay under Prefect's eyes: the same ticks, each a flow run that the Prefect UI shows."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from homeostat.flows.replay.run import Progress, replay
from homeostat.project import Project, load_project
from homeostat.records import Scope
from homeostat.settings import find_paths


def orchestrated_replay(
    folder: Path, *, fresh: bool, until: datetime | None, progress: Progress, with_prefect: bool = True
) -> dict[str, Any]:
    """Replay a project with every tick recorded as a flow run, or without Prefect where it is not wanted."""
    if not with_prefect:
        return replay(folder, fresh=fresh, until=until, progress=progress)
    project = load_project(folder)
    with ExitStack() as stack:
        observed = _Observed(project, stack, progress)
        return replay(folder, fresh=fresh, until=until, progress=progress, tick=observed.tick)


class _Observed:
    """Ticks as flow runs on a server that is started with the first of them: a mistake in the data shows before."""

    def __init__(self, project: Project, stack: ExitStack, progress: Progress) -> None:
        self._project, self._stack, self._progress = project, stack, progress
        self._started = False

    def tick(self, folder: str, scope: str, at: str) -> Any:
        """Run one tick as a flow run."""
        if not self._started:
            from homeostat.flows.servers.local import prefect_server

            self._progress(0, 1, "starting the Prefect server")
            self._stack.enter_context(prefect_server(find_paths(self._project, Scope.REPLAY)))
            self._started = True
        from homeostat.flows.orchestration.tick import observed_tick

        return observed_tick(folder, self._project.name, scope, at)
