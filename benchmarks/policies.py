"""Set retraining policies against each other on streams that drift, and print what each is worth and costs.

    python benchmarks/policies.py
    python benchmarks/policies.py --seeds 1 --ticks 20 --rows 200 --without-forest
    python benchmarks/policies.py --flights
    python benchmarks/policies.py --project FOLDER --project ANOTHER

R = (metric - never) / (best of refitting at every tick, over its windows of learning - never), where that best is more
than four standard errors better than never. C = rows x boosting rounds, over those of refitting on everything at every
tick. Intervals are those of a bootstrap over seeds. What each stream gave goes to RESULTS.json of the scratch folder.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from streams import GENERATORS, KINDS, lay_out

from homeostat.flows.backtest.catalogue import list_contenders
from homeostat.flows.backtest.policies import Bench
from homeostat.flows.backtest.run import read_history, run_backtest, summarize
from homeostat.monitoring.retraining.recommendation import compare
from homeostat.pipelines.history.knowledge import Known
from homeostat.pipelines.inference import outputs
from homeostat.project import load_project
from homeostat.records import FitCost

ROOT = Path(__file__).resolve().parents[1]
FOREST, TREES = "adaptive_random_forest", 10
BEST_OF = ("every_tick", "every_tick_20", "every_tick_6", "every_tick_2")
DRAWS, SURE = 2000, 4.0


class Forest:
    """River's adaptive random forest (Gomes et al., Machine Learning, 2017): it learns each label as it comes.

    It costs rows x trees, each row once; that is not the work of a row x boosting round, so compare its CPU seconds.
    """

    name, setting, counts = FOREST, None, False

    def __init__(self, columns: list[str]) -> None:
        from river import forest

        self.columns = columns
        self.model: Any = forest.ARFClassifier(n_models=TREES, seed=0)
        self.begun = False

    def learn(self, known: Known, bench: Bench) -> Forest:
        """Learn the labels that came with this tick; the first time all that is known."""
        rows = known.fresh if self.begun else known.rows
        self.begun, began = True, time.process_time()
        frame = known.frame(rows)
        for x, y in zip(frame.select(self.columns).to_dicts(), frame["label"], strict=True):
            self.model.learn_one(x, y)
        bench.charge(FitCost(1, len(rows) * TREES, time.process_time() - began))
        return self

    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Score raw rows as a predictor does."""
        chances = [self.model.predict_proba_one(x).get("1", 0.0) for x in rows.select(self.columns).to_dicts()]
        return outputs(np.array(chances), "binary", ["0", "1"], "1")


def run(folder: Path, forest: bool) -> dict[str, Any]:
    """Backtest one project; its summary, with each policy's R and whether the best is surely better than never."""
    project = load_project(folder)
    contenders = list_contenders(project)
    if forest:
        contenders.append(Forest(project.data.features))
    outcome = run_backtest(read_history(project, None), contenders)
    summary, named = summarize(outcome), {each.name: each for each in outcome.standings}
    told = {each["policy"]: each for each in summary["policies"]}
    best = max(BEST_OF, key=lambda name: told[name]["gain"])
    found = compare(project.metric, named[best], named["never"])
    room = told[best]["gain"]
    summary |= {"best": best, "room": room, "sure": found is not None and room > SURE * found.error}
    for each in summary["policies"]:
        each["R"] = each["gain"] / room if summary["sure"] else None
        each.pop("by_tick")
    summary.pop("ticks")
    return summary


def figure(results: list[dict[str, Any]], policy: str, value: str) -> list[tuple[int, float]]:
    """One figure of a policy on each stream that has it, with the stream's seed."""
    found = [(r["seed"], each[value]) for r in results for each in r["policies"] if each["policy"] == policy]
    return [(seed, number) for seed, number in found if number is not None]


def with_interval(pairs: list[tuple[int, float]], digits: int = 2) -> str:
    """The median, with the interval (95%) of a bootstrap over seeds: streams of one seed stay together."""
    if not pairs:
        return "–"
    by_seed: dict[int, list[float]] = {}
    for seed, value in pairs:
        by_seed.setdefault(seed, []).append(value)
    groups, chance = list(by_seed.values()), np.random.default_rng(0)
    drawn = [
        np.median(np.concatenate([groups[i] for i in chance.integers(0, len(groups), len(groups))]))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    middle = statistics.median(value for _, value in pairs)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})".replace("-", "−")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def tell(results: list[dict[str, Any]]) -> str:
    """All tables of a run over the streams."""
    names = [each["policy"] for each in results[0]["policies"]]
    moved, still = ([r for r in results if (r["kind"] == "still") is at_rest] for at_rest in (False, True))
    sure = [r for r in moved if r["sure"]]
    parts = [
        f"{len(sure)} of {len(moved)} drifting streams have a denominator of more than {SURE:g} standard errors.\n"
    ]
    if sure:
        parts.append(
            table(["policy", "R, median", "R, least", "C, median", "CPU over every_tick"], _over_all(sure, names))
        )
        kinds = [kind for kind in KINDS if any(r["kind"] == kind for r in sure)]
        parts.append(table(["R by kind", *kinds], _split(sure, names, "kind", kinds)))
        makers = [maker for maker in GENERATORS if any(r["generator"] == maker for r in sure)]
        parts.append(table(["R by generator", *makers], _split(sure, names, "generator", makers)))
    if still:
        rows = [
            [name, with_interval(figure(still, name, "gain"), 4), _least(figure(still, name, "gain"), 4),
             _cost(still, name)]
            for name in names
        ]  # fmt: skip
        parts.append(table(["no drift", "gain over never, median", "least", "C, median"], rows))
    chosen = [r["recommended"]["policy"] for r in results]
    parts.append("Recommended: " + ", ".join(f"{n} {chosen.count(n)}" for n in names if n in chosen) + ".\n")
    return "\n".join(parts)


