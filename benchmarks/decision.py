"""Time what a tick decides, fits aside, as labels and past ticks become more, and print it.

    python benchmarks/decision.py
    python benchmarks/decision.py --ticks 250 --rows 400

A stream is replayed through all stages but without Prefect. At each quarter of the ticks, right before the stage
`decide`, what it would decide is weighed five times: all that is read, measured and forecast, and nothing written. The
first time also opens the newest version; then the stage itself runs, which also writes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from policies import table
from streams import GENERATORS, HISTORY, KINDS, lay_out

from homeostat.flows.loop import open_loop, tick_index
from homeostat.flows.replay.run import replay
from homeostat.flows.stages.decide import weigh
from homeostat.flows.stages.sequence import run_stage, run_tick
from homeostat.records import Scope

TIMES = 5


@dataclass(frozen=True, slots=True)
class Timed:
    """The seconds of one tick: those of each weighing, and those of the stage."""

    tick: int
    weighed: tuple[float, ...]
    stage: float


@dataclass
class Stopwatch:
    """Runs the ticks of a replay and times the decision of those that are `wanted`."""

    wanted: set[int]
    found: list[Timed] = field(default_factory=list)

    def run_tick(self, folder: str, scope: str, at: str) -> dict[str, Any]:
        """Run every stage of a tick in order."""
        loop, now = open_loop(folder, Scope(scope)), datetime.fromisoformat(at)
        number = tick_index(loop.project, now)

        def run(stage: str) -> dict[str, Any]:
            if stage != "decide" or number not in self.wanted:
                return run_stage(folder, scope, stage, at)
            weighed = tuple(seconds_of(lambda: weigh(loop, now)) for _ in range(TIMES))
            took = seconds_of(lambda: run_stage(folder, scope, stage, at))
            self.found.append(Timed(number, weighed, took))
            return loop.store.get_stage(now, stage) or {}

        return run_tick(folder, scope, at, run)


def seconds_of(work: Callable[[], Any]) -> float:
    """The wall time of some work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def tell(found: list[Timed], rows: int) -> str:
    """The table of a run; all labels of a tick are known at its end, and those of the history from the first."""
    medians = [statistics.median(each.weighed) for each in found]
    told = [
        [str(each.tick), f"{(HISTORY + each.tick) * rows:,}", f"{each.weighed[0]:.3f}", f"{middle:.3f}",
         f"{middle / medians[0]:.2f}", f"{each.stage:.3f}"]
        for each, middle in zip(found, medians, strict=True)
    ]  # fmt: skip
    head = ["tick", "labels known", "s, the first time", f"s, median of {TIMES}", "over the first tick", "s, the stage"]
    return table(head, told)


def main(words: list[str]) -> int:
    """Run what is asked for and print its table; returns an exit code."""
    asked = argparse.ArgumentParser(description="How long a tick's decision takes, fits aside.")
    asked.add_argument("--ticks", type=int, default=40)
    asked.add_argument("--rows", type=int, default=3000)
    asked.add_argument("--generator", choices=GENERATORS, default="hyperplane")
    asked.add_argument("--kind", choices=KINDS, default="gradual")
    given = asked.parse_args(words)
    watch = Stopwatch({given.ticks * quarter // 4 for quarter in (1, 2, 3, 4)})
    with tempfile.TemporaryDirectory() as scratch:
        folder = lay_out(Path(scratch) / "p", given.generator, given.kind, 0, given.ticks, given.rows)
        replay(folder, progress=_progress, tick=watch.run_tick)
    print(tell(watch.found, given.rows))
    return 0


def _progress(done: int, total: int, text: str) -> None:
    print(f"{done} of {total}: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
