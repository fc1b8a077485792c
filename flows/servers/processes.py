"""Processes of our own that work beside us: each in a session of its own, its output in a file, ended with us.

One runs as `python -m homeostat.flows.servers.processes MODULE ARGS`, which ends itself and its group as soon
as its standard input closes: that happens when the process that started it dies, however it dies.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

LEAST_BYTES = 1_000_000
STOP_SECONDS = 10
FOLLOW_SECONDS = 0.1


def spawn(args: Sequence[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Run a module with its arguments beside us; what it prints is added to `log`. A Ctrl-C does not reach it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "homeostat.flows.servers.processes", *args],
            env={**os.environ, **env, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def tail(log: Path, lines: int = 3) -> str:
    """The last words of a process, on one line."""
    if shutil.disk_usage(log.parent).free < LEAST_BYTES:
        return "no space is left on the disk"
    text = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return " | ".join([line.strip() for line in text if line.strip()][-lines:]) or "no output"


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its whole group, gently first."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, how)
        if _gone(process):
            break
    if process.stdin is not None:
        process.stdin.close()


def follow(process: subprocess.Popen[bytes], log: Path, tell: Callable[[str], None]) -> None:
    """Tell every line that a process adds to its log, until it ends."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        lines.seek(0, os.SEEK_END)
        while process.poll() is None:
            if line := lines.readline():
                tell(line.rstrip("\n"))
            else:
                time.sleep(FOLLOW_SECONDS)


def _gone(process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return True
        time.sleep(0.05)
    return False


def _end_with_parent() -> None:
    """End this process's group once standard input closes; blocks until then."""
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(os.getpgrp(), how)
        time.sleep(STOP_SECONDS)


def main() -> None:
    """Run the module named by the arguments as a program that does not outlive its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
