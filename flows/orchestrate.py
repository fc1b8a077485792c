"""Replay under Prefect's eyes: the same ticks, each a flow run that the Prefect UI shows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from flows.replay import Progress, replay
from homeostat.project import load_project
from homeostat.records import Scope
from homeostat.settings import find_house


def orchestrated_replay(
    folder: Path, *, fresh: bool, until: datetime | None, progress: Progress, with_prefect: bool = True
) -> dict[str, Any]:
    """Replay a project with every tick recorded as a flow run, or without Prefect where it is not wanted."""
    if not with_prefect:
        return replay(folder, fresh=fresh, until=until, progress=progress)
    from flows.servers import prefect_server

    project = load_project(folder)
    progress(0, 1, "starting the Prefect server")
    with prefect_server(find_house(project, Scope.REPLAY)):
        from flows.tick import observed_tick

        def tick(where: str, scope: str, at: str) -> Any:
            return observed_tick(where, project.name, scope, at)

        return replay(folder, fresh=fresh, until=until, progress=progress, tick=tick)
