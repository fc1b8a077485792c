"""How often the alarm is false, and how long it takes: simulated lives, printed as Markdown tables.

    python benchmarks/detection.py [--runs 2000] [--lives 400] [--alpha 0.05]

Each life has a reference of its own and 500 matured labels a tick, for 200 ticks. "errors" are 0 or 1, with the base
error as their mean; "Brier" are Brier scores of a calibrated classifier, some of whose labels are drawn from the
opposite probability where it became worse. The e-processes and limits are those of homeostat/sequential.py.

Beside each delay: the ticks that a z-test needs for a power of one half at the same alpha, where it may look only once
and is told when the change came.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, norm

from homeostat.losses import profile
from homeostat.sequential import CELLS, SIZES, play, upper_limit

LABELS, TICKS, CHANGE = 500, 200, 50
BASES, TOLERANCES, REFERENCES, SHIFTS = (0.05, 0.1, 0.3), (0.0, 0.01, 0.02), (2_000, 20_000), (0.01, 0.02, 0.05, 0.1)
SHAPE = (2.0, 6.0)


@dataclass(frozen=True)
class World:
    """How losses are drawn: `draw(chance, shape, shift)` gives losses whose mean is `base` + shift."""

    name: str
    base: float
    draw: Callable[[np.random.Generator, tuple[int, ...], float], np.ndarray]
    variance: Callable[[float], float]
    zero_one: bool


def errors(base: float) -> World:
    """Losses that are 0 or 1."""

    def draw(chance: np.random.Generator, shape: tuple[int, ...], shift: float) -> np.ndarray:
        return (chance.random(shape) < base + shift).astype(float)

    return World("errors", base, draw, lambda shift: (base + shift) * (1 - base - shift), True)


def brier() -> World:
    """Brier scores of probabilities from a beta distribution; its mean of p (1 - p) is the mean loss."""
    first, second = SHAPE
    base = first * second / ((first + second) * (first + second + 1))

    def draw(chance: np.random.Generator, shape: tuple[int, ...], shift: float) -> np.ndarray:
        probability = chance.beta(first, second, shape)
        turned = chance.random(shape) < shift / (1 - 4 * base)  # such a row loses 1 - 3 p (1 - p) on average
        truth = chance.random(shape) < np.where(turned, 1 - probability, probability)
        return (truth - probability) ** 2

    def variance(shift: float) -> float:
        return float(draw(np.random.default_rng(0), (1_000_000,), shift).var())

    return World("Brier", base, draw, variance, False)


class Lives:
    """Many lives side by side."""

    def __init__(self, world: World, rows: int, tolerance: float, lives: int, alpha: float, seed: int) -> None:
        self.world, self.alpha, self.chance = world, alpha, np.random.default_rng(seed)
        self.limit = np.array([self._limit(rows) for _ in range(lives)]) + tolerance
        self.growth, self.stakes = np.zeros((len(SIZES), lives)), np.full((len(SIZES), lives), -1e300)
        self.ticks, self.reached = 0, np.zeros(lives, dtype=int)

    def _limit(self, rows: int) -> float:
        if self.world.zero_one:
            wrong = self.chance.binomial(rows, self.world.base)
            counts = [float(rows - wrong), *[0.0] * (CELLS - 1), float(wrong)]
        else:
            counts = profile(self.world.draw(self.chance, (rows,), 0.0))
        return upper_limit(counts, self.alpha / 2, self.world.zero_one)

    def fork(self, seed: int) -> Lives:
        """The same lives up to now, and another future."""
        other = object.__new__(Lives)
        other.__dict__ = {name: v.copy() if isinstance(v, np.ndarray) else v for name, v in self.__dict__.items()}
        other.chance = np.random.default_rng(seed)
        return other

    def live(self, ticks: int, shift: float) -> Lives:
        """Live on; `reached` is the tick, from 1, of each life's first alarm, 0 where there was none."""
        for _ in range(ticks):
            losses = self.world.draw(self.chance, (LABELS, len(self.limit)), shift)
            self.growth, self.stakes, log_e_value = play(self.growth, self.stakes, self.ticks, losses, self.limit)
            self.ticks += 1
            self.reached[(self.reached == 0) & (log_e_value >= math.log(2 / self.alpha))] = self.ticks
            if self.reached.all():
                break
        return self


