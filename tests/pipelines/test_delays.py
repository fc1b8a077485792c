"""How long labels take is estimated by class, from labels that have come, whatever has not come yet."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.pipelines.labels.delays import LabelDelays, estimate_delays
from homeostat.project import Project

HORIZON, ROWS_A_TICK, TICKS = 7, 300, 60


def project(task: str = "binary", **sections: object) -> Project:
    raw: dict[str, object] = {"folder": Path("p"), "project": {"name": "p", "task": task}}
    feedback = {"horizon": f"{HORIZON}d"}
    raw |= {"data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"], "feedback": feedback}}
    return Project.model_validate(raw | {"loop": {"tick": "1d", "start": datetime(2020, 1, 7, tzinfo=UTC)}} | sections)


def seen(
    labels: np.ndarray, delays: np.ndarray, ages: np.ndarray, task: str = "binary"
) -> tuple[LabelDelays, np.ndarray]:
    """What is estimated from the labels that have come by now, and which those are."""
    came = delays <= ages
    known = pl.Series(labels[came].tolist(), dtype=pl.String if labels.dtype.kind in "UO" else None)
    return estimate_delays(known, delays[came], ages[came], project(task)), came


def world(rate: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    chance = np.random.default_rng(seed)
    ages = np.repeat(np.arange(TICKS), ROWS_A_TICK)
    return np.where(chance.random(len(ages)) < rate, "yes", "no"), ages, chance


def test_labels_that_come_at_once_are_a_fair_sample_at_once() -> None:
    labels, ages, _ = world()
    delays, _ = seen(labels, np.zeros(len(ages), dtype=np.int64), ages)
    assert delays.settled_after == 0
    assert delays.are_fair_sample(age=0, labels=10, coverage=1.0)
    assert not delays.are_fair_sample(age=0, labels=10, coverage=0.2)
    assert (delays.chances(pl.Series(labels), ages) == 1).all()


def test_a_batch_waits_for_the_class_whose_labels_take_longest() -> None:
    labels, ages, _ = world()
    delays, _ = seen(labels, np.where(labels == "yes", 5, 1), ages)
    assert delays.settled_after == 5
    assert [delays.are_fair_sample(age=age, labels=90, coverage=0.9) for age in (1, 4, 5)] == [False, False, True]


def test_a_label_that_was_withdrawn_says_nothing_of_delays() -> None:
    labels, ages, _ = world()
    withdrawn = np.where(np.arange(len(labels)) % 50 == 0, None, labels)
    delays, _ = seen(withdrawn, np.zeros(len(ages), dtype=np.int64), ages)
    assert delays.settled_after == 0


def test_a_small_batch_of_quick_labels_does_not_count_before_the_slow_ones_of_others_have_come() -> None:
    labels, ages, _ = world()
    delays, _ = seen(labels, np.where(labels == "yes", 5, 1), ages)
    assert not delays.are_fair_sample(age=1, labels=3, coverage=1.0)


@pytest.mark.parametrize("mean", [{"yes": 4.0, "no": 0.0}, {"yes": 4.0, "no": 4.0}, {"yes": 1.0, "no": 3.0}])
@pytest.mark.parametrize("seed", range(5))
def test_what_has_come_stands_for_what_has_not(mean: dict[str, float], seed: int) -> None:
    labels, ages, chance = world(seed=seed)
    scale = np.where(labels == "yes", mean["yes"], mean["no"])
    delays, came = seen(labels, np.floor(chance.exponential(1, len(ages)) * scale).astype(np.int64), ages)
    assert 0 < delays.settled_after <= HORIZON
    old = ages >= delays.settled_after
    stands_for = 1 / delays.chances(pl.Series(labels[came & old]), ages[came & old])
    for name in ("yes", "no"):
        total = stands_for[labels[came & old] == name].sum()
        assert total == pytest.approx((labels[old] == name).sum(), rel=0.05)


def test_where_too_few_labels_of_a_class_are_seen_the_horizon_is_waited_for() -> None:
    labels, ages, _ = world(rate=0.0)
    labels[:5] = "yes"
    delays, _ = seen(labels, np.zeros(len(ages), dtype=np.int64), ages)
    assert delays.settled_after == HORIZON


def test_one_class_alone_says_nothing_of_the_other() -> None:
    labels, ages, _ = world(rate=0.0)
    delays, _ = seen(labels, np.zeros(len(ages), dtype=np.int64), ages)
    assert delays.settled_after == HORIZON


def test_after_the_horizon_every_batch_with_a_label_counts() -> None:
    labels, ages, _ = world()
    delays, _ = seen(labels, np.where(labels == "yes", 50, 1), ages)
    assert delays.settled_after == HORIZON
    assert delays.are_fair_sample(age=HORIZON, labels=1, coverage=0.01)
    assert not delays.are_fair_sample(age=HORIZON, labels=0, coverage=0.0)


def test_values_of_a_regression_that_come_later_are_told_apart() -> None:
    chance = np.random.default_rng(1)
    ages = np.repeat(np.arange(TICKS), ROWS_A_TICK)
    values = chance.normal(size=len(ages))
    delays, _ = seen(values, np.where(values > 1, 4, 0), ages, "regression")
    assert delays.settled_after in (0, 4)
    assert delays.chances(pl.Series([2.0]), np.array([1]))[0] < delays.chances(pl.Series([-2.0]), np.array([1]))[0]


@given(
    st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.integers(0, 9), st.integers(0, 30)), max_size=60),
    st.integers(0, 40),
)
def test_a_chance_is_one_and_never_falls_with_age(rows: list[tuple[str, int, int]], age: int) -> None:
    labels = pl.Series([row[0] for row in rows], dtype=pl.String)
    took = np.array([row[1] for row in rows], dtype=np.int64)
    ages = np.maximum(np.array([row[2] for row in rows], dtype=np.int64), took)
    delays = estimate_delays(labels, took, ages, project())
    asked = pl.Series(["yes", "no"])
    now, later = (delays.chances(asked, np.array([at, at])) for at in (age, age + 1))
    assert ((now > 0) & (now <= later) & (later <= 1)).all()
    assert 0 <= delays.settled_after <= HORIZON
