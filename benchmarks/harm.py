"""Run retraining policies on streams whose concept moves faster than its labels arrive, and print what each loses.

    python benchmarks/harm.py
    python benchmarks/harm.py --seeds 1 --every 6 --generator sea

Labels come 20 ticks late, and every 5 to 7 ticks another concept rules, so the newest labels are of a concept that has
gone. The first model has learned from a history in which all concepts are mixed, or of one concept only. Each figure is
the accuracy over all rows less that of `never`, the first model kept for ever. What each stream gave goes to
RESULTS.json of the scratch folder.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

from policies import figure, measure_each, stream_options, table
from streams import GENERATORS, lay_out_turning

from homeostat.flows.backtest.catalogue import list_contenders
from homeostat.flows.backtest.run import choose_contenders, read_history, run_backtest, summarize
from homeostat.project import load_project

POLICIES = ("every_tick", "every_tick_6", "forecast")
EVERY, HISTORIES = (5, 6, 7), ("mixed", "one")
BOUND = 0.005

Result = dict[str, Any]


def run(folder: Path) -> Result:
    """Backtest one project under the policies and `never`; its summary, without what was at each tick."""
    project = load_project(folder)
    contenders = choose_contenders(list_contenders(project), POLICIES)
    summary = summarize(run_backtest(read_history(project, None), contenders))
    for each in summary["policies"]:
        each.pop("by_tick")
    summary.pop("ticks")
    return summary


def gains(results: Iterable[Result], policy: str) -> list[float]:
    """The accuracy of a policy less that of `never`, on each stream."""
    return [value for _, value in figure(list(results), policy, "gain")]


def tell(results: list[Result]) -> str:
    """The tables of a run: each generator and period, then all streams of a history together."""
    parts = []
    for history in [each for each in HISTORIES if any(r["history"] == each for r in results)]:
        mine = [r for r in results if r["history"] == history]
        head = [f"history: {history}", "turns every", "streams", *(f"{name}, median (least)" for name in POLICIES)]
        parts.append(table(head, _by_case(mine)))
    parts.append(table(["history", "policy", "streams", "median", "least", f"below −{BOUND:g}"], _over_all(results)))
    worst = min(results, key=lambda r: gains([r], "forecast"))
    parts.append(f"The worst of forecast: {_signed(*gains([worst], 'forecast'))}, on {_name(worst)}.\n")
    return "\n".join(parts)


def _by_case(results: list[Result]) -> list[list[str]]:
    rows = []
    for generator, every in dict.fromkeys((r["generator"], r["every"]) for r in results):
        mine = [r for r in results if (r["generator"], r["every"]) == (generator, every)]
        rows.append([generator, str(every), str(len(mine)), *(_middle_and_least(gains(mine, p)) for p in POLICIES)])
    return rows


def _over_all(results: list[Result]) -> list[list[str]]:
    rows = []
    for history, policy in product(dict.fromkeys(r["history"] for r in results), POLICIES):
        found = gains((r for r in results if r["history"] == history), policy)
        below = sum(value < -BOUND for value in found)
        middle, least = _signed(statistics.median(found)), _signed(min(found))
        rows.append([history, policy, str(len(found)), middle, least, str(below)])
    return rows


def _middle_and_least(values: list[float]) -> str:
    return f"{_signed(statistics.median(values))} ({_signed(min(values))})"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _name(result: Result) -> str:
    return f"{result['generator']}, turning every {result['every']}, history {result['history']}, seed {result['seed']}"


def main(words: list[str]) -> int:
    """Run what is asked for and print its tables; returns an exit code."""
    asked = stream_options("Retraining policies where the concept moves faster than its labels.", ticks=80)
    asked.add_argument("--every", action="append", type=int, help="ticks from one turn to the next")
    asked.add_argument("--history", action="append", choices=HISTORIES, help="what the first model learns from")
    given = asked.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        print(tell(_run_streams(given, given.out or Path(scratch))))
    return 0


def _run_streams(given: argparse.Namespace, out: Path) -> list[Result]:
    asked = product(given.history or HISTORIES, given.generator or GENERATORS, given.every or EVERY, range(given.seeds))
    cases = [{"generator": g, "every": every, "history": history, "seed": seed} for history, g, every, seed in asked]

    def measure(folder: Path, case: Result) -> Result:
        mixed = case["history"] == "mixed"
        lay_out_turning(folder, case["generator"], case["every"], case["seed"], given.ticks, given.rows, mixed=mixed)
        return run(folder)

    return measure_each(cases, out, measure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