def false_alarms(worlds: list[World], runs: int, alpha: float) -> list[str]:
    """Rows of the table of false alarms."""
    told = ["| losses | base | tolerance | mean loss | false alarms | share | 95% interval |", "|---" * 7 + "|"]
    for seed, world in enumerate(worlds):
        for tolerance, shift in ((0.0, 0.0), (0.01, 0.0), (0.01, 0.01), (0.02, 0.02)):
            lives = Lives(world, 20_000, tolerance, runs, alpha, seed).live(TICKS, shift)
            hits = int((lives.reached > 0).sum())
            low = beta.ppf(0.025, hits, runs - hits + 1) if hits else 0.0
            high = beta.ppf(0.975, hits + 1, runs - hits) if hits < runs else 1.0
            where = "the reference" if not shift else "reference + tolerance"
            told.append(
                f"| {world.name} | {world.base:.3g} | {tolerance:g} | {where} | {hits} of {runs} | {hits / runs:.4f} "
                f"| {low:.4f} to {high:.4f} |"
            )
    return told


def delays(worlds: list[World], lives: int, alpha: float) -> list[str]:
    """Rows of the table of median delays."""
    told = [
        "| losses | base | tolerance | reference rows | " + " | ".join(f"+{shift:g}" for shift in SHIFTS) + " |",
        "|---" * (4 + len(SHIFTS)) + "|",
    ]
    for world in worlds:
        for tolerance in TOLERANCES:
            for rows in REFERENCES:
                before = Lives(world, rows, tolerance, lives, alpha, 1).live(CHANGE, 0.0)
                cells = [_cell(before, world, tolerance, rows, shift, alpha) for shift in SHIFTS]
                told.append(f"| {world.name} | {world.base:.3g} | {tolerance:g} | {rows:,} | {' | '.join(cells)} |")
    return told


def _cell(before: Lives, world: World, tolerance: float, rows: int, shift: float, alpha: float) -> str:
    after = before.fork(2).live(TICKS - CHANGE, shift).reached
    after = after[(after == 0) | (after > CHANGE)]
    ticks = np.where(after == 0, np.inf, after - CHANGE)
    median = float(np.median(ticks))
    told = f">{TICKS - CHANGE}" if math.isinf(median) else f"{median:g}"
    return f"{told} ({_one_look(world, tolerance, rows, shift, alpha)})"


def _one_look(world: World, tolerance: float, rows: int, shift: float, alpha: float) -> str:
    if shift <= tolerance:
        return "never"
    room = ((shift - tolerance) / norm.ppf(1 - alpha)) ** 2 - world.variance(0.0) / rows
    return "never" if room <= 0 else str(math.ceil(world.variance(shift) / room / LABELS))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="lives for each share of false alarms")
    parser.add_argument("--lives", type=int, default=400, help="lives for each delay")
    parser.add_argument("--alpha", type=float, default=0.05)
    asked = parser.parse_args()
    began = time.monotonic()
    print(f"False alarms in {TICKS} ticks of {LABELS} labels, alpha {asked.alpha:g}, reference of 20,000 rows:\n")
    print("\n".join(false_alarms([*map(errors, BASES), brier()], asked.runs, asked.alpha)), flush=True)
    print(f"\nMedian delay in ticks after a change at tick {CHANGE}; in brackets the one look that knows it:\n")
    print("\n".join(delays([*map(errors, BASES), brier()], asked.lives, asked.alpha)))
    print(f"\n{time.monotonic() - began:.0f} seconds.")


if __name__ == "__main__":
    main()
