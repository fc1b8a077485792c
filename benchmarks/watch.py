"""Run a command and print its wall time, its CPU time and its peak memory: PSS summed over all its processes.

    python benchmarks/watch.py homeostat demo --fresh

PSS counts a page that several processes share once in all (Linux, /proc/PID/smaps_rollup). It is read every half
second; what is shorter is not seen. The command's own output goes where it always goes; the figures come last.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

EVERY = 0.5


def family(root: int) -> list[int]:
    """The process `root` and all that descends from it, by /proc; those that just ended are left out."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def pss(process: int) -> int:
    """The memory of a process in bytes, shared pages in part; 0 where it has ended."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def main(command: list[str]) -> int:
    """Run the command to its end and print what it took; returns its exit code."""
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    began, peak = time.monotonic(), 0
    running = subprocess.Popen(command)
    while running.poll() is None:
        peak = max(peak, sum(map(pss, family(running.pid))))
        time.sleep(EVERY)
    wall, used = time.monotonic() - began, os.times()
    cpu = used.children_user + used.children_system
    print(f"wall {wall:.1f} s, CPU {cpu:.1f} s, peak PSS {peak / 1e6:.0f} MB", file=sys.stderr)
    return running.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
