"""Streams that drift, and some that do not, from river's generators, laid out as projects.

Four generators (SEA: Street and Kim, 2001; Agrawal et al., 1993; the rotating hyperplane of Hulten et al., 2001; random
radial basis functions) times four kinds of change. A row of a tick is scored at its end; its label is known right
after, so the next tick can be scored by a model that knows it.

Besides, from the same generators, streams whose concept has turned several times before the labels of a tick are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

START, DAY, HISTORY = datetime(2024, 1, 7, tzinfo=UTC), timedelta(days=1), 6
LATE = 20
GENERATORS = ("sea", "agrawal", "hyperplane", "rbf")
KINDS = ("abrupt", "gradual", "recurring", "still")
CATEGORICAL = {"agrawal": ["elevel", "car", "zipcode"]}
SEA_CONCEPTS, AGRAWAL_CONCEPTS = (0, 2, 3), (0, 3, 6)
PROJECT = """[project]
name = "{name}"
task = "binary"

[data]
key = "id"
event_time = "at"
target = "y"
positive = 1
numeric = [{numeric}]
categorical = [{categorical}]

[data.inputs]
uri = "inputs.parquet"

[data.feedback]
uri = "feedback.parquet"
known_at = "known_at"
horizon = "{horizon}d"

[loop]
tick = "1d"
start = "2024-01-07"

[training]
candidates = ["xgboost"]
rounds = 60
threads = 1

[monitoring]
metric = "accuracy"
"""


def lay_out(folder: Path, generator: str, kind: str, seed: int, ticks: int, rows: int) -> Path:
    """Write one stream as a project: `HISTORY` ticks before the start and `ticks` after it, of `rows` rows each."""
    drawn = draw(generator, kind, seed, (HISTORY + ticks) * rows, HISTORY * rows)
    return _write(folder, f"{generator}-{kind}-{seed}", CATEGORICAL.get(generator, []), drawn, rows)


def lay_out_turning(
    folder: Path, generator: str, every: int, seed: int, ticks: int, rows: int, *, mixed: bool = True
) -> Path:
    """Write a stream that turns `every` so many ticks and whose labels come `LATE` ticks late, as a project."""
    drawn, name = draw_turning(generator, every, seed, ticks, rows, mixed=mixed), f"{generator}-turning-{every}-{seed}"
    return _write(folder, name, CATEGORICAL.get(generator, []), drawn, rows, late=LATE, horizon=LATE + 5)


def _write(
    folder: Path,
    name: str,
    named: list[str],
    drawn: Iterable[tuple[dict[Any, Any], Any]],
    rows: int,
    *,
    late: int = 0,
    horizon: int = 3,
) -> Path:
    """Write drawn rows as a project; labels of the history are known at once, others `late` ticks after their tick."""
    frame = pl.DataFrame([_flat(x, y) for x, y in drawn])
    count = frame.height
    day = np.repeat(np.arange(count // rows), rows)
    first = START - HISTORY * DAY
    step = DAY // rows
    at = [first + int(d) * DAY + (i % rows) * step for i, d in enumerate(day)]
    known = [t if d < HISTORY else first + (int(d) + 1 + late) * DAY for t, d in zip(at, day, strict=True)]
    times = pl.DataFrame({"id": range(count), "at": at, "known_at": known})
    features = [column for column in frame.columns if column != "y"]
    folder.mkdir(parents=True, exist_ok=True)
    texts = [pl.col(column).cast(pl.Int64).cast(pl.String) for column in named]
    inputs = times.select("id", "at").hstack(frame.select(features).with_columns(texts))
    inputs.write_parquet(folder / "inputs.parquet")
    times.select("id", "known_at").hstack(frame.select("y")).write_parquet(folder / "feedback.parquet")
    numeric = ", ".join(f'"{column}"' for column in features if column not in named)
    categorical = ", ".join(f'"{column}"' for column in named)
    project = PROJECT.format(name=name, numeric=numeric, categorical=categorical, horizon=horizon)
    (folder / "homeostat.toml").write_text(project, encoding="utf-8")
    return folder


def draw(generator: str, kind: str, seed: int, count: int, before: int) -> Iterator[tuple[dict[Any, Any], Any]]:
    """Draw `count` rows; the first `before` are of the first concept, whatever the kind."""
    concepts = [iter(each) for each in _concepts(generator, kind, seed)]
    chance = np.random.default_rng(seed)
    for i in range(count):
        share = max(i - before, 0) / (count - before)
        yield next(concepts[_concept(kind, share, chance.uniform())])


def draw_turning(
    generator: str, every: int, seed: int, ticks: int, rows: int, *, mixed: bool = True
) -> Iterator[tuple[dict[Any, Any], Any]]:
    """Draw rows of three concepts: after the history another one rules `every` so many ticks, which one is chance.

    Where `mixed`, each row of the history is of any of them by chance, else all are of the first.
    """
    concepts = [iter(each) for each in _concepts(generator, "abrupt", seed)]
    chance = np.random.default_rng(seed)
    for _ in range(HISTORY * rows):
        yield next(concepts[int(chance.integers(len(concepts))) if mixed else 0])
    ruling = 0
    for tick in range(ticks):
        if tick % every == 0:
            ruling = (ruling + int(chance.integers(1, len(concepts)))) % len(concepts)
        for _ in range(rows):
            yield next(concepts[ruling])


def _concept(kind: str, share: float, luck: float) -> int:
    """Which concept rules at a share of the time after the start."""
    if kind == "abrupt":
        return int(share * 3)
    if kind == "recurring":
        return int(share * 4) % 2
    if kind == "gradual":
        return int(luck < 1 / (1 + math.exp(-12 * (share - 0.5))))
    return 0


def _concepts(generator: str, kind: str, seed: int) -> list[Any]:
    """Three concepts of a generator; the hyperplane and the centres of gradual streams move all the time besides."""
    from river.datasets import synth

    moves = kind == "gradual"
    if generator == "sea":
        return [synth.SEA(variant=v, noise=0.1, seed=seed * 10 + v) for v in SEA_CONCEPTS]
    if generator == "agrawal":
        return [
            synth.Agrawal(classification_function=f, perturbation=0.05, seed=seed * 10 + f) for f in AGRAWAL_CONCEPTS
        ]
    if generator == "hyperplane":
        turning: dict[str, Any] = {"n_drift_features": 4 * moves, "mag_change": 0.001 * moves}
        return [synth.Hyperplane(seed * 10 + i, n_features=8, noise_percentage=0.1, **turning) for i in range(3)]
    moving = (
        {"n_drift_centroids": 15, "change_speed": 0.0005} if moves else {"n_drift_centroids": 0, "change_speed": 0.0}
    )
    return [
        synth.RandomRBFDrift(seed * 10 + i, seed * 10 + i + 5, n_classes=2, n_features=8, n_centroids=15, **moving)
        for i in range(3)
    ]


def _flat(x: dict[Any, Any], y: Any) -> dict[str, Any]:
    named = {name if isinstance(name, str) else f"x{name}": float(value) for name, value in x.items()}
    return named | {"y": int(y)}
