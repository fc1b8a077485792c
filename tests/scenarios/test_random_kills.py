"""The real command, Prefect and all, killed at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import worlds
from worlds import assert_same, shared, snapshot

KILLS = 20
HOMEOSTAT = str(Path(sys.executable).with_name("homeostat"))


def start(folder: Path, log: Path, *, fresh: bool) -> subprocess.Popen[bytes]:
    """Start a replay by the command line, in a session of its own."""
    command = [HOMEOSTAT, "replay", str(folder), *(["--fresh"] if fresh else [])]
    with (folder / "output.log").open("ab") as out:
        quiet = {"HOMEOSTAT_BOUNDARY_LOG": str(log), "MLFLOW_DISABLE_TELEMETRY": "true"}
        return subprocess.Popen(command, env=os.environ | quiet, stdout=out, stderr=out, start_new_session=True)


def kill_after(process: subprocess.Popen[bytes], log: Path, early: bool, seconds: float) -> bool:
    """SIGKILL some seconds after the start, or after the first boundary; False where it had ended by itself."""
    while not early and not log.exists() and process.poll() is None:
        time.sleep(0.01)
    try:
        assert process.wait(seconds) == 0
        return False
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        return True


def left_behind(folder: Path) -> list[str]:
    """The command lines of processes that were started with this folder in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_replay_killed_at_twenty_random_moments_ends_the_same(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    wanted = snapshot(worlds.clean_replay(shared(tmp_path_factory.getbasetemp()))[0])
    folder, chance, killed, fresh = worlds.eventful(tmp_path / "killed"), random.Random(20), 0, False
    for attempt in range(10 * KILLS):
        log, early = tmp_path / f"{attempt}.log", attempt % 5 == 4
        process = start(folder, log, fresh=fresh)
        if killed == KILLS:
            assert process.wait(300) == 0, (folder / "output.log").read_text()[-3000:]
            break
        died = kill_after(process, log, early, chance.uniform(0, 12 if early else 1.6))
        killed, fresh = killed + died, not died
        if not died:
            assert_same(snapshot(folder), wanted)
    assert killed == KILLS
    assert_same(snapshot(folder), wanted)
    deadline = time.monotonic() + 30
    while left_behind(folder) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left_behind(folder) == []
