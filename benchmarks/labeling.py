"""Measure labeling: how few labels do, what a consensus is worth, which errors are found, how fast rows are chosen.

    python benchmarks/labeling.py
    python benchmarks/labeling.py --seeds 2 digits
    python benchmarks/labeling.py scale

digits and stream: accuracy on a held-out half of a model of what is labelled (the mean of the families), when rows are
labelled at random and when they are chosen. crowd: the consensus of three annotators. errors: flipped labels among the
first in the queue. scale: choosing 1,000 of 1,000,000 rows. Intervals are those of a bootstrap over seeds (95%).
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from labeling_cases import Case, Learner, Single, another, digits, flights, flip, stream

from homeostat.pipelines.labels.active import choose_rows, uncertainty
from homeostat.pipelines.labels.consensus import settle_answers
from homeostat.pipelines.labels.doubts import find_doubts, is_doubtful
from homeostat.pipelines.labels.out_of_fold import score_out_of_fold

PARTS = ("scale", "digits", "stream", "crowd", "errors")
DRAWS = 2000
QUEUED = 0.1
WRONG = 0.05
PEOPLE = (0.95, 0.8, 0.6)
FLIGHTS = 20_000


@dataclass(frozen=True)
class Budget:
    """How labels come: so many at first, then so many a week, until the whole budget is spent."""

    first: int
    weekly: int
    whole: int

    @property
    def steps(self) -> np.ndarray:
        """How many labels there are after each week."""
        return np.arange(self.first, self.whole + 1, self.weekly)


BUDGETS = {"digits": Budget(50, 25, 400), "stream": Budget(100, 50, 800)}


def measure_curves(
    name: str, make: Callable[[int], Case], learner: type[Learner], seeds: int, budget: Budget
) -> dict[str, np.ndarray]:
    """Accuracies (seeds, weeks) on the held-out half, of rows labelled at random and of rows chosen."""
    found: dict[str, list[list[float]]] = {"random": [], "chosen": []}
    for seed in range(seeds):
        case, began = make(seed), time.monotonic()
        order = np.random.default_rng(seed).permutation(case.frame.height)
        pool, test = np.array_split(order, 2)
        for way, each in found.items():
            each.append(run_curve(case, learner(case), pool, test, budget, way == "chosen"))
        say(f"{name}, seed {seed}: {time.monotonic() - began:.0f} s")
    return {way: np.array(each) for way, each in found.items()}


def run_curve(
    case: Case, learner: Learner, pool: np.ndarray, test: np.ndarray, budget: Budget, chosen: bool
) -> list[float]:
    """The accuracy after each week. `pool` and `test` are positions, in an order that is random."""
    labelled, left, curve = pool[: budget.first], pool[budget.first :], []
    for count in budget.steps:
        chances = learner.fit(np.sort(labelled))
        said = np.array(learner.classes)[chances[test].argmax(axis=1)]
        curve.append(float(np.mean(said == case.truth[test])))
        wanted = min(budget.weekly, budget.whole - count)
        taken = np.arange(wanted)
        if chosen:
            keys = [case.keys[i] for i in left]
            taken = choose_rows(learner.features[left], uncertainty(chances[left]), wanted, keys=keys)
        labelled, left = np.concatenate([labelled, left[taken]]), np.delete(left, taken)
    return curve


def share_needed(curves: dict[str, np.ndarray], steps: np.ndarray, seeds: np.ndarray) -> float:
    """The share of the whole budget at which chosen rows reach, on average, what random ones do with all of it."""
    aim, mean = curves["random"][seeds, -1].mean(), curves["chosen"][seeds].mean(axis=0)
    if mean.max() < aim:
        return 1.0
    at = int(np.argmax(mean >= aim))
    if at == 0:
        return float(steps[0] / steps[-1])
    part = (aim - mean[at - 1]) / (mean[at] - mean[at - 1])
    return float((steps[at - 1] + part * (steps[at] - steps[at - 1])) / steps[-1])


def tell_curves(name: str, curves: dict[str, np.ndarray], budget: Budget) -> str:
    """The table of one pool."""
    steps, seeds, luck = budget.steps, len(curves["random"]), np.random.default_rng(0)
    drawn = [share_needed(curves, steps, luck.integers(0, seeds, seeds)) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    needed = share_needed(curves, steps, np.arange(seeds))
    marks = [int(np.argmin(np.abs(steps - budget.whole * share))) for share in (0.25, 0.5, 0.75, 1)]
    rows = [[str(steps[at]), *(spread(curves[way][:, at]) for way in ("random", "chosen"))] for at in marks]
    told = f"Share of the budget needed: {needed:.2f} ({low:.2f} to {high:.2f}), over {seeds} seeds.\n"
    return table([f"{name}: labels", "accuracy, at random", "accuracy, chosen"], rows) + "\n" + told


def draw_curves(found: dict[str, dict[str, np.ndarray]], file: Path) -> None:
    """Draw the curves of every pool side by side: mean, and the middle eight of ten seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(5.2 * len(found), 3.8), squeeze=False)
    for axis, (name, curves) in zip(axes[0], found.items(), strict=True):
        budget = BUDGETS[name]
        for way, colour in (("random", "#8a8a8a"), ("chosen", "#1f6fb4")):
            low, high = np.quantile(curves[way], [0.1, 0.9], axis=0)
            axis.fill_between(budget.steps, low, high, color=colour, alpha=0.18, linewidth=0)
            axis.plot(budget.steps, curves[way].mean(axis=0), color=colour, label=f"labels {way}")
        axis.axhline(curves["random"][:, -1].mean(), color="#8a8a8a", linestyle=":")
        axis.axvline(budget.whole / 2, color="#cccccc", linestyle="--")
        axis.set(title=name, xlabel="labels", ylabel="accuracy on the held-out half")
        axis.legend(loc="lower right", frameon=False)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def measure_crowd(seeds: int) -> str:
    """The table of three annotators of digits: how often each way to settle is right, and ranks them rightly."""
    case = digits()
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        for way, result in settle_crowd(case, np.random.default_rng(seed)).items():
            found.setdefault(way, []).append(result)
        say(f"crowd, seed {seed}")
    rows = [
        [
            way,
            spread(np.array(each)[:, 0], 4),
            f"{sum(np.array(each)[:, 1] > 0)} of {seeds}" if each[0][1] >= 0 else "–",
        ]
        for way, each in found.items()
    ]
    return table(["digits, annotators right in 95, 80, 60%", "items right", "annotators ranked rightly"], rows)


