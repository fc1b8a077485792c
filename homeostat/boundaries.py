"""Named commit boundaries: the moments right before and right after each durable write.

Crash safety is stated in terms of them: a process that dies at any boundary loses nothing and repeats nothing.
Two variables of the environment make that testable from outside: `HOMEOSTAT_BOUNDARY_LOG` names a file that gets
each boundary passed, and `HOMEOSTAT_KILL_AT=NAME` (or `NAME#3` for its third passing) ends the process there by
SIGKILL.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_passed: Counter[str] = Counter()
_guard: ContextVar[Callable[[], None] | None] = ContextVar("guard", default=None)


@contextmanager
def commit(name: str) -> Iterator[None]:
    """Mark the durable write inside as `name`: boundaries `name:before` and `name:after`."""
    if (check := _guard.get()) is not None:
        check()
    reach(f"{name}:before")
    yield
    reach(f"{name}:after")


@contextmanager
def guarded(check: Callable[[], None]) -> Iterator[None]:
    """Ask `check` before every durable write that this thread makes in the block; what it raises prevents the write."""
    token = _guard.set(check)
    try:
        yield
    finally:
        _guard.reset(token)


def reach(name: str) -> None:
    """Pass the boundary `name`; does nothing unless the environment asks for a log or a kill."""
    log, kill_at = os.environ.get("HOMEOSTAT_BOUNDARY_LOG"), os.environ.get("HOMEOSTAT_KILL_AT")
    if not log and not kill_at:
        return
    _passed[name] += 1
    if log:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{name}#{_passed[name]}\n")
    if kill_at and kill_at in {f"{name}#{_passed[name]}", name if _passed[name] == 1 else ""}:
        os.kill(os.getpid(), signal.SIGKILL)
