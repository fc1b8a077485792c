"""What a running `homeostat up` leaves for others to read, and how they can tell that it still runs.

Each service has a lock in `ROOT/up/`, which the `up` that runs it holds as long as it lives. `ROOT/services.json` says
what it runs; one that runs only some services has a note of its own, so that several can share a root.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from homeostat.console.supervision.services import KINDS
from homeostat.errors import BusyError, ProjectError
from homeostat.installation import SERVICES_FILE, Installation, find_installation
from homeostat.project import PROJECT_FILE

CLAIM_SECONDS = 0.5


ServiceState = dict[str, Any]
"""What a note says of a service: url, pid, state, restarts, since, log, problem, and what it serves."""


@dataclass(frozen=True, slots=True)
class Note:
    """What an `up` says of itself, and whether it still runs; `content` is empty until it has written its file."""

    file: Path
    runs: bool
    content: dict[str, Any]

    @property
    def root(self) -> Path:
        """The root of its installation."""
        return self.file.parent

    @property
    def services(self) -> dict[str, ServiceState]:
        """Its services by name."""
        return self.content.get("services", {})

    @property
    def places(self) -> tuple[Path, ...]:
        """The projects and folders of projects that it runs."""
        return tuple(map(Path, self.content.get("places", ())))

    def describe(self) -> str:
        """Its process and its addresses, in one line."""
        urls = ", ".join(f"{name} {service['url']}" for name, service in self.services.items() if service.get("url"))
        return f"process {self.content.get('pid', 'unknown')}" + (f"; {urls}" if urls else "")


def note_file(root: Path, only: Sequence[str]) -> Path:
    """Where an `up` of these services, or of all, says what it runs."""
    return root / (f"services-{'-'.join(sorted(only))}.json" if only else SERVICES_FILE)


def hold(root: Path, only: Sequence[str], what: str, held: ExitStack) -> None:
    """Hold the locks of services until `held` ends. Raises BusyError where another `up` runs one of them."""
    (root / "up").mkdir(parents=True, exist_ok=True)
    for kind in only or KINDS:
        lock = _lock(root, kind)
        try:
            held.enter_context(lock.acquire(timeout=CLAIM_SECONDS))
        except Timeout:
            running = "; ".join(note.describe() for note in list_notes(root) if note.runs)
            raise BusyError(
                f"'homeostat up' of {what} is already running" + (f" ({running})." if running else "."),
                "'homeostat down' stops it.",
            ) from None


def list_notes(root: Path) -> list[Note]:
    """Every note of a root, that of a whole `up` first; a whole `up` that has not said a word yet has one too."""
    files = sorted(root.glob("services-*.json"))
    whole = root / SERVICES_FILE
    return [
        *([_note(whole, KINDS)] if whole.exists() or all(_is_held(root, kind) for kind in KINDS) else []),
        *(_note(file, tuple(file.stem.split("-")[1:])) for file in files),
    ]


def locate(folders: Sequence[Path]) -> Installation:
    """The installation of these folders, also where the only project's file was broken since it was started."""
    try:
        return find_installation(folders)
    except ProjectError:
        place = (folders[0].parent if folders[0].name == PROJECT_FILE else folders[0]).resolve()
        return Installation(place / ".homeostat", (place,))


def find_notes(folders: Sequence[Path]) -> list[Note]:
    """The notes of the installation of these folders, else those of one around or beside it that runs them too."""
    notes = list_notes(locate(folders).root)
    if notes or len(folders) != 1:
        return notes
    folder = (folders[0].parent if folders[0].name == PROJECT_FILE else folders[0]).resolve()
    around = list_notes(folder.parent / ".homeostat")
    return [note for note in around if {folder, folder.parent} & set(note.places)]


def write_note(file: Path, content: Mapping[str, object]) -> None:
    """Write a note at once, so that a reader never meets half of one."""
    draft = file.with_suffix(".json.new")
    draft.write_text(json.dumps({**content, "machine": socket.gethostname()}, indent=1) + "\n", encoding="utf-8")
    draft.replace(file)


def is_here(note: Note) -> bool:
    """Whether the process of a note runs on this machine, so that its number means something."""
    return note.content.get("machine") == socket.gethostname()


def _note(file: Path, kinds: Sequence[str]) -> Note:
    content: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        content = json.loads(file.read_text(encoding="utf-8"))
    return Note(file, all(_is_held(file.parent, kind) for kind in kinds), content)


def _is_held(root: Path, kind: str) -> bool:
    lock = _lock(root, kind)
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


def _lock(root: Path, kind: str) -> FileLock:
    return FileLock(root / "up" / f"{kind}.lock")
