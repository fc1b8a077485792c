"""What labels that come late, by class, do to the alarm in a world where nothing changes; printed as a Markdown table.

    python benchmarks/late_labels.py [--lives 200] [--days 120] [--alpha 0.05]

Each life has 60 days of history and then so many days of 100 rows, whose scores are the true chances. Labels take 1 day
where they are negative and 5 where they are positive, or an exponential time of mean 4 days, all of them or the
positive ones alone; the horizon is 7 days. The reference is made of the rows held out at the start, and a batch is
taken once its labels are all there or its horizon has passed, as in the loop, by the loop's own functions. Beside it
stands what would be told if labels counted as they are: a batch when 80% of them are there, the holdout likewise.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from homeostat.losses import describe_losses, gather_batches
from homeostat.monitoring.alarm.state import Watch, begin, take
from homeostat.pipelines.labels.delays import LabelDelays, estimate_delays, lookback
from homeostat.pipelines.labels.sampling import fair_share
from homeostat.project import Project

HISTORY, ROWS, HORIZON, HELD_OUT = 60, 100, 7, 0.25
COVERED = 0.8
PROJECT: dict[str, Any] = {
    "project": {"name": "late", "task": "binary"},
    "data": {
        "key": "id", "event_time": "at", "target": "y", "numeric": ["x"], "inputs": {"uri": "inputs.parquet"},
        "feedback": {"uri": "feedback.parquet", "horizon": f"{HORIZON}d"},
    },
    "loop": {"tick": "1d", "start": "2024-01-01"},
}  # fmt: skip
DELAYS = ("1 and 5 days", "exponential", "exponential, positives alone")


@dataclass(frozen=True)
class Life:
    """The rows of a life: the day each came with, counted from the start, that its label did, score and label."""

    came: np.ndarray
    known: np.ndarray
    score: np.ndarray
    positive: np.ndarray

    def rows(self, which: np.ndarray, chances: np.ndarray) -> pl.DataFrame:
        """These rows with their labels, and the chance that such a label had to be there."""
        return pl.DataFrame(
            {
                "id": which,
                "batch": self.came[which].astype(str),
                "label": self.positive[which].astype(int).astype(str),
                "propensity": chances,
            }
        )

    def losses(self, which: np.ndarray) -> np.ndarray:
        """Brier's score of these rows."""
        return (self.score[which] - self.positive[which]) ** 2


def draw(delays: str, days: int, seed: int) -> Life:
    """A life in which nothing changes."""
    chance = np.random.default_rng(seed)
    count = (HISTORY + days) * ROWS
    at = np.sort(chance.uniform(-HISTORY, days, count))
    score = chance.beta(2, 6, count)
    positive = chance.random(count) < score
    late = chance.exponential(4, count)
    if delays == "1 and 5 days":
        late = np.where(positive, 5.0, 1.0)
    elif delays != "exponential":
        late = np.where(positive, late, 1.0)
    return Life(np.floor(at).astype(int) + 1, np.ceil(at + late).astype(int), score, positive)


def known_delays(life: Life, now: int, project: Project) -> LabelDelays:
    """What is known of delays on day `now`."""
    seen = np.flatnonzero((life.known <= now) & (life.came > now - lookback(project)))
    labels = pl.Series(life.positive[seen].astype(int).astype(str))
    delays = np.maximum(life.known[seen] - life.came[seen], 0)
    return estimate_delays(labels, delays, np.maximum(now - life.came[seen], delays), project)


def fair(life: Life, which: np.ndarray, now: int, delays: LabelDelays) -> np.ndarray:
    """Of these labelled rows those that a fair sample is made of."""
    labels = pl.Series(life.positive[which].astype(int).astype(str))
    chances = delays.chances(labels, now - life.came[which])
    return which[fair_share(life.rows(which, chances), "id", "batch")]


def hold_out(life: Life, chance: np.random.Generator, delays: LabelDelays | None) -> dict[str, Any]:
    """The reference, by what is known at the start; without delays, by the labels as they are."""
    labelled = life.known <= 0
    days, inverse = np.unique(life.came[life.came <= 0], return_inverse=True)
    covered = np.bincount(inverse, labelled[life.came <= 0]) / np.bincount(inverse)
    old = days[covered >= COVERED] if delays is None else days[-days >= delays.settled_after]
    which = np.flatnonzero(labelled & np.isin(life.came, old))
    which = which if delays is None else fair(life, which, 0, delays)
    held = chance.random(len(which)) < HELD_OUT
    told = describe_losses(life.losses(which[held]), {}, scale=1.0, zero_one=False)
    groups = [gather_batches(life.losses(part), {}, life.came[part], told)[""] for part in (which[held], which[~held])]
    return told | {"batches": {"": asdict(groups[0])}, "other_batches": {"": [asdict(groups[1])]}}


def lived(life: Life, days: int, alpha: float, seed: int, project: Project, *, corrected: bool) -> tuple[Watch, float]:
    """The alarm's memory at the end of a life, and by how much what it was fed was off the true mean loss."""
    delays = known_delays(life, 0, project) if corrected else None
    loss = hold_out(life, np.random.default_rng(seed), delays)
    watch = begin(1, loss, alpha=alpha, tolerance=0.01, columns=(), at="")
    begun, fed = 1, list[np.ndarray]()
    for now in range(1, days + 1):
        delays = known_delays(life, now, project) if corrected else None
        while begun <= now and (which := matured(life, begun, now, delays)) is not None:
            fed.append(life.losses(which))
            watch = take(watch, fed[-1], {}, start=f"{begun - 1:05}", end=f"{begun:05}")
            begun += 1
    truth = float((life.score * (1 - life.score)).mean())
    return watch, float(np.concatenate(fed).mean()) / truth - 1


def matured(life: Life, day: int, now: int, delays: LabelDelays | None) -> np.ndarray | None:
    """The labelled rows that came with a day, once they are what the alarm may take; None before."""
    mine = np.flatnonzero(life.came == day)
    labelled = mine[life.known[mine] <= now]
    if delays is None:
        ready = len(labelled) >= COVERED * len(mine) or now - day >= HORIZON
        return labelled if ready else None
    ready = len(labelled) == len(mine) or now - day >= HORIZON
    return fair(life, labelled, now, delays) if ready else None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=200)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--alpha", type=float, default=0.05)
    asked = parser.parse_args()
    project, began = Project.model_validate(PROJECT | {"folder": Path()}), time.monotonic()
    print(f"{asked.lives} lives of {asked.days} days, alpha {asked.alpha:g}:\n")
    print("| delays of labels | labels | false alarms | mean loss fed, against the truth |\n|---|---|---|---|")
    for delays in DELAYS:
        for corrected in (False, True):
            told = []
            for seed in range(asked.lives):
                life = draw(delays, asked.days, seed)
                told.append(lived(life, asked.days, asked.alpha, seed, project, corrected=corrected))
            raised = np.mean([watch.last_change > 0 for watch, _ in told])
            name = "as the loop counts them" if corrected else "as they are"
            print(f"| {delays} | {name} | {raised:.3f} | {np.mean([off for _, off in told]):+.1%} |", flush=True)
    print(f"\n{time.monotonic() - began:.0f} seconds.")


if __name__ == "__main__":
    main()