def settle_crowd(case: Case, chance: np.random.Generator) -> dict[str, tuple[float, float]]:
    """By way to settle: the share of items that are right, and 1 where the ranks are (-1: there are none)."""
    truth, items, people = case.truth, case.keys, ["first", "second", "third"]
    told = [np.where(chance.random(len(truth)) < sure, truth, another(truth, chance)) for sure in PEOPLE]
    answers = pl.concat(
        [
            pl.DataFrame({"item": items, "annotator": name, "label": said})
            for name, said in zip(people, told, strict=True)
        ]
    )
    classes = sorted(set(truth))
    majority = vote_majority(np.array(told), classes, chance)
    found = {"majority": (float(np.mean(majority == truth)), -1.0)}

    def settle(chances: np.ndarray | None, way: Any = "crowdlab") -> tuple[np.ndarray, tuple[float, float]]:
        made, board = settle_answers(answers, classes, chances, items, method=way)
        labels = np.array([each.label for each in made])
        return labels, (float(np.mean(labels == truth)), float(board["annotator"].to_list() == people))

    found["answers alone (Dawid and Skene)"] = settle(None)[1]
    for way in ("crowdlab", "likelihood"):
        labels = majority
        for turn in (1, 2):
            frame = case.frame.with_columns(label=pl.Series(labels.tolist()))
            made = score_out_of_fold(frame, case.project, case.hooks, average=True)
            if turn == 1:
                found["the model alone, of majority labels"] = (
                    float(np.mean(np.array(made.classes)[made.chances.argmax(axis=1)] == truth)), -1.0,
                )  # fmt: skip
            labels, found[f"{way}, turn {turn}"] = settle(made.chances, way)
    return found


def vote_majority(told: np.ndarray, classes: list[str], chance: np.random.Generator) -> np.ndarray:
    """The commonest of the answers (annotators, items) to each item; of equals one by chance."""
    counts = np.stack([(told == label).sum(axis=0) for label in classes], axis=1)
    return np.array(classes)[(counts + 0.5 * chance.random(counts.shape)).argmax(axis=1)]


def measure_errors(seeds: int) -> str:
    """The table of flipped labels: which share of them is among the first in the queue, and is marked."""
    rows = []
    for name, make in (("digits", lambda seed: digits()), ("flights", lambda seed: flights(FLIGHTS, seed))):
        found: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(seeds):
            for way, result in find_errors(make(seed), np.random.default_rng(seed)).items():
                found.setdefault(way, []).append(result)
            say(f"errors in {name}, seed {seed}")
        for way, each in found.items():
            rows.append([f"{name}, {way}", *(spread(column) for column in np.array(each).T)])
    head = ["5% of labels flipped", "recall, first 10% queued", "recall, marked", "precision, marked"]
    return table(head, rows)


