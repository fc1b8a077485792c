"""Starting `homeostat up` in the background, and ending the one that runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from homeostat.console.supervision.keeper import WELL, rotate
from homeostat.console.supervision.notes import Note, is_here, list_notes
from homeostat.errors import CheckFailed, HomeostatError

READY_SECONDS = 240
END_SECONDS = 90
WORD_SECONDS = 15


def start_detached(arguments: Sequence[str], note: Path, tell: Callable[[int, int, str], None]) -> Note:
    """Run `homeostat up` with these arguments in the background until all its services are healthy; returns its note.

    What it prints goes to `logs/up.log`. Raises HomeostatError with what it said where it ends at once, CheckFailed
    where its services are not healthy in time; it then runs on.
    """
    log = note.parent / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    with log.open("ab") as out:
        began = out.tell()
        process = subprocess.Popen(
            [sys.executable, "-c", "from homeostat.console.main import main; main()", "up", *arguments],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        return _await_ready(process, note, log, began, tell)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def _await_ready(
    process: subprocess.Popen[bytes], file: Path, log: Path, began: int, tell: Callable[[int, int, str], None]
) -> Note:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            output = log.read_bytes()[began:].decode("utf-8", "replace").strip().splitlines()
            mistakes = [line.removeprefix("homeostat: ") for line in output if line.startswith("homeostat: ")]
            raise HomeostatError("; ".join(mistakes or output[-1:]) or f"it ended at once; see {log}.")
        for note in list_notes(file.parent):
            if note.file == file and note.content.get("pid") == process.pid:
                well = [service["state"] in WELL for service in note.services.values()]
                tell(sum(well), len(well), "starting")
                if all(well):
                    return note
        time.sleep(0.2)
    raise CheckFailed(
        f"not all services are healthy after {READY_SECONDS} s; they keep running, see 'homeostat status' and {log}."
    )


def end(note: Note) -> None:
    """End the `up` of a note and wait until nothing is left of it. Raises HomeostatError where that cannot be."""
    note = _await_word(note)
    pid = note.content.get("pid")
    if not pid or not is_here(note):
        raise HomeostatError(
            f"{note.file}: that 'homeostat up' runs on {note.content.get('machine', 'an unknown machine')}, not here.",
            "Stop it there.",
        )
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise HomeostatError(f"process {pid} belongs to another user.", "That user can stop it.") from None
    except ProcessLookupError:
        pass
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        if _is_gone(pid) and not any(left.file == note.file and left.runs for left in list_notes(note.root)):
            with suppress(FileNotFoundError):
                note.file.unlink()
            return
        time.sleep(0.1)
    raise CheckFailed(f"process {pid} did not end within {END_SECONDS} s.")


def _await_word(note: Note) -> Note:
    """The note of an `up` once it has said who it is: one that has just begun has not yet."""
    deadline = time.monotonic() + WORD_SECONDS
    while not note.content and time.monotonic() < deadline:
        time.sleep(0.2)
        note = next((newer for newer in list_notes(note.root) if newer.file == note.file), note)
    return note


def _is_gone(pid: int) -> bool:
    """Whether a process has ended; one that waits for its parent to ask how has ended too."""
    try:
        os.kill(pid, 0)
    except OSError:
        return True
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False
