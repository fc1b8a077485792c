"""The command line as a person meets it: what a command prints and how it ends, and small projects to try it on."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from filelock import FileLock
from forked import fork
from prepared import lay_mlflow

PROGRAM = Path(sys.executable).parent / "homeostat"
START = datetime(2020, 1, 7, tzinfo=UTC)
AWAY = ("HOMEOSTAT_HOME", "HOMEOSTAT_STORE_URL", "HOMEOSTAT_LAKE_URI", "MLFLOW_TRACKING_URI", "PREFECT_API_URL")
PROJECT = """
[project]
name = "small"
task = "binary"
[data]
key = "id"
event_time = "at"
target = "y"
classes = [0, 1]
numeric = ["x"]
[data.inputs]
uri = "inputs.parquet"
[data.feedback]
uri = "feedback.parquet"
known_at = "known_at"
horizon = "1d"
[data.rules.ranges]
x = { min = -9, max = 9 }
[loop]
tick = "1d"
start = "2020-01-07T00:00:00Z"
[training]
rounds = 8
threads = 1
candidates = ["xgboost"]
"""

PROGRESS = re.compile(r"replay \S+: \d+ of \d+, ")


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> list[str]:
        """The lines on standard error, without those that a slow machine tells of how far a replay has come."""
        return [line for line in self.err.splitlines() if not PROGRESS.match(line)]


def homeostat(*args: object, cwd: Path | None = None, **environ: str) -> Answer:
    """Run the program itself."""
    command = [str(PROGRAM), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=_environ(environ), timeout=300)
    return Answer(done.returncode, done.stdout, done.stderr)


def start(*args: object, **environ: str) -> subprocess.Popen[str]:
    """Start the program itself, in a process group of its own."""
    command, pipe = [str(PROGRAM), *map(str, args)], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=_environ(environ), start_new_session=True)


def warm(*args: object, cwd: Path | None = None, typed: str = "", **environ: str) -> Answer:
    """Run the program's door in a process that has its libraries loaded: the same, without seconds of imports.

    `typed` is what the person types.
    """
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "in").write_text(typed, encoding="utf-8")
        process = fork(_enter, [*map(str, args)], str(cwd or place), place, environ=_environ(environ))
        process.start()
        process.join(300)
        out, err = ((Path(place) / name).read_text(encoding="utf-8") for name in ("out", "err"))
        assert process.exitcode is not None
        return Answer(process.exitcode, out, err)


def _enter(args: list[str], cwd: str, place: str) -> None:
    os.dup2(os.open(f"{place}/in", os.O_RDONLY), 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{place}/{name}", os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115
    os.chdir(cwd)
    sys.argv = ["homeostat", *args]
    from homeostat.console.main import main

    main()


def _environ(given: Mapping[str, str]) -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if k not in AWAY}, "COLUMNS": "80", **given}


def small(folder: Path, *, days: int = 2, project: str = PROJECT, begun: bool = True) -> Path:
    """A binary project: 60 rows a day for six days before the start and `days` after it, one of them out of range.

    Where it has begun, it has an empty MLflow database of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if begun:
        lay_mlflow(folder / ".homeostat")
    chance = random.Random(0)
    times = [START - timedelta(days=6) + timedelta(minutes=24 * i) for i in range((6 + days) * 60)]
    x = [chance.gauss(0, 1) for _ in times]
    y = [int(v + chance.gauss(0, 1) > 0) for v in x]
    x[7] = 99.0
    known = [t + timedelta(hours=6) for t in times]
    when = {name: pl.Datetime("us", "UTC") for name in ("at", "known_at")}
    keys = list(range(len(times)))
    inputs = pl.DataFrame({"id": keys, "at": times, "x": x}, schema_overrides=when)
    labels = pl.DataFrame({"id": keys, "y": y, "known_at": known}, schema_overrides=when)
    inputs.write_parquet(folder / "inputs.parquet")
    labels.write_parquet(folder / "feedback.parquet")
    (folder / "homeostat.toml").write_text(project, encoding="utf-8")
    return folder


def as_csv(folder: Path) -> Path:
    """Turn a project's sources into CSV files."""
    for name in ("inputs", "feedback"):
        pl.read_parquet(folder / f"{name}.parquet").write_csv(folder / f"{name}.csv")
    text = (folder / "homeostat.toml").read_text(encoding="utf-8")
    (folder / "homeostat.toml").write_text(text.replace(".parquet", ".csv"), encoding="utf-8")
    return folder


def lived(factory: pytest.TempPathFactory, csv: bool = False) -> Path:
    """A project with a replay that came to its end, and a live state with a quarantined row.

    It is made once for all workers of a test run, and only to be read: change a `copy_of` it.
    """
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / f"lived-{'csv' if csv else 'parquet'}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "whole").exists():
            small(folder, days=4)
            if csv:
                as_csv(folder)
            assert warm("replay", folder, "--no-prefect").code == 0
            assert warm("ingest", folder).code == 2
            (folder / "whole").touch()
    return folder


def copy_of(folder: Path, to: Path) -> Path:
    """A project with its state, elsewhere."""
    return Path(shutil.copytree(folder, to, ignore=shutil.ignore_patterns("lock")))


def remembered(folder: Path) -> dict[str, str]:
    """Digests of all that a project's state holds: its files, and what its databases say."""
    files = [path for path in sorted((folder / ".homeostat").rglob("*")) if path.is_file()]
    kept = [path for path in files if not path.name.endswith(("lock", ".db-wal", ".db-shm"))]
    return {str(path.relative_to(folder)): hashlib.sha256(_content(path)).hexdigest() for path in kept}


def _content(path: Path) -> bytes:
    if path.suffix != ".db":
        return path.read_bytes()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return "\n".join(database.iterdump()).encode()


def exported(folder: Path, to: Path, **environ: str) -> dict[str, Any]:
    """What a replay left, as its exports say it."""
    found = {}
    for what in ("predictions", "decisions", "windows"):
        assert warm("export", what, folder, "--from", "replay", "--out", to / f"{what}.jsonl", **environ).code == 0
        found[what] = (to / f"{what}.jsonl").read_text(encoding="utf-8")
    return found


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[None]:
    """A disk of so many kilobytes, mounted at `place`; the test is skipped where that is not allowed."""
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a full disk is tried on a tmpfs, and this user may not mount one")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def make_room(place: Path, kilobytes: int) -> None:
    """Make a small disk larger."""
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(place)], check=True)
