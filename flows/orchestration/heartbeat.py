"""The heartbeat of the runner: a file that says that it lives, and what is wrong with which project."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

HEARTBEAT_FILE = "runner.json"


class Beat(TypedDict):
    """What the heartbeat says of a project: its folder, and what is wrong with it, None where nothing is."""

    folder: str
    problem: str | None


def write_heartbeat(root: Path, projects: Mapping[str, Beat]) -> None:
    """Write the heartbeat of an installation's runner, whole or not at all; `projects` go by their names."""
    content = {"at": datetime.now(UTC).isoformat(), "pid": os.getpid(), "projects": projects}
    part = root / f".{HEARTBEAT_FILE}.part"
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(root / HEARTBEAT_FILE)


def read_heartbeat(file: Path) -> tuple[datetime | None, dict[str, Beat]]:
    """When the runner wrote a heartbeat last, and what it says of its projects; None where it never did."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(file.read_text(encoding="utf-8"))
        at = datetime.fromisoformat(content["at"])
        return (at if at.tzinfo else at.replace(tzinfo=UTC)), content.get("projects", {})
    return None, {}
