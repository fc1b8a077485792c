"""What the loop makes of few rows and of labels that come late; printed as Markdown tables.

    python benchmarks/small_worlds.py [--seeds 2]

By backtests, which take the loop's own steps. "reversed": 160 days, of which 40 are history; on day 60 the concept is
reversed, and labels come after a day. Beside the loop stand its first model left alone, and a logistic regression that
is fitted every day on the labels of the last 30 days. "late": 150 days, of which 60 are history, 200 rows a day, 15%
positive; nothing changes. Labels take 1 day where they are negative and 5 where they are positive, or an exponential
time of mean 4 days, all of them or the positive ones alone; the horizon is 7 days.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from homeostat.flows.backtest.catalogue import list_contenders
from homeostat.flows.backtest.run import read_history, run_backtest
from homeostat.project import load_project

START = datetime(2024, 1, 1, tzinfo=UTC)
PROJECT = """[project]
name = "world"
task = "binary"
[data]
key = "id"
event_time = "at"
target = "y"
numeric = {numeric}
[data.inputs]
uri = "inputs.parquet"
[data.feedback]
uri = "feedback.parquet"
known_at = "known_at"
horizon = "{horizon}"
[loop]
tick = "1d"
start = "{start}"
"""


@dataclass(frozen=True)
class World:
    """Rows with the day of each event, features, labels and the day on which each label is known."""

    day: np.ndarray
    features: np.ndarray
    label: np.ndarray
    known: np.ndarray
    history: int
    horizon: str

    def write(self, folder: Path) -> Path:
        """Lay out the project."""
        names = [f"x{i}" for i in range(self.features.shape[1])]
        rows = {"id": range(len(self.day)), "at": times(self.day)} | dict(zip(names, self.features.T, strict=True))
        pl.DataFrame(rows).write_parquet(folder / "inputs.parquet")
        labels = pl.DataFrame({"id": range(len(self.day)), "y": self.label, "known_at": times(self.known)})
        labels.write_parquet(folder / "feedback.parquet")
        start = (START + timedelta(days=self.history)).isoformat()
        quoted = str(names).replace("'", '"')
        text = PROJECT.format(numeric=quoted, horizon=self.horizon, start=start)
        (folder / "homeostat.toml").write_text(text, encoding="utf-8")
        return folder


def times(days: np.ndarray) -> pl.Series:
    """So many days after the start."""
    since = pl.Series((days * 86_400e6).astype(np.int64)).cast(pl.Duration("us"))
    return pl.Series([START], dtype=pl.Datetime("us", "UTC")) + since


def reversed_world(rows: int, seed: int) -> World:
    """A concept that is reversed on day 60."""
    chance = np.random.default_rng(seed)
    day = np.sort(chance.uniform(0, 160, rows * 160))
    features = chance.normal(size=(len(day), 3))
    level = np.where(day < 60, 2, -2) * features[:, 0] + features[:, 1]
    label = (level + chance.logistic(size=len(day)) > 0).astype(int)
    return World(day, features, label, day + 0.9, 40, "3d")


def late_world(delays: str, seed: int) -> World:
    """A world in which nothing changes but labels come late."""
    chance = np.random.default_rng(seed)
    day = np.sort(chance.uniform(0, 150, 200 * 150))
    features = chance.normal(size=(len(day), 4))
    level = features[:, 0] - features[:, 1] + features[:, 2] / 2 + chance.logistic(size=len(day))
    label = (level > np.quantile(level, 0.85)).astype(int)
    late = chance.exponential(4, len(day))
    if delays == "1 and 5 days":
        late = np.where(label == 1, 5.0, 1.0)
    elif delays == "none":
        late = np.zeros(len(day))
    elif delays != "exponential":
        late = np.where(label == 1, late, 1.0)
    return World(day, features, label, day + late, 60, "7d")


def served(world: World, *names: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The truth of what was scored after the history, and the scores by each policy."""
    with tempfile.TemporaryDirectory() as folder:
        project = load_project(world.write(Path(folder)))
        history = read_history(project, None)
        chosen = [each for each in list_contenders(project) if each.name in names]
        outcome = run_backtest(history, chosen)
        rows = np.concatenate([history.batch(tick) for tick in outcome.ticks])
        truth = world.label[history.frame["id"].to_numpy()[rows]]
        scores = {
            name: pl.concat([outcome.served[name][tick] for tick in outcome.ticks])["score"].to_numpy()
            for name in names
        }
    return truth, scores


def refitted(world: World) -> float:
    """The AUC of a logistic regression that is fitted every day on the last 30 days."""
    truth, scores = list[int](), list[float]()
    for day in range(world.history, 160):
        known = (world.known <= day) & (world.day > day - 30)
        mine = (world.day >= day) & (world.day < day + 1)
        if mine.any():
            model = LogisticRegression().fit(world.features[known], world.label[known])
            scores += model.predict_proba(world.features[mine])[:, 1].tolist()
            truth += world.label[mine].tolist()
    return float(roc_auc_score(truth, scores))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    print("| rows a day | seed | first model | refit on 30 days | loop | share of the gain |\n" + "|---" * 6 + "|")
    for rows in (15, 30, 200):
        for seed in range(asked.seeds):
            world = reversed_world(rows, seed)
            truth, scores = served(world, "never", "forecast")
            first, loop = (roc_auc_score(truth, scores[name]) for name in ("never", "forecast"))
            script = refitted(world)
            share = (loop - first) / (script - first)
            print(f"| {rows} | {seed} | {first:.3f} | {script:.3f} | {loop:.3f} | {share:.2f} |", flush=True)
    print("\n| delays | seed | log loss: first model | loop | mean score over base rate: first | loop |")
    print("|---" * 6 + "|")
    for delays in ("none", "1 and 5 days", "exponential", "exponential, positives alone"):
        for seed in range(asked.seeds):
            truth, scores = served(late_world(delays, seed), "never", "forecast")
            losses = [log_loss(truth, np.clip(scores[name], 1e-6, 1 - 1e-6)) for name in ("never", "forecast")]
            means = [scores[name].mean() / truth.mean() for name in ("never", "forecast")]
            cells = [f"{losses[0]:.4f}", f"{losses[1]:.4f}", f"{means[0]:.3f}", f"{means[1]:.3f}"]
            print(f"| {delays} | {seed} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
