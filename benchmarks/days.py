"""How often the alarm is false where days differ, and what it costs in delay; printed as Markdown tables.

    python benchmarks/days.py [--lives 200] [--alpha 0.05]

Each life has a reference of its own: some days of a holdout, and as many that candidates learned from. Then come days
of so many labels, whose mean loss moves by a normal effect of the day. An alarm needs both tests of the loop, that of
rows (homeostat/sequential.py) and that of batches (homeostat/batch_test.py); beside it stands that of rows alone, as it
was. "spread out" are losses from a beta distribution with a mean of 0.17, "rare" those of a class of 3% that is missed,
"errors" are 0 or 1 with a mean of 0.1. "storms" are effects of a Student distribution of 4 degrees, "spells" effects
that are correlated by 0.5 from day to day.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from dataclasses import dataclass

import numpy as np

from homeostat.batch_test import LEAST_FREEDOM, TILTS, Group, merge, play_normal, standing
from homeostat.losses import profile
from homeostat.sequential import NOTHING, SIZES, play, upper_limit

TOLERANCE = 0.01
FIRST_EPISODE = 6 / math.pi**2
NAMES = [field.name for field in dataclasses.fields(Group)]


@dataclass(frozen=True)
class World:
    """How losses are drawn, and how many days and labels a day the reference and the life have."""

    losses: str
    days: int
    reference_rows: int
    rows: int
    spread: float
    effects: str = "normal"

    @property
    def base(self) -> float:
        """The mean loss."""
        return {"spread out": 0.17, "rare": 0.03, "errors": 0.1}[self.losses]

    def draw(self, chance: np.random.Generator, mean: np.ndarray, rows: int) -> np.ndarray:
        """Losses (rows, lives) of these means."""
        mean, shape = np.clip(mean, 0.002, 0.9), (rows, len(mean))
        if self.losses == "spread out":
            return chance.beta(2, 2 * (1 - mean) / mean, shape)
        hit = (chance.random(shape) < mean).astype(float)
        return hit if self.losses == "errors" else np.where(hit > 0, 0.9, 0.001)


class Lives:
    """Many lives side by side."""

    def __init__(self, world: World, lives: int, alpha: float, seed: int) -> None:
        self.world, self.alpha, self.chance = world, alpha, np.random.default_rng(seed)
        self.effect = np.zeros(lives)
        nothing = Group(*[np.zeros(lives)] * len(NAMES))
        self.reference = self.others = self.lived = self.pending = nothing
        held_out = []
        for _ in range(world.days):
            self.others = _added(self.others, self._day(0.0, world.reference_rows))
            held_out.append(self._day(0.0, world.reference_rows))
            self.reference = _added(self.reference, held_out[-1])
        sample, exact = np.concatenate(held_out), world.losses == "errors"
        limits = [upper_limit(profile(sample[:, life]), alpha / 2, exact) for life in range(lives)]
        self.limit = np.array(limits) + TOLERANCE
        self.excess, self.lowest = np.zeros(lives), np.zeros(lives)

    def _day(self, worse: float, rows: int) -> np.ndarray:
        lives, kind = len(self.effect), self.world.effects
        new = self.chance.standard_t(4, lives) / math.sqrt(2) if kind == "storms" else self.chance.normal(size=lives)
        self.effect = 0.5 * self.effect + math.sqrt(0.75) * new if kind == "spells" else new
        return self.world.draw(self.chance, self.world.base + worse + self.world.spread * self.effect, rows)

    def live(self, ticks: int, change: int, worse: float) -> tuple[np.ndarray, np.ndarray]:
        """The tick of each life's first alarm, infinite where there is none: by both tests, and by rows as it was."""
        lives = len(self.effect)
        rows = np.zeros((len(SIZES), lives)), np.full((len(SIZES), lives), NOTHING)
        days = np.zeros((len(TILTS), lives)), np.full((len(TILTS), lives), NOTHING)
        of_rows, of_days = np.zeros(lives), np.zeros(lives)
        both, before = np.full(lives, np.inf), np.full(lives, np.inf)
        wanted = math.log(2 / self.alpha)
        for tick in range(ticks):
            losses = self._day(worse if tick >= change else 0.0, self.world.rows)
            *rows, now = play(*rows, tick, losses, self.limit)
            of_rows = np.maximum(of_rows, now)
            normal, limit = standing(
                self.reference, [self.others, self.lived], TOLERANCE, self.alpha / 2, float(len(losses)), losses.mean(0)
            )
            *days, now = play_normal(*days, tick, normal)
            of_days = np.maximum(of_days, now)
            knows = self.reference.freedom + self.others.freedom + self.lived.freedom >= LEAST_FREEDOM
            self._settle(losses, limit, knows)
            reached = np.where(knows, np.minimum(of_rows, of_days), 0.0)
            both[(reached >= wanted - math.log(FIRST_EPISODE)) & np.isinf(both)] = tick
            before[(of_rows >= wanted) & np.isinf(before)] = tick
        return both, before

    def _settle(self, losses: np.ndarray, limit: np.ndarray, knows: np.ndarray) -> None:
        self.pending = _added(self.pending, losses)
        self.excess = self.excess + len(losses) * (losses.mean(0) - limit)
        usual = ~knows | (self.excess < self.lowest)
        self.lowest = np.where(usual, np.minimum(self.lowest, self.excess), self.lowest)
        together, nothing = merge(self.lived, self.pending), np.zeros(len(usual))
        self.lived = _chosen(usual, together, self.lived)
        self.pending = _chosen(usual, Group(*[nothing] * len(NAMES)), self.pending)


