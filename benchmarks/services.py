"""Measure `homeostat up`: seconds until all is healthy on a fresh state, then memory and CPU of all processes, idle.

    python benchmarks/services.py
    python benchmarks/services.py --project examples/digits --settle 300 --seconds 120

Without --project, a small one is written whose first tick lies in the future, so that nothing is due. `up` runs on a
terminal of its own, since the status screen asks the console for more. Memory is PSS, which counts a page that several
processes share once in all (Linux, /proc/PID/smaps_rollup); CPU is a share of one core over all of --seconds. Prints a
table and the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from watch import family, pss

PROJECT = """
[project]
name = "idle"
task = "binary"
[data]
key = "id"
event_time = "at"
target = "y"
numeric = ["x"]
[data.inputs]
uri = "rows.csv"
[data.feedback]
uri = "rows.csv"
horizon = "1d"
[loop]
tick = "1d"
start = "{start}"
"""
ADOPTED = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")
"""Variables by which `up` would use servers of others instead of its own."""
FIGURES = ("healthy_seconds", "processes", "pss_mb", "cpu_share")
READY_SECONDS = 300
LOOK_SECONDS = 0.1


def write_project(folder: Path, now: datetime) -> None:
    """A project of 200 rows whose first tick is a day away."""
    folder.mkdir(parents=True)
    start = (now + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (folder / "homeostat.toml").write_text(PROJECT.replace("{start}", start), encoding="utf-8")
    times = [now - timedelta(hours=n) for n in range(200, 0, -1)]
    rows = [f"{n},{at:%Y-%m-%dT%H:%M:%SZ},{n % 7},{n % 2}" for n, at in enumerate(times)]
    (folder / "rows.csv").write_text("\n".join(["id,at,x,y", *rows]) + "\n", encoding="utf-8")


def start(folder: Path) -> int:
    """Run `homeostat up` on a terminal of its own; its process."""
    process, screen = pty.fork()
    if not process:
        os.environ |= {"COLUMNS": "120", "LINES": "50"}
        for name in ADOPTED:
            os.environ.pop(name, None)
        os.execv(
            sys.executable, [sys.executable, "-c", "from homeostat.console.main import main; main()", "up", str(folder)]
        )
    threading.Thread(target=_drain, args=(screen,), daemon=True).start()
    return process


def _drain(screen: int) -> None:
    with suppress(OSError):
        while os.read(screen, 65_536):
            pass


def services_of(folder: Path) -> dict[str, Any]:
    """What the running `up` says of its services; empty before its first word."""
    with suppress(OSError, ValueError):
        return json.loads((folder / ".homeostat" / "services.json").read_text(encoding="utf-8"))["services"]
    return {}


def await_healthy(folder: Path) -> dict[str, float]:
    """Seconds from now until each service was healthy."""
    began, healthy = time.monotonic(), dict[str, float]()
    while time.monotonic() - began < READY_SECONDS:
        services = services_of(folder)
        for name, each in services.items():
            if each["state"] == "healthy":
                healthy.setdefault(name, time.monotonic() - began)
        if services and len(healthy) == len(services):
            return healthy
        time.sleep(LOOK_SECONDS)
    raise SystemExit(f"not healthy after {READY_SECONDS} s: {services_of(folder)}")


def cpu_seconds(processes: list[int]) -> float:
    """User and system time of these processes and of the children that they have waited for."""
    ticks = 0
    for process in processes:
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def groups_of(supervisor: int, folder: Path) -> dict[str, list[int]]:
    """The processes of each service, and those of the supervisor itself."""
    groups = {name: family(each["pid"]) for name, each in services_of(folder).items() if each["pid"]}
    kept = {process for group in groups.values() for process in group}
    return {**groups, "supervisor": [process for process in family(supervisor) if process not in kept]}


def measure(supervisor: int, folder: Path, settle: float, seconds: float) -> dict[str, Any]:
    """Seconds to healthy, PSS in MB and the share of a core, by service and in all."""
    healthy = await_healthy(folder)
    time.sleep(settle)
    before = {name: cpu_seconds(group) for name, group in groups_of(supervisor, folder).items()}
    began = time.monotonic()
    time.sleep(seconds)
    groups = groups_of(supervisor, folder)
    took = time.monotonic() - began
    cpu = {name: max(0.0, cpu_seconds(group) - before.get(name, 0.0)) / took for name, group in groups.items()}
    memory = {name: sum(map(pss, group)) / 1e6 for name, group in groups.items()}
    rows = {
        name: dict(zip(FIGURES, (healthy.get(name), len(group), memory[name], cpu[name]), strict=True))
        for name, group in groups.items()
    }
    all_of_them = max(healthy.values()), sum(map(len, groups.values())), sum(memory.values()), sum(cpu.values())
    whole = dict(zip(FIGURES, all_of_them, strict=True))
    return {"cores": os.cpu_count(), "settle": settle, "seconds": seconds, "services": rows, "all": whole}


def show(found: dict[str, Any]) -> None:
    """Print the table and the JSON."""
    print(f"{'':12}{'healthy after':>15}{'processes':>11}{'PSS':>10}{'CPU, idle':>12}")
    for name, row in [*found["services"].items(), ("all", found["all"])]:
        after = "–" if row["healthy_seconds"] is None else f"{row['healthy_seconds']:.1f} s"
        print(f"{name:12}{after:>15}{row['processes']:>11}{row['pss_mb']:>7.0f} MB{row['cpu_share']:>11.1%}")
    print(json.dumps(found))


def main() -> None:
    """Measure on a fresh copy of a project, and leave nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, help="a project to copy, without its state")
    parser.add_argument("--settle", type=float, default=30, help="seconds to wait once all is healthy")
    parser.add_argument("--seconds", type=float, default=120, help="seconds to measure over")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "project"
        if given.project is None:
            write_project(folder, datetime.now(UTC))
        else:
            shutil.copytree(given.project, folder, ignore=shutil.ignore_patterns(".homeostat", "__pycache__"))
        supervisor = start(folder)
        try:
            show(measure(supervisor, folder, given.settle, given.seconds))
        finally:
            os.kill(supervisor, signal.SIGINT)
            os.waitpid(supervisor, 0)


if __name__ == "__main__":
    main()
