"""Benchmarks as the tests run them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def load_streams() -> Any:
    """The module that draws the streams."""
    spec = importlib.util.spec_from_file_location("streams", ROOT / "benchmarks" / "streams.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_on_streams(name: str, out: Path, *words: str) -> tuple[str, list[dict[str, Any]]]:
    """Run a benchmark as a person does: what it prints, and what it keeps in RESULTS.json of `out`."""
    command = [sys.executable, f"benchmarks/{name}.py", *words, "--out", str(out)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((out / "RESULTS.json").read_text())
