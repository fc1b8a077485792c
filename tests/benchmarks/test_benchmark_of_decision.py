"""The benchmark of a tick's decision runs as its page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_prints_its_table() -> None:
    command = [sys.executable, "benchmarks/decision.py", "--ticks", "4", "--rows", "120"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert lines[0].startswith("| tick | labels known | s, the first time | s, median of 5 |")
    told = [line.strip("| ").split(" | ") for line in lines[2:]]
    assert [(tick, labels) for tick, labels, *_ in told] == [("1", "840"), ("2", "960"), ("3", "1,080"), ("4", "1,200")]
    assert told[0][4] == "1.00"
