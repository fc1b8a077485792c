"""`homeostat up`: the two UIs answer, the schedule's ticks run, and nothing is left when it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import shells
from shells import warm


def everybody(folder: Path) -> list[str]:
    """The command lines of all processes that name the project's folder, this test's own aside."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in words:
                found.append((process / "cmdline").read_text())
    return found


@contextmanager
def up(folder: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The services of a project, killed at the end if they are still there."""
    with out.open("wb") as file:
        process = subprocess.Popen(
            [str(shells.PROGRAM), "up", str(folder)], stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()


def wait_for(words: str, file: Path, process: subprocess.Popen[bytes], seconds: float = 180) -> str:
    """Wait until a file holds these words; its text."""
    deadline = time.monotonic() + seconds
    while words not in (text := file.read_text(encoding="utf-8")):
        assert process.poll() is None and time.monotonic() < deadline, text
        time.sleep(0.2)
    return text


def status_of(url: str) -> int:
    """What a local server answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        return answer.status


def test_up_serves_both_uis_and_the_schedule_until_it_is_stopped(tmp_path: Path) -> None:
    now = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - 86_400))
    project = shells.PROJECT.replace("2020-01-07T00:00:00Z", now) + '[schedule]\ncron = "* * * * *"\n'
    folder = shells.small(tmp_path / "p", project=project)
    out = tmp_path / "out"
    with up(folder, out) as process:
        text = wait_for("ticks", out, process)
        urls = re.findall(r"http://127\.0\.0\.1:\d+", text)
        assert [status_of(url) for url in urls] == [200, 200]
        again = warm("up", folder)
        assert (again.code, len(again.told)) == (2, 1)
        assert "is running already" in again.err
        wait_for("Finished in state Completed", out, process)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    text = out.read_text(encoding="utf-8")
    assert text.rstrip().endswith("small is down.")
    assert "Traceback" not in text
    assert everybody(folder) == []
    assert warm("status", folder, "--json").code in (0, 1)
    assert warm("journal", "verify", folder, "--from", "live").code == 0
