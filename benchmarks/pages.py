"""How quick the page is over two years of an hourly loop: milliseconds and kilobytes of each page.

A store is filled with such a history (ticks, windows, drift checks, three decisions and four links of the journal a
tick, alerts), the real page is served from it by a process of its own, and each page is asked for again and again.

    python benchmarks/pages.py [--ticks 17520] [--times 30] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import gzip
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from urllib.error import URLError
from urllib.request import Request, urlopen

from homeostat.durations import instant
from homeostat.flows.facts import CHAMPION, Standing
from homeostat.records import (
    Alert,
    Batch,
    BatchState,
    CheckResult,
    ColumnDrift,
    Decision,
    DriftResult,
    FitCost,
    ModelRecord,
    Severity,
    Window,
    WindowStatus,
)
from homeostat.store import Store, Writer

START = datetime(2023, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICKS = 2 * 365 * 24
COLUMNS = 20
PROJECT = """
[project]
name = "hourly"
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
horizon = "2d"
[loop]
tick = "1h"
start = "2023-01-01T00:00:00Z"
"""
PAGES = {
    "overview of all projects": "/",
    "the same, asked again by the page": "/fragments/projects",
    "project": "/projects/hourly/overview",
    "series, two years": "/projects/hourly/series",
    "series, two years, read anew each time": "/projects/hourly/series?from=0&to={end}{n}",
    "series, a month of it": "/projects/hourly/series?from={month}&to={end}",
    "decisions, newest": "/projects/hourly/decisions",
    "decisions, with what changed nothing": "/projects/hourly/decisions?everything=true",
    "decisions on promotion": "/projects/hourly/decisions?kind=decide_promotion",
    "decisions, a year back": "/projects/hourly/decisions?before={year}",
    "decisions of one tick": "/projects/hourly/decisions?at={tick}",
    "ask, the question": "/projects/hourly/ask",
}


def main() -> None:
    """Fill a store, serve it, and print what each page took."""
    read = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    read.add_argument("--ticks", type=int, default=TICKS, help="hours of history")
    read.add_argument("--times", type=int, default=30, help="how often each page is asked for")
    read.add_argument("--folder", type=Path, help="where the project is kept; made there where it is not yet")
    given = read.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch) / "hourly"
        if not (folder / "homeostat.toml").exists():
            fill(folder, given.ticks)
        with serve(folder) as base:
            measure(base, given.ticks, given.times)


def measure(base: str, ticks: int, times: int) -> None:
    """Print the median and the 95th percentile of each page, and what the first page weighs with all it needs."""
    end = START + ticks * HOUR
    places = {"month": int((end - 30 * 24 * HOUR).timestamp()), "end": int(end.timestamp())}
    places |= {"year": instant(end - ticks // 2 * HOUR), "tick": instant(end - ticks // 3 * HOUR)}
    print(f"{ticks:,} hourly ticks, each page {times} times, one at a time")
    print(f"{'page':40} {'p50 ms':>8} {'p95 ms':>8} {'KB':>7} {'KB gzip':>8}")
    for name, path in PAGES.items():
        get(base + path.format(**places, n=""))
        took = []
        for number in range(times):
            address = base + path.format(**places, n=f".{number + 1}")
            began = time.perf_counter()
            body, wire = get(address)
            took.append(1000 * (time.perf_counter() - began))
        p95 = statistics.quantiles(took, n=20)[-1]
        print(f"{name:40} {statistics.median(took):8.1f} {p95:8.1f} {len(body) / 1000:7.1f} {wire / 1000:8.1f}")
    for name in ("/", "/projects/hourly/overview"):
        whole = first_load(base, name)
        print(f"first load of {name}: {sum(whole.values()) / 1000:.1f} KB in {len(whole)} files")


def first_load(base: str, path: str) -> dict[str, int]:
    """How many bytes each file of a first load is on its way, the page itself among them."""
    body, wire = get(base + path)
    found = {path: wire}
    for name in re.findall(r'(?:href|src)="(/static/[^"]+)"', body.decode()):
        found[name] = get(base + name)[1]
    for name in re.findall(r'data-series="([^"]+)"', body.decode()):
        found[name] = get(base + name)[1]
    return found


def get(address: str) -> tuple[bytes, int]:
    """What an address answers, and how many bytes it was on its way."""
    with urlopen(Request(address, headers={"Accept-Encoding": "gzip"}), timeout=60) as answer:
        wire = answer.read()
        packed = answer.headers.get("Content-Encoding") == "gzip"
    return (gzip.decompress(wire) if packed else wire), len(wire)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The page, served as `homeostat up` does; yields its address once the journal is verified."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "homeostat.console.web", "--root", str(folder / ".homeostat"), "--port", str(port)]
    process = subprocess.Popen([*command, str(folder)])
    try:
        began = time.perf_counter()
        wait_for(base, process)
        print(f"serving after {time.perf_counter() - began:.1f} s")
        get(base + "/")
        while b"being verified" in get(f"{base}/projects/hourly/fragments/proof")[0]:
            time.sleep(0.1)
        print(f"journal verified after {time.perf_counter() - began:.1f} s")
        yield base
    finally:
        process.terminate()
        process.wait(30)


def wait_for(base: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the page answers."""
    while process.poll() is None:
        try:
            get(f"{base}/healthz")
            return
        except (URLError, ConnectionError):
            time.sleep(0.05)
    raise SystemExit("the page ended by itself")


