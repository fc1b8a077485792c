"""A day of ticks in minutes, with something killed every few seconds: each slot once, no alert lost, nothing left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from homeostat.durations import instant
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.stages.sequence import STAGES
from homeostat.records import BatchState, Scope

TICK = timedelta(seconds=10)
SLOTS = 24
PER_SLOT, BEFORE = 5, 1800
KILL_EVERY = (8.0, 16.0)
BROKEN_EVERY = 4
DEADLINE_SECONDS = 660

PROJECT = """
[project]
name = "enduring"
task = "binary"
[data]
key = "id"
event_time = "at"
target = "y"
numeric = ["x"]
[data.inputs]
uri = "inputs.parquet"
[data.feedback]
uri = "feedback.parquet"
known_at = "known_at"
horizon = "2m"
[data.rules.ranges]
x = {{ min = -50, max = 50 }}
[loop]
tick = "10s"
start = "{start}"
[training]
rounds = 10
"""


def endless_project(folder: Path, start: datetime) -> Path:
    """A project of ten-second ticks whose source ends with its 24th; every fourth slot has a row that breaks a rule."""
    folder.mkdir(parents=True)
    chance = random.Random(0)
    times = [start - timedelta(hours=1) + timedelta(seconds=2 * i) for i in range(BEFORE + PER_SLOT * (SLOTS - 1))]
    x = [chance.gauss(0, 1) for _ in times]
    y = [int(value + chance.gauss(0, 1) > 0) for value in x]
    ids = list(range(len(times)))
    for slot in range(BROKEN_EVERY, SLOTS, BROKEN_EVERY):
        x[BEFORE + PER_SLOT * (slot - 1)] = 1e6
    pl.DataFrame({"id": ids, "at": times, "x": x}).write_parquet(folder / "inputs.parquet")
    known = [at + timedelta(seconds=20) for at in times]
    pl.DataFrame({"id": ids, "y": y, "known_at": known}).write_parquet(folder / "feedback.parquet")
    (folder / "homeostat.toml").write_text(PROJECT.format(start=start.isoformat()))
    return folder


@contextmanager
def homeostat_up(root: Path, shelf: Path) -> Iterator[Callable[[], list[int]]]:
    """`homeostat up`, which restarts its services by itself."""
    log = shelf / "up.log"
    command = [sys.executable, "-c", "from homeostat.console.main import main; main()", "up", str(shelf)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**env, "HOMEOSTAT_HOME": str(root)})

    def pids() -> list[int]:
        with suppress(OSError, ValueError):
            services = json.loads((root / "services.json").read_text())["services"]
            return [service["pid"] for service in services.values() if service.get("pid")]
        return []

    try:
        yield pids
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


@pytest.mark.long
def test_whatever_is_killed_each_slot_runs_once_and_no_alert_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, shelf = tmp_path / "root", tmp_path / "shelf"
    root.mkdir()
    shelf.mkdir()
    monkeypatch.setenv("HOMEOSTAT_HOME", str(root))
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=20)
    folder = endless_project(shelf / "enduring", start)
    chance, killed = random.Random(1), 0
    deadline = time.monotonic() + DEADLINE_SECONDS
    forget_open_loops()
    with homeostat_up(root, shelf) as pids:
        until = time.monotonic() + TICK.total_seconds() * SLOTS
        while time.monotonic() < until:
            time.sleep(chance.uniform(*KILL_EVERY))
            killed += kill_one(chance, pids())
        loop = open_loop(folder, Scope.LIVE)
        last = start + TICK * (SLOTS - 1)
        while loop.store.get_stage(last, "notify") is None or loop.store.list_alerts(undelivered=True):
            assert time.monotonic() < deadline, (loop.store.last_tick("notify"), logs(root))
            time.sleep(1)
    print(f"{killed} processes killed")
    assert killed >= SLOTS / 2
    require_whole(loop, start)
    assert left_over(root) == []


def require_whole(loop: Loop, start: datetime) -> None:
    """Each slot ran once, each row was scored once, and each alert was raised once and delivered."""
    ends = [start + TICK * index for index in range(SLOTS)]
    for stage in STAGES:
        assert [at for at in ends if loop.store.get_stage(at, stage) is None] == [], stage
    batches = {batch.id: batch for batch in loop.store.list_batches()}
    assert {instant(at) for at in ends} <= set(batches)
    assert {batch.state for batch in batches.values()} <= {BatchState.HISTORY, BatchState.SCORED}
    predictions = loop.lake.read("predictions", pl.col("role") == "champion")
    assert predictions is not None
    broken = len(range(BROKEN_EVERY, SLOTS, BROKEN_EVERY))
    assert predictions["id"].n_unique() == predictions.height == PER_SLOT * (SLOTS - 1) - broken
    quarantined = loop.lake.read("quarantine", pl.col("source") == "inputs")
    assert quarantined is not None
    assert quarantined.height == broken
    alerts = [alert for alert in loop.store.list_alerts() if alert.key.endswith("/validation")]
    assert len(alerts) == broken
    assert loop.store.list_alerts(undelivered=True) == []
    entries = loop.store.list_journal()
    assert len({entry.key for entry in entries}) == len(entries)
    decided = [entry for entry in entries if entry.key.endswith("/decide_retraining")]
    assert sorted(entry.at for entry in decided if entry.at <= ends[-1]) == ends
    assert loop.store.verify_journal().sound


def kill_one(chance: random.Random, services: list[int]) -> int:
    """Kill a service or a run that it started; how many were killed."""
    runs = [pid for service in services for pid in children_of(service) if "prefect.engine" in words_of(pid)]
    candidates = [*services, *runs]
    if not candidates:
        return 0
    with suppress(ProcessLookupError):
        os.kill(chance.choice(candidates), signal.SIGKILL)
        return 1
    return 0


def children_of(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def words_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def left_over(root: Path) -> list[str]:
    """Processes other than this one that still know of the installation's root."""
    found, deadline = [], time.monotonic() + 30
    while time.monotonic() < deadline:
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                pid = int(entry.name)
                knows = str(root).encode() in (entry / "environ").read_bytes() or str(root) in words_of(pid)
                if pid != os.getpid() and knows:
                    found.append(words_of(pid))
        if not found:
            break
        time.sleep(0.5)
    return found


def logs(root: Path) -> str:
    return "\n".join(file.read_text(errors="replace")[-3000:] for file in sorted(root.glob("logs/*.log")))
