"""What services write: one file for each in `ROOT/logs`, read together where a person wants them all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

BLOCK = 65_536
LOOK_SECONDS = 0.5


def list_logs(root: Path) -> dict[str, Path]:
    """The log of every service that has one, by the service's name."""
    return {file.stem: file for file in sorted((root / "logs").glob("*.log"))}


def last_lines(file: Path, count: int) -> list[str]:
    """The last lines of a file, read from its end; fewer where it has no more."""
    with file.open("rb") as text:
        at, tail = text.seek(0, os.SEEK_END), b""
        while at and tail.count(b"\n") <= count:
            start = max(0, at - BLOCK)
            text.seek(start)
            tail, at = text.read(at - start) + tail, start
    return tail.decode("utf-8", "replace").splitlines()[-count:] if count else []


def follow_logs(logs: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Every line that services add to their logs from now on, with the service's name; it never ends by itself."""
    places = {name: file.stat().st_size for name, file in logs.items()}
    while True:
        quiet = True
        for name, file in logs.items():
            for line in _added(file, places, name):
                quiet = False
                yield name, line
        if quiet:
            time.sleep(LOOK_SECONDS)


def _added(file: Path, places: dict[str, int], name: str) -> list[str]:
    """The whole lines that were added since the last look; a log that was put aside is read from its beginning."""
    with suppress(FileNotFoundError), file.open("rb") as text:
        if text.seek(0, os.SEEK_END) < places[name]:
            places[name] = 0
        text.seek(places[name])
        whole = text.read().rpartition(b"\n")[0]
        if whole:
            places[name] += len(whole) + 1
            return whole.decode("utf-8", "replace").splitlines()
    return []