def fill(folder: Path, ticks: int) -> None:
    """Make the project and its history."""
    folder.mkdir(parents=True, exist_ok=True)
    chance, began = Random(0), time.perf_counter()
    store = Store(f"sqlite:///{folder / '.homeostat' / 'live' / 'store.db'}", "hourly")
    version, size = 1, 24 * 4
    for first in range(0, ticks, size):
        with store.write("history") as write:
            for number in range(first, min(ticks, first + size)):
                version = put_tick(write, START + number * HOUR, number, ticks, version, chance)
    (folder / "homeostat.toml").write_text(PROJECT, encoding="utf-8")
    print(f"filled in {time.perf_counter() - began:.0f} s")


def put_tick(write: Writer, at: datetime, number: int, ticks: int, version: int, chance: Random) -> int:
    """Keep what a tick leaves; returns the champion after it."""
    name, start = instant(at), at - HOUR
    write.put_batch(Batch(name, start, at, BatchState.SCORED, 500, 0, None, version, at))
    write.put_window(make_window(name, start, at, number, ticks, version, chance))
    columns = tuple(ColumnDrift(f"column_{i}", "psi", chance.random() / 4, 0.2, i % 7 == 0) for i in range(COLUMNS))
    write.put_check(CheckResult(at, name, version, DriftResult("stable", chance.random() / 2, columns, 5000, 500)))
    trains = number % 168 == 0
    evidence = {"policy": "forecast", "labels": number * 400, "fresh_labels": 400, "alarm": "quiet", "caused": 0.0}
    alarm = "alarm" if number % 2000 == 1999 else "quiet"
    write.append_decision(Decision(at, "alarm", alarm, ("the mean loss was 0.21",), e_processes(), version))
    kind, why = ("retrain", "it pays") if trains else ("wait", "nothing pays: retrain: gain +0.0100 ± 0.0141 a row")
    write.append_decision(Decision(at, "retraining", kind, (why,), evidence, version))
    if trains:
        version += number > 0
        put_version(write, at, version)
    else:
        write.append_decision(Decision(at, "validation", "accept", ("500 rows, none of them broken",), {"rows": 500}))
    settled = {"settled": 3, "expired": 0, "agreement": 0.9}
    write.append_journal(at, f"{name}/labels_settled", "labels_settled", settled)
    if number % 40 == 0:
        severity = Severity.CRITICAL if number % 2000 == 0 else Severity.WARNING
        write.append_alert(Alert(f"{name}/drift", at, severity, "the inputs drifted", "60% of the columns moved"))
    for stage in ("ingest", "predict", "collect", "feedback", "check", "decide", "act", "ask", "notify"):
        write.put_stage(at, stage, {"rows": 500} if stage == "ingest" else {})
    return version


def make_window(
    name: str, start: datetime, at: datetime, number: int, ticks: int, version: int, chance: Random
) -> Window:
    """A window: provisional in the last two days, unknown in the last hour."""
    left = ticks - number
    status = WindowStatus.UNKNOWN if left < 2 else WindowStatus.PROVISIONAL if left < 48 else WindowStatus.FINAL
    metric = None if status is WindowStatus.UNKNOWN else 0.7 + 0.05 * chance.random()
    bounds = (0.5, 0.9) if status is WindowStatus.PROVISIONAL else (None, None)
    labels = {WindowStatus.FINAL: 450, WindowStatus.PROVISIONAL: 200, WindowStatus.UNKNOWN: 0}[status]
    known = {} if metric is None else {"auc": metric, "log_loss": 0.5, "brier": 0.2, "accuracy": 0.8, "f1": 0.4}
    estimate = (0.72, 0.68, 0.76)
    return Window(
        name, start, at, 500, labels, labels / 500, status, "auc", metric, known, version, at, *estimate, *bounds
    )


def put_version(write: Writer, at: datetime, version: int) -> None:
    """Promote a version."""
    reference = {"auc": 0.74, "log_loss": 0.49}
    cost = FitCost(5, 10_000_000, 12.0)
    write.put_model(ModelRecord(version, f"k{version}", at, "xgboost", 90_000, reference, cost, "a" * 32, at, at))
    evidence = {"rows": 1500, "gain": 0.01, "champion_metrics": reference, "challenger_metrics": reference}
    write.append_decision(Decision(at, "promotion", "promote", ("a loss lower by 0.01 a row",), evidence, version))
    write.put_fact(CHAMPION, Standing(version, at))


def e_processes() -> dict[str, object]:
    """What a decision on an alarm had before its eyes."""
    each = {"reference": 0.18, "limit": 0.2, "labels": 50_000, "mean": 0.17, "log_e_value": 1.5, "reached_at": None}
    return {"line": 1, "alpha": 0.05, "e_processes": [{"of": f"segment={i}", **each} for i in range(8)]}


if __name__ == "__main__":
    main()
