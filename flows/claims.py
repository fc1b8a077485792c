"""One worker at a time: a scope's folder is claimed before anything in it is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from homeostat.errors import BusyError
from homeostat.project import load_project
from homeostat.records import Scope
from homeostat.settings import find_house


@contextmanager
def exclusive(root: Path, what: str) -> Iterator[None]:
    """Hold the lock of a scope's folder; the lock of a process that died is free. Raises BusyError."""
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(
            f"{what} is running already.", "Wait until it ends, or stop it; it can be resumed where it stopped."
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def claim(folder: Path | str, scope: str) -> Iterator[None]:
    """Hold the lock of a project in a scope, for a run that works on it. Raises BusyError."""
    project = load_project(folder)
    with exclusive(find_house(project, Scope(scope)).root, f"a run of {project.name!r}"):
        yield