def find_errors(case: Case, chance: np.random.Generator) -> dict[str, tuple[float, float, float]]:
    """By way to doubt: recall among the first tenth queued, and recall and precision of what is marked."""
    labels, wrong = flip(case.truth, WRONG, chance)
    told = pl.Series("label", labels.tolist())
    found = {}
    for average in (False, True):
        made = score_out_of_fold(case.frame.with_columns(told), case.project, case.hooks, average=average)
        marked = is_doubtful(told, made.chances, made.classes)
        kept = (recall(marked, wrong), float(wrong[marked].mean()) if marked.any() else 0.0)
        for way, settings in DOUBTS.items():
            queue = np.argsort(-find_doubts(told, made.chances, made.classes, **settings), kind="stable")
            first = np.isin(np.arange(len(wrong)), queue[: round(QUEUED * len(wrong))])
            found[f"{'average' if average else 'best'} of families, {way}"] = (recall(first, wrong), *kept)
        if len(made.losses or ()) < 2:
            break
    return found


DOUBTS: dict[str, dict[str, Any]] = {
    "self-confidence": {},
    "self-confidence, adjusted": {"adjust": True},
    "normalized margin": {"method": "normalized_margin"},
}


def recall(marked: np.ndarray, wrong: np.ndarray) -> float:
    """The share of what is wrong that is marked."""
    return float((marked & wrong).sum() / wrong.sum())


def measure_scale(rows: int = 1_000_000, wanted: int = 1000) -> str:
    """The table of one choice: seconds, and peak memory above what the process held before (RSS)."""
    chance = np.random.default_rng(0)
    frame = pl.DataFrame({f"x{i}": chance.normal(size=rows) for i in range(20)})
    worth, keys = chance.random(rows), [str(i) for i in range(rows)]
    with Peak() as peak:
        began = time.perf_counter()
        chosen = choose_rows(frame, worth, wanted, keys=keys)
        seconds = time.perf_counter() - began
    assert len(chosen) == wanted
    told = [[f"{wanted:,} of {rows:,}, 20 columns", f"{seconds:.1f}", f"{peak.above / 1e6:.0f}"]]
    return table(["choosing rows", "seconds", "peak memory above the frame, MB"], told)


class Peak:
    """The highest memory of this process (RSS) inside a block, above what it was at its beginning, in bytes."""

    def __enter__(self) -> Peak:
        self.before, self.highest, self.stop = self._now(), 0, threading.Event()
        self.watch = threading.Thread(target=self._look, daemon=True)
        self.watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.watch.join()
        self.above = max(0, max(self.highest, self._now()) - self.before)

    def _look(self) -> None:
        while not self.stop.wait(0.002):
            self.highest = max(self.highest, self._now())

    def _now(self) -> int:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * 4096


def spread(values: np.ndarray, digits: int = 3) -> str:
    """The mean over seeds, with the lowest and the highest."""
    return f"{values.mean():.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def say(text: str) -> None:
    """Tell how far it is, apart from the tables."""
    print(text, file=sys.stderr, flush=True)


def main(words: list[str]) -> int:
    """Measure what is asked for and print its tables; returns an exit code."""
    asked = argparse.ArgumentParser(description="How much labeling is worth.")
    asked.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], help="all of them without it")
    asked.add_argument("--seeds", type=int, default=10)
    asked.add_argument("--single", action="store_true", help="learn by `train_model`, which takes one of the families")
    asked.add_argument("--picture", type=Path, help="where to draw the curves")
    given = asked.parse_args(words)
    parts, curves, learner = given.parts or PARTS, {}, Single if given.single else Learner
    for part in (part for part in PARTS if part in parts):
        if part in BUDGETS:
            make = stream if part == "stream" else lambda seed: digits()
            curves[part] = measure_curves(part, make, learner, given.seeds, BUDGETS[part])
            print(tell_curves(part, curves[part], BUDGETS[part]), flush=True)
        else:
            print(MEASURED[part](given.seeds), flush=True)
    if curves and given.picture is not None:
        draw_curves(curves, given.picture)
    return 0


MEASURED: dict[str, Callable[[int], str]] = {
    "crowd": measure_crowd,
    "errors": measure_errors,
    "scale": lambda seeds: measure_scale(),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
