"""Arguments and options that commands share."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop

Folder = Annotated[Path, typer.Argument(help="The project's folder.", show_default="the current one")]
HERE = Path()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the journal.")]


class From(StrEnum):
    """Which state is read."""

    LIVE = "live"
    REPLAY = "replay"


FromWhere = Annotated[
    From | None,
    typer.Option("--from", help="Which state to read: the live one, or the replay's where there is no live one."),
]


def open_for_reading(folder: Path, chosen: From | None) -> Loop:
    """Open the live state, or the replay's where there is none. Raises HomeostatError where there is neither."""
    from homeostat.project import load_project
    from homeostat.records import Scope
    from homeostat.settings import find_paths

    project = load_project(folder)
    wanted = [Scope(chosen.value)] if chosen else [Scope.LIVE, Scope.REPLAY]
    existing = [scope for scope in wanted if find_paths(project, scope).root.exists()]
    if not existing:
        raise HomeostatError(
            f"{project.folder}: there is no {' or '.join(wanted)} state yet.",
            f"Run 'homeostat replay {folder}' or 'homeostat tick {folder}' first.",
        )
    from homeostat.flows.loop import open_loop

    loop = open_loop(folder, existing[0])
    # A first tick that failed leaves an empty live state, which must not hide a replay.
    return loop if len(existing) == 1 or loop.store.list_batches() else open_loop(folder, existing[1])


@contextmanager
def open_for_changing(folder: Path, chosen: From | None) -> Iterator[Loop]:
    """Open as for reading, and claim the scope. Raises BusyError while something runs there."""
    from homeostat.flows.locks import claim

    with claim(folder, open_for_reading(folder, chosen).scope) as loop:
        yield loop


@contextmanager
def open_live(folder: Path) -> Iterator[Loop]:
    """Open the live state, making it where there is none, and claim it. Raises BusyError."""
    from homeostat.flows.locks import claim
    from homeostat.hooks import load_hooks
    from homeostat.project import load_project
    from homeostat.records import Scope

    load_hooks(load_project(folder).folder)
    with claim(folder, Scope.LIVE) as loop:
        yield loop


def split_action(action: str, folder: Path, known: tuple[str, ...]) -> tuple[str, Path]:
    """Tell an action from a project's folder that was given in its place: the first action is the default."""
    if action in known:
        return action, folder
    if Path(action).is_dir() and folder == HERE:
        return known[0], Path(action)
    raise HomeostatError(f"{action!r} is neither {' nor '.join(known)} nor a project's folder.")


def now() -> datetime:
    """The wall clock, read at the door; everything behind it takes the time as an argument."""
    return datetime.now(UTC)


def person() -> str:
    """Who drives the command line, for the journal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return os.environ.get("USER", "unknown")


def instant_option(option: str, text: str | None) -> datetime | None:
    """The instant that an option gives, UTC unless it says otherwise. Raises HomeostatError where it is not a time."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise HomeostatError(f"{option} {text!r}: not a time.", "Expected ISO, as in 2020-03-01.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
