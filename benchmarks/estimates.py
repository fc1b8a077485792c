"""How far estimates without labels are off, ours against NannyML's CBPE on the same scores.

    python benchmarks/estimates.py [--scratch FOLDER] [--seed 0] [--streams NAME ...]

Makes an environment with NannyML in the scratch folder, scores the streams of `estimate_streams.py`, and estimates
accuracy and AUC of each window after the tenth, in two settings. "frozen": only the labels of the first ten windows
ever come, which is what CBPE is made for. "lagged": labels come two windows later; there NannyML is shown fitted
once, as its documentation does, and "refitted" for each window on the newest ten labelled ones. Prints the mean
absolute error of each stream, how often our lagged interval of 90% held, the medians over streams, and the median of
the paired differences with a 95% bootstrap interval over streams.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import polars as pl
from estimate_streams import REFERENCE, STREAMS, make_stream

from homeostat.metrics import compute_metrics
from homeostat.monitoring.estimation.estimate import INPUT, ScoredWindow, estimate_window
from homeostat.project import Project, Task

METRICS, LAG = ("accuracy", "auc"), 2
NANNYML = ("nannyml==0.13.1", "statsmodels")  # which it imports and does not ask for
QUIET = {"NML_DISABLE_USAGE_LOGGING": "1"}
START, TICK = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=1)
PAIRS = (("frozen", "nannyml"), ("lagged", "nannyml"), ("lagged", "refitted"))
Errors = dict[str, dict[str, float]]


def window_of(part: pl.DataFrame, index: int) -> ScoredWindow:
    """A window of a stream as the check stage would hand it over."""
    rows = part.with_columns(
        pl.col("prediction").cast(pl.String),
        label=pl.col("y").cast(pl.String),
        classes=pl.lit(["0", "1"]),
        scores=pl.lit(None, pl.List(pl.Float64)),
    ).rename(lambda name: f"{INPUT}{name}" if name in inputs(part) else name)
    return ScoredWindow(START + index * TICK, START + (index + 1) * TICK, rows.drop("y", "window"))


def inputs(stream: pl.DataFrame) -> list[str]:
    """The raw inputs of a stream."""
    return [name for name in stream.columns if name[0] == "x"]


def project_of(numeric: list[str], metric: str) -> Project:
    """A project with the inputs of a stream and otherwise the defaults."""
    return Project.model_validate(
        {
            "folder": Path(),
            "project": {"name": "stream", "task": "binary"},
            "data": {"key": "id", "event_time": "at", "target": "y", "numeric": numeric},
            "loop": {"tick": "1d", "start": START},
            "monitoring": {"metric": metric},
        }
    )


def estimate_ours(windows: list[ScoredWindow], metric: str) -> tuple[dict[str, list[float]], list[bool]]:
    """Our estimates in both settings, and whether the lagged interval held the realized value."""
    project = project_of([name.removeprefix(INPUT) for name in windows[0].rows.columns if INPUT in name], metric)
    found: dict[str, list[float]] = {"frozen": [], "lagged": []}
    held = []
    for index in range(REFERENCE, len(windows)):
        for way, labelled in (("frozen", REFERENCE), ("lagged", index - LAG + 1)):
            made = estimate_window(windows[index], windows[:labelled], project=project, positive="1")
            assert made is not None and made.low is not None and made.high is not None
            found[way].append(made.value)
        held.append(made.low <= realized(windows[index], metric) <= made.high)
    return found, held


def realized(window: ScoredWindow, metric: str) -> float:
    """The metric once the labels are there."""
    return compute_metrics(Task.BINARY, window.rows["label"], window.rows, "1")[metric]


def measure(stream: pl.DataFrame, name: str, python: Path, scratch: Path) -> tuple[dict[str, Errors], float]:
    """Mean absolute errors of each way by metric over one stream, and how often our lagged interval held."""
    source, out = scratch / f"{name}.parquet", scratch / f"{name}.json"
    stream.write_parquet(source)
    script = Path(__file__).with_name("estimates_nannyml.py")
    subprocess.run([python, script, source, str(REFERENCE), str(LAG), out], check=True, env=os.environ | QUIET)
    theirs = json.loads(out.read_text())
    windows = [window_of(part, i) for i, part in enumerate(stream.partition_by("window", maintain_order=True))]
    errors: dict[str, Errors] = {}
    held: list[bool] = []
    for metric in METRICS:
        truth = np.array([realized(window, metric) for window in windows[REFERENCE:]])
        ours, inside = estimate_ours(windows, metric)
        held += inside
        said = ours | {way: values[metric] for way, values in theirs.items()}
        errors[metric] = {way: float(np.mean(np.abs(np.array(v) - truth))) for way, v in said.items()}
    return errors, float(np.mean(held))


def difference(found: dict[str, Any], metric: str, ours: str, theirs: str) -> tuple[float, float, float]:
    """The median over streams of our error less theirs, and its 95% interval by a paired bootstrap over streams."""
    gaps = np.array([errors[metric][ours] - errors[metric][theirs] for errors, _ in found.values()])
    draws = np.random.default_rng(0).integers(0, len(gaps), (10_000, len(gaps)))
    low, high = np.quantile(np.median(gaps[draws], axis=1), [0.025, 0.975])
    return float(np.median(gaps)), float(low), float(high)


def nannyml_python(scratch: Path) -> Path:
    """The interpreter of an environment with NannyML, made on first use."""
    python = scratch / "nannyml" / "bin" / "python"
    if not python.exists():
        venv.create(scratch / "nannyml", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *NANNYML], check=True)
    return python


def main() -> None:
    """Measure every stream and print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "homeostat-estimates")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--streams", nargs="*", default=[*STREAMS, "flights"])
    asked = options.parse_args()
    asked.scratch.mkdir(parents=True, exist_ok=True)
    python = nannyml_python(asked.scratch)
    ways = ("frozen", "lagged", "nannyml", "refitted")
    found: dict[str, Any] = {}
    print(f"{'':17}" + "".join(f"{metric + ' ' + way:>18}" for metric in METRICS for way in ways) + f"{'held':>8}")
    for name in asked.streams:
        found[name] = errors, held = measure(make_stream(name, asked.seed), name, python, asked.scratch)
        figures = "".join(f"{errors[metric][way]:18.4f}" for metric in METRICS for way in ways)
        print(f"{name:17}{figures}{held:8.2f}", flush=True)
    medians = [np.median([e[metric][way] for e, _ in found.values()]) for metric in METRICS for way in ways]
    print(f"{'median':17}" + "".join(f"{value:18.4f}" for value in medians))
    for metric in METRICS:
        for ours, theirs in PAIRS:
            middle, low, high = difference(found, metric, ours, theirs)
            print(f"{metric}: ours {ours} less NannyML {theirs}: median {middle:+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