def _over_all(results: list[dict[str, Any]], names: list[str]) -> list[list[str]]:
    rows = []
    for name in names:
        whole = dict(enumerate(value for _, value in figure(results, "every_tick", "training_cpu_seconds")))
        mine = [(seed, cpu / whole[i]) for i, (seed, cpu) in enumerate(figure(results, name, "training_cpu_seconds"))]
        found = figure(results, name, "R")
        rows.append([name, with_interval(found), _least(found), _cost(results, name), with_interval(mine)])
    return rows


def _cost(results: list[dict[str, Any]], name: str) -> str:
    return "–" if name == FOREST else with_interval(figure(results, name, "relative_cost"))


def _split(results: list[dict[str, Any]], names: list[str], key: str, values: list[str]) -> list[list[str]]:
    return [
        [name, *(with_interval(figure([r for r in results if r[key] == value], name, "R")) for value in values)]
        for name in names
    ]


def _least(pairs: list[tuple[int, float]], digits: int = 2) -> str:
    return f"{min(value for _, value in pairs):.{digits}f}".replace("-", "−") if pairs else "–"


def tell_one(summary: dict[str, Any]) -> str:
    """The table of one project."""
    rows = [
        [each["policy"], f"{each['metric']:.4f}", f"{each['R']:.2f}" if each["R"] is not None else "–",
         f"{each['relative_cost']:.3f}", str(each["fits"]), f"{each['training_cpu_seconds']:.1f}",
         "–" if each["triggers"] is None else str(each["triggers"])]
        for each in summary["policies"]
    ]  # fmt: skip
    told = table([summary["project"], summary["metric"], "R", "C", "fits", "CPU s", "triggers"], rows)
    return f"{told}\nRecommended: {summary['recommended']['policy']}. {'; '.join(summary['recommended']['reasons'])}.\n"


def stream_options(description: str, ticks: int) -> argparse.ArgumentParser:
    """The options of every benchmark on streams."""
    asked = argparse.ArgumentParser(description=description)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--ticks", type=int, default=ticks)
    asked.add_argument("--rows", type=int, default=300)
    asked.add_argument("--generator", action="append", choices=GENERATORS)
    asked.add_argument("--out", type=Path, help="the scratch folder; a temporary one without it")
    return asked


def measure_each(
    cases: Sequence[dict[str, Any]], out: Path, measure: Callable[[Path, dict[str, Any]], dict[str, Any]]
) -> list[dict[str, Any]]:
    """What `measure` finds on each case, in a folder of its own; kept in RESULTS.json of `out` as it comes."""
    results: list[dict[str, Any]] = []
    for done, case in enumerate(cases):
        began, folder = time.monotonic(), out / "-".join(map(str, case.values()))
        results.append(case | measure(folder, case))
        (out / "RESULTS.json").write_text(json.dumps(results, indent=1))
        told = f"{done + 1} of {len(cases)}: {folder.name}, {time.monotonic() - began:.0f} s"
        print(told, file=sys.stderr, flush=True)
    return results


def main(words: list[str]) -> int:
    """Run what is asked for and print its tables; returns an exit code."""
    asked = stream_options("Retraining policies on streams that drift.", ticks=40)
    asked.add_argument("--kind", action="append", choices=KINDS)
    asked.add_argument("--without-forest", action="store_true")
    asked.add_argument("--flights", action="store_true", help="the flights example, and no streams")
    asked.add_argument("--project", type=Path, action="append", help="the project in this folder, and no streams")
    given = asked.parse_args(words)
    if given.flights:
        given.project = [ROOT / "examples" / "flights"]
    if given.project:
        for folder in given.project:
            print(tell_one(run(folder, forest=False)), flush=True)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        print(tell(_run_streams(given, given.out or Path(scratch))))
    return 0


def _run_streams(given: argparse.Namespace, out: Path) -> list[dict[str, Any]]:
    cases = [
        {"generator": generator, "kind": kind, "seed": seed}
        for seed in range(given.seeds)
        for generator in given.generator or GENERATORS
        for kind in given.kind or KINDS
    ]

    def measure(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
        lay_out(folder, **case, ticks=given.ticks, rows=given.rows)
        return run(folder, not given.without_forest)

    return measure_each(cases, out, measure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
