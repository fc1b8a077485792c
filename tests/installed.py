"""Where the programs are that some tests need; the variable HOMEOSTAT_TEST_WITHOUT hides those that it names."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

HIDE = "HOMEOSTAT_TEST_WITHOUT"
LABEL_STUDIO = Path(__file__).parent / "label_studio.sh"


def find_chromium() -> Path | None:
    """The program of Chromium; None where it is not installed."""
    return _unless_hidden("chromium", lambda: _on_path("chromium"))


def find_postgresql() -> Path | None:
    """The folder of PostgreSQL's programs, the newest where there are several; None where it is not installed."""
    return _unless_hidden("postgresql", _newest_postgresql)


def find_label_studio() -> Path | None:
    """The virtual environment of a Label Studio server; None where it is not installed."""
    return _unless_hidden("label-studio", _label_studio)


FINDERS: dict[str, Callable[[], Path | None]] = {
    "chromium": find_chromium,
    "postgresql": find_postgresql,
    "label-studio": find_label_studio,
}


def hidden() -> list[str]:
    """The programs that HOMEOSTAT_TEST_WITHOUT names. Raises ValueError where it names one that is not in FINDERS."""
    named = [name.strip() for name in os.environ.get(HIDE, "").split(",") if name.strip()]
    if unknown := sorted(set(named) - FINDERS.keys()):
        raise ValueError(f"{HIDE}: {', '.join(unknown)}: expected some of {', '.join(FINDERS)}")
    return named


def missing(program: str) -> str:
    """Why a test is skipped."""
    return f"{program} is not installed here; 'make system' installs it"


def _unless_hidden(name: str, find: Callable[[], Path | None]) -> Path | None:
    return None if name in hidden() else find()


def _on_path(program: str) -> Path | None:
    found = shutil.which(program)
    return Path(found) if found else None


def _newest_postgresql() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[4]))
    program = found[-1] if found else _on_path("initdb")
    return program.parent if program else None


def _label_studio() -> Path | None:
    done = subprocess.run([str(LABEL_STUDIO), "find"], capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None