def _added(group: Group, losses: np.ndarray) -> Group:
    mean = losses.mean(0)
    return group.add(float(len(losses)), mean, ((losses - mean) ** 2).sum(0))


def _chosen(which: np.ndarray, one: Group, other: Group) -> Group:
    return Group(*[np.where(which, getattr(one, name), getattr(other, name)) for name in NAMES])


def false_alarms(lives: int, alpha: float) -> list[str]:
    """Rows of the table of false alarms in 200 days."""
    told = [
        "| losses | days of reference | labels a day | days differ by | effects | rows alone | both |",
        "|---" * 7 + "|",
    ]
    worlds = [World("spread out", 20, 250, 500, spread) for spread in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05)]
    worlds += [World("spread out", days, 250, 500, 0.02) for days in (1, 2, 4)]
    worlds += [World("spread out", 4, 15, 15, 0.05), World("rare", 4, 15, 15, 0.02), World("rare", 10, 250, 500, 0.02)]
    worlds += [World("errors", 4, 250, 500, 0.03), World("errors", 10, 250, 500, 0.0)]
    worlds += [World("spread out", 10, 250, 500, 0.02, effects) for effects in ("storms", "spells")]
    for seed, world in enumerate(worlds):
        both, before = (np.isfinite(found).mean() for found in Lives(world, lives, alpha, seed).live(200, 200, 0.0))
        told.append(
            f"| {world.losses} | {world.days} + {world.days} | {world.rows} | {world.spread:g} | {world.effects} "
            f"| {before:.3f} | {both:.3f} |"
        )
    return told


def delays(lives: int, alpha: float) -> list[str]:
    """Rows of the table of median delays after a change on day 30."""
    told = [
        "| rows of reference | labels a day | days differ by | worse by | rows alone | both | found in 60 days |",
        "|---" * 7 + "|",
    ]
    steps = (0.03, 0.05, 0.08, 0.13)
    worlds = [World("spread out", days, rows, labels, 0.0) for days, rows, labels in ((3, 50, 50), (4, 112, 200))]
    worlds += [World("spread out", 10, 200, labels, 0.0) for labels in (50, 200)]
    worlds += [World("spread out", days, 200, 200, 0.02) for days in (4, 15)]
    for world in worlds:
        for worse in steps:
            both, before = Lives(world, lives, alpha, 1).live(90, 30, worse)
            told.append(
                f"| {world.days * world.reference_rows:,} | {world.rows} | {world.spread:g} | {worse:g} "
                f"| {_median(before)} | {_median(both)} | {np.isfinite(both).mean():.2f} |"
            )
    return told


def _median(found: np.ndarray) -> str:
    later = found[found >= 30] - 29
    median = float(np.median(later)) if len(later) else math.nan
    return f"{median:g}" if math.isfinite(median) else ">60" if len(later) else "all false"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=200, help="lives for each row")
    parser.add_argument("--alpha", type=float, default=0.05)
    asked = parser.parse_args()
    began = time.monotonic()
    print(f"False alarms in 200 days, alpha {asked.alpha:g}, tolerance {TOLERANCE:g}:\n")
    print("\n".join(false_alarms(asked.lives, asked.alpha)), flush=True)
    print("\nMedian delay in days after a change on day 30:\n")
    print("\n".join(delays(asked.lives, asked.alpha)))
    print(f"\n{time.monotonic() - began:.0f} seconds.")


if __name__ == "__main__":
    main()
