"""Replay: every tick from the loop's start to the end of the data, with a simulated clock."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from homeostat.errors import ProjectError
from homeostat.flows.exports import summarize, write_history
from homeostat.flows.locks import exclusive
from homeostat.flows.loop import Loop, forget_open_loops, open_loop, slot, tick_index
from homeostat.flows.stages.sequence import due_slots, run_tick
from homeostat.hooks import Hooks
from homeostat.pipelines.data.sources import Span, span
from homeostat.pipelines.setup.soundness import require_sound
from homeostat.project import PROJECT_FILE, Project, load_project
from homeostat.records import Document, Scope
from homeostat.settings import find_paths

Progress = Callable[[int, int, str], None]
RunTick = Callable[[str, str, str], Any]
SETUP = "setup.json"


def replay(
    folder: Path,
    *,
    fresh: bool = False,
    until: datetime | None = None,
    progress: Progress = lambda done, total, text: None,
    tick: RunTick = lambda folder, scope, at: run_tick(folder, scope, at),
) -> Document:
    """Replay a project's history, or go on where a replay stopped; returns what `summary.json` says.

    `tick` runs one tick (folder, scope, instant). Raises BusyError while another replay of the project runs,
    DataError where the project's data cannot be replayed.
    """
    project = load_project(folder)
    root = find_paths(project, Scope.REPLAY).root
    with exclusive(root, f"a replay of {project.name!r}"):
        began = time.monotonic()
        if fresh or (root / "wiping").exists():
            _wipe(folder, root)
        loop = open_loop(folder, Scope.REPLAY)
        _same_setup(loop)
        progress(0, 1, "checking the project and its data")
        require_sound(project, loop.hooks)
        _keep_setup(loop)
        ends = span(project, loop.hooks)
        end = last_slot(project, loop.hooks, until, ends)
        slots = due_slots(project.folder, end, Scope.REPLAY)
        total = tick_index(project, end) + 1
        for at in slots:
            progress(tick_index(project, datetime.fromisoformat(at)), total, at)
            tick(str(project.folder), Scope.REPLAY, at)
        progress(total, total, "writing the summary and the report")
        summary = summarize(loop, _wall_seconds(root, began, bool(slots)))
        summary |= {"misdated": ends.misdated_inputs + ends.misdated_labels}
        write_history(loop, summary)
        return summary


def last_slot(project: Project, hooks: Hooks, until: datetime | None, ends: Span | None = None) -> datetime:
    """The end of the last slot: the first that covers all inputs and labels, or the newest not after `until`.

    Rows whose time is taken for a mistake are left out (see `span`).
    """
    ends = span(project, hooks) if ends is None else ends
    newest = [t for t in (ends.last_input_available, ends.last_label_available) if t is not None]
    if not newest:
        hint = "What is posted is not replayed." if project.data.inputs.posted else "Check data.inputs and event_time."
        raise ProjectError(f"{project.file}: the data holds no row with a time.", hint)
    index = max(tick_index(project, max(newest)) + 1, 0)
    if ends.last_input_available != max(newest) and slot(project, index - 1) == max(newest):
        index -= 1
    if until is not None:
        index = min(index, tick_index(project, until.astimezone(UTC)))
    return slot(project, max(index, 0))


def _wipe(folder: Path, root: Path) -> None:
    marker = root / "wiping"
    marker.touch()
    loop = open_loop(folder, Scope.REPLAY)
    loop.models.forget()
    loop.store.engine.dispose()
    forget_open_loops()
    for path in root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in {"lock", "wiping"}:
            path.unlink()
    marker.unlink()


def _same_setup(loop: Loop) -> None:
    """A resumed replay must go on with the project it began with, or its end would be a mixture of two."""
    file = loop.paths.root / SETUP
    if file.exists() and json.loads(file.read_text()) != _digests(loop):
        raise ProjectError(
            f"{loop.project.file}: the project changed since its replay began.", "Start over with 'replay --fresh'."
        )


def _keep_setup(loop: Loop) -> None:
    """Kept once the project is found sound: what is mended before its first tick is no change."""
    _write(loop.paths.root / SETUP, json.dumps(_digests(loop)))


def _digests(loop: Loop) -> dict[str, str]:
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name in (PROJECT_FILE, "hooks.py")
        if (path := loop.project.folder / name).exists()
    }


def _wall_seconds(root: Path, began: float, worked: bool) -> float:
    """Wall time over all the pieces of a replay that was stopped and resumed."""
    file = root / "wall.json"
    before = json.loads(file.read_text()) if file.exists() else 0.0
    total = before + (time.monotonic() - began if worked else 0.0)
    _write(file, json.dumps(total))
    return round(total, 3)


def _write(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
