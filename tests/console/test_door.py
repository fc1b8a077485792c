"""What happens at the door: a fault of ours, an interruption, a second run, noise of libraries, a closed pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import shells
from shells import exported, homeostat, remembered, warm

NOISY = """
import os, sys, warnings

def build_features(frame):
    os.write(2, b"thread 'main' panicked at src/lib.rs\\n")
    warnings.warn("a library is about to change")
    print("the hook speaks", file=sys.stderr)
    return frame.select("x")
"""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shells.lived(tmp_path_factory)


def wait_until_it_works(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a replay has written its first rows."""
    deadline = time.monotonic() + 120
    while not list((folder / ".homeostat" / "replay").glob("lake/inputs/*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def test_a_fault_of_our_own_is_one_line_and_its_traceback_is_in_a_log(lived: Path, tmp_path: Path) -> None:
    folder = shells.copy_of(lived, tmp_path / "p")
    (folder / ".homeostat" / "replay" / "setup.json").write_text("not what we write")
    before = remembered(folder)
    answer = homeostat("replay", folder, "--no-prefect")
    log = folder / ".homeostat" / "faults.log"
    assert (answer.code, answer.out, len(answer.told)) == (1, "", 1)
    assert "internal error: JSONDecodeError" in answer.err
    assert str(log) in answer.err
    assert "Traceback" in log.read_text()
    assert f"homeostat replay {folder}" in log.read_text()
    log.unlink()
    assert remembered(folder) == before


def test_an_interrupted_replay_says_so_and_goes_on_with_the_same_end(lived: Path, tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "p", days=4)
    process = shells.start("replay", folder, "--no-prefect")
    wait_until_it_works(folder, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines() == ["homeostat: interrupted. Nothing is lost; run the same command to continue."]
    assert warm("replay", folder, "--no-prefect").code == 0
    assert exported(folder, tmp_path / "a") == exported(lived, tmp_path / "b")


def test_a_second_replay_while_one_runs_is_sent_away_and_the_first_ends_well(lived: Path, tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "p", days=4)
    process = shells.start("replay", folder, "--no-prefect")
    wait_until_it_works(folder, process)
    for more in ([], ["--fresh"]):
        answer = warm("replay", folder, "--no-prefect", *more)
        assert (answer.code, answer.out, len(answer.told)) == (2, "", 1)
        assert "a replay of 'small' is running already" in answer.err
    _, err = process.communicate(timeout=120)
    assert (process.returncode, shells.Answer(0, "", err).told) == (0, [])
    assert exported(folder, tmp_path / "a") == exported(lived, tmp_path / "b")


def test_what_libraries_print_by_themselves_stays_off_the_screen_and_a_hook_may_speak(tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "p")
    (folder / "hooks.py").write_text(NOISY)
    answer = homeostat("check", folder)
    assert answer.code == 0
    assert set(answer.told) == {"the hook speaks"}


def test_a_reader_who_has_seen_enough_ends_a_command_quietly(lived: Path) -> None:
    process = shells.start("journal", lived, "--json", "--from", "replay")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
