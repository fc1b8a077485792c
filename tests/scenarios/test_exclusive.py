"""One replay of a project at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worlds import quiet, replay_here, start_apart

from homeostat.errors import BusyError
from homeostat.flows.locks import exclusive
from homeostat.flows.replay.run import replay


def test_a_second_replay_is_refused_in_one_line_until_the_first_is_dead(tmp_path: Path) -> None:
    folder, log = quiet(tmp_path / "small"), tmp_path / "log"
    first = start_apart(replay_here, str(folder), HOMEOSTAT_BOUNDARY_LOG=str(log))
    assert first.pid is not None
    while not log.exists():
        assert first.is_alive()
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGSTOP)
    with pytest.raises(BusyError, match="running already"):
        replay(folder)
    command = [str(Path(sys.executable).with_name("homeostat")), "replay", str(folder), "--no-prefect"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (second.returncode, second.stdout) == (2, "")
    assert "a replay of 'small' is running already" in second.stderr
    assert "Traceback" not in second.stderr
    first.kill()
    first.join()
    with exclusive(folder / ".homeostat" / "replay", "a replay"):
        pass
