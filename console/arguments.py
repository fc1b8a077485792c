"""Arguments and options that commands share."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from flows.loop import Loop

Folder = Annotated[Path, typer.Argument(help="The project's folder.", show_default="the current one")]
HERE = Path()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the journal.")]


class From(StrEnum):
    """Whose state is read."""

    LIVE = "live"
    REPLAY = "replay"


FromWhere = Annotated[
    From | None, typer.Option("--from", help="Whose state: the live one, or the replay's where there is no live one.")
]


def open_for_reading(folder: Path, chosen: From | None) -> Loop:
    """Open the live state, or the replay's where there is no live one. Raises HomeostatError where there is neither."""
    from homeostat.project import load_project
    from homeostat.records import Scope
    from homeostat.settings import find_house

    project = load_project(folder)
    wanted = [Scope(chosen.value)] if chosen else [Scope.LIVE, Scope.REPLAY]
    for scope in wanted:
        if find_house(project, scope).root.exists():
            from flows.loop import open_loop

            return open_loop(folder, scope)
    raise HomeostatError(
        f"{project.folder}: there is no {' or '.join(wanted)} state yet.",
        f"Run 'homeostat replay {folder}' or 'homeostat tick {folder}' first.",
    )


def now() -> datetime:
    """The wall clock, read at the door; everything behind it takes the time as an argument."""
    return datetime.now(UTC)


def person() -> str:
    """Who drives the command line, for the journal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return os.environ.get("USER", "unknown")
