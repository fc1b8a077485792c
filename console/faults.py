"""What a person is not shown: tracebacks, which go to a log, and the output of native libraries."""

from __future__ import annotations

import _thread
import faulthandler
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from homeostat.durations import instant
from homeostat.errors import HomeostatError

FAULTS = "faults.log"
AGAIN_SECONDS = 0.05
_MOST_NOISE = 20_000

_noise: list[IO[bytes]] = []


def keep_native_noise() -> None:
    """Keep what Rust and C libraries write to standard error past Python, such as panics, off the screen.

    Python's own `sys.stderr` goes on to the screen, and so does the report of a hard crash.
    """
    try:
        screen = os.dup(2)
    except OSError:
        return
    noise = tempfile.TemporaryFile()  # noqa: SIM115 - it is kept as long as the process
    os.dup2(noise.fileno(), 2)
    sys.stderr = open(screen, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115, PTH123
    faulthandler.enable(file=sys.stderr)
    sys.unraisablehook = _keep_unraisable
    _noise.append(noise)


def _keep_unraisable(ignored: sys.UnraisableHookArgs) -> None:
    """Log a fault that Python can only print; a Ctrl-C that arrived in such a place is raised again later."""
    if ignored.exc_type is KeyboardInterrupt:
        again = threading.Timer(AGAIN_SECONDS, _thread.interrupt_main)
        again.daemon = True
        again.start()
    elif _noise:
        lines = traceback.format_exception(ignored.exc_type, ignored.exc_value, ignored.exc_traceback)
        _noise[0].write("".join(lines).encode())


def record_fault(fault: BaseException, arguments: Sequence[str], at: datetime) -> Path | None:
    """Append a fault's traceback to the log of the project that the arguments name; None where no disk takes it."""
    return append_fault(fault, f"homeostat {' '.join(arguments)}", at, _places(arguments))


def append_fault(fault: BaseException, what: str, at: datetime, folders: Iterable[Path]) -> Path | None:
    """Append a fault's traceback, and what was being done, to the log of the first folder that takes it."""
    text = "".join(traceback.format_exception(fault))
    entry = f"{instant(at)} {what}\n{text}{_read_noise()}\n"
    for folder in folders:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / FAULTS).open("a", encoding="utf-8") as log:
                log.write(entry)
            return folder / FAULTS
    return None


def _places(arguments: Sequence[str]) -> list[Path]:
    named = (_state(Path(argument)) for argument in [*arguments, "."] if not argument.startswith("-"))
    state = next((place for place in named if place is not None), None)
    elsewhere = Path(tempfile.gettempdir()) / "homeostat"
    return [elsewhere] if state is None else [state, elsewhere]


def _state(folder: Path) -> Path | None:
    from homeostat.project import load_project
    from homeostat.settings import state_folder

    try:
        return state_folder(load_project(folder))
    except (HomeostatError, OSError):
        return None


def _read_noise() -> str:
    if not _noise:
        return ""
    end = _noise[0].seek(0, os.SEEK_END)
    _noise[0].seek(max(end - _MOST_NOISE, 0))
    return _noise[0].read().decode(errors="replace")
