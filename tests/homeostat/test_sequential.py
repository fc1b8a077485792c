"""The e-process: what is a theorem about it is checked exactly, on every outcome of small games."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from homeostat.losses import profile
from homeostat.sequential import PATIENCE, SIZES, EProcess, play, upper_limit

LIMITS = st.floats(0.01, 0.99)
LOSSES = st.lists(st.floats(0, 1), max_size=60)


@st.composite
def fair_games(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """A limit, two losses around it, and the chance of the larger at which the mean is the limit."""
    limit = draw(LIMITS)
    low, high = draw(st.floats(0, limit)), draw(st.floats(limit, 1))
    return limit, low, high, 0.0 if high - low < 1e-9 else (limit - low) / (high - low)


@given(fair_games(), LOSSES, st.floats(0, 1))
def test_whatever_was_before_the_expected_capital_after_a_row_is_not_larger(
    game: tuple[float, float, float, float], past: list[float], harm: float
) -> None:
    limit, low, high, chance = game
    e_process = EProcess(limit).bet(np.array(past))

    def expected(chance: float) -> float:
        after = [math.exp(e_process.bet(np.array([x])).log_e_value - e_process.log_e_value) for x in (low, high)]
        return (1 - chance) * after[0] + chance * after[1]

    assert expected(chance * (1 - harm)) <= 1 + 1e-9
    if high - low > 1e-9:
        assert expected(chance) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("limit", "low", "high"), [(0.1, 0, 1), (0.5, 0.25, 1), (0.9, 0, 1)])
def test_over_all_outcomes_of_a_fair_game_the_capital_is_one_and_seldom_large(
    limit: float, low: float, high: float
) -> None:
    chance, rows = (limit - low) / (high - low), 12
    weights, ends = [], []
    for outcome in itertools.product([low, high], repeat=rows):
        ups = outcome.count(high)
        weights.append(chance**ups * (1 - chance) ** (rows - ups))
        e_process = EProcess(limit)
        for batch in np.split(np.array(outcome), [1, 2, 5, 6, 10]):
            e_process = e_process.bet(batch)
        ends.append(e_process)
    assert math.fsum(w * math.exp(end.log_e_value) for w, end in zip(weights, ends, strict=True)) == pytest.approx(1)
    for wanted in (1.001, 1.1, 1.5, 2, 10):
        share = math.fsum(w for w, end in zip(weights, ends, strict=True) if end.peak >= math.log(wanted))
        assert share <= 1 / wanted


def test_a_batch_is_no_worse_where_good_rows_make_up_for_bad_ones() -> None:
    chances, limit = [0.05, 0.35, 0.1, 0.3], 0.2
    e_process = EProcess(limit).bet(np.array([1.0, 0.0, 0.0]))
    outcomes = list(itertools.product([0, 1], repeat=4))
    weights = [math.prod(c if x else 1 - c for c, x in zip(chances, o, strict=True)) for o in outcomes]
    ends = [math.exp(e_process.bet(np.array(o, dtype=float)).log_e_value - e_process.log_e_value) for o in outcomes]
    assert math.fsum(weights) == pytest.approx(1)
    assert math.fsum(w * end for w, end in zip(weights, ends, strict=True)) < 1


@given(LIMITS, LOSSES, LOSSES, st.randoms())
def test_the_order_of_a_batch_does_not_matter(
    limit: float, past: list[float], losses: list[float], chance: Any
) -> None:
    e_process = EProcess(limit).bet(np.array(past))
    shuffled = list(losses)
    chance.shuffle(shuffled)
    one, other = (dataclasses.asdict(e_process.bet(np.array(batch))) for batch in (losses, shuffled))
    for name, value in one.items():
        assert other[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


@given(LIMITS, st.lists(LOSSES, max_size=6), st.integers(0, 6))
def test_stopped_and_taken_up_again_the_state_is_the_same_to_the_bit(
    limit: float, batches: list[list[float]], stop: int
) -> None:
    e_process = whole = EProcess(limit)
    for place, batch in enumerate(batches):
        whole = whole.bet(np.array(batch))
        if place == stop:
            e_process = restored(e_process)
        e_process = e_process.bet(np.array(batch))
    assert e_process == whole


def restored(e_process: EProcess) -> EProcess:
    """An e-process that went through JSON."""
    raw = json.loads(json.dumps(dataclasses.asdict(e_process), allow_nan=False))
    return EProcess(**{name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()})


@given(LIMITS, LOSSES, st.integers(0, 4))
def test_a_bet_put_down_late_is_worth_what_came_after_it(limit: float, losses: list[float], late: int) -> None:
    """The e-value, summed from its definition: over sizes of bets and beginnings, and the cash."""
    batches = np.array_split(np.array([*losses, 0.0]), 5 - late)
    batches = [batch for batch in batches if len(batch)]
    e_process = EProcess(limit)
    for batch in batches:
        e_process = e_process.bet(batch)
    shares = [PATIENCE / ((k + PATIENCE) * (k + PATIENCE + 1)) for k in range(len(batches))]
    log_e_value = 1 - sum(shares)
    for size in SIZES:
        gains = [np.prod(1 + size / limit * (batch - limit)) for batch in batches]
        log_e_value += sum(share * np.prod(gains[k:]) for k, share in enumerate(shares)) / len(SIZES)
    assert math.exp(e_process.log_e_value) == pytest.approx(log_e_value)


@given(LIMITS, LOSSES)
def test_a_state_survives_json(limit: float, losses: list[float]) -> None:
    assert restored(EProcess(limit).bet(np.array(losses))) == EProcess(limit).bet(np.array(losses))


def test_the_state_does_not_grow() -> None:
    e_process = EProcess(0.2)
    for batch in np.random.default_rng(0).random((200, 500)):
        e_process = e_process.bet(batch)
    assert e_process.rows == 100_000
    assert len(json.dumps(dataclasses.asdict(e_process))) < 800


@given(LIMITS, st.integers(0, 10_000))
def test_lives_side_by_side_are_lives_one_by_one(limit: float, seed: int) -> None:
    losses = np.random.default_rng(seed).random((30, 3))
    start = np.zeros((len(SIZES), 3)), np.full((len(SIZES), 3), -1e300)
    _, _, log_e_value = play(*start, 0, losses, np.full(3, limit))
    for life in range(3):
        assert EProcess(limit).bet(losses[:, life]).log_e_value == pytest.approx(log_e_value[life])


@pytest.mark.parametrize("loss", [-0.1, 1.1, math.nan])
def test_a_loss_that_is_not_bounded_is_refused(loss: float) -> None:
    with pytest.raises(ValueError, match="outside of 0 to 1"):
        EProcess(0.5).bet(np.array([loss]))


def test_it_knows_the_means_and_where_the_loss_rose() -> None:
    e_process = EProcess(0.2)
    for loss, rows in ((0.1, 200), (0.1, 100), (0.5, 40), (0.5, 60)):
        e_process = e_process.bet(np.full(rows, loss))
    assert e_process.since == 300
    assert e_process.mean == pytest.approx(0.2) and e_process.mean_since == pytest.approx(0.5)
    assert EProcess(0.2).mean is None and EProcess(0.2).mean_since is None


@given(st.integers(1, 40), st.floats(0.01, 0.99), st.sampled_from([0.005, 0.025, 0.2]))
def test_the_exact_limit_lies_too_low_as_seldom_as_promised(rows: int, mean: float, level: float) -> None:
    missed = [k for k in range(rows + 1) if upper_limit(profile([1.0] * k + [0.0] * (rows - k)), level, True) < mean]
    assert math.fsum(binom.pmf(missed, rows, mean)) <= level + 1e-12


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 200),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.001, 0.999),
    st.sampled_from([0.005, 0.025, 0.2]),
)
def test_the_betting_limit_lies_too_low_as_seldom_as_promised(
    rows: int, low: float, high: float, chance: float, level: float
) -> None:
    mean = low + chance * (high - low)
    missed = []
    for k in range(rows + 1):
        counts = k * np.array(profile([high])) + (rows - k) * np.array(profile([low]))
        if upper_limit(counts, level) < mean - 1e-9:
            missed.append(k)
    assert math.fsum(binom.pmf(missed, rows, chance)) <= level + 1e-12


def test_the_limit_adapts_to_the_spread_and_the_size_of_the_sample() -> None:
    chance = np.random.default_rng(0)
    narrow, wide = chance.uniform(0.1, 0.3, 20_000), (chance.random(20_000) < 0.2).astype(float)
    limits = [upper_limit(profile(sample), 0.025) for sample in (narrow, wide, narrow[:500])]
    assert 0.2 < limits[0] < 0.203 < limits[1] < 0.211 and 0.205 < limits[2] < 0.22
    assert upper_limit(profile(wide), 0.025, True) < limits[1]
    assert upper_limit([0.0] * 33, 0.025) == 1.0 == upper_limit(profile([1.0] * 9), 0.025, True)


def run_lives(mean: float, change: float, lives: int, ticks: int) -> float:
    """The share of lives with an alarm at alpha 0.05, against a reference of 2,000 rows whose error was 0.1."""
    chance, alpha = np.random.default_rng(1), 0.05
    reference = chance.binomial(2000, 0.1, lives)
    limit = np.array([upper_limit([2000 - k] + [0] * 31 + [k], alpha / 2, True) for k in reference])
    growth, stakes = np.zeros((len(SIZES), lives)), np.full((len(SIZES), lives), -1e300)
    reached = np.zeros(lives, bool)
    for tick in range(ticks):
        losses = (chance.random((200, lives)) < (mean if tick < ticks // 2 else change)).astype(float)
        growth, stakes, log_e_value = play(growth, stakes, tick, losses, limit)
        reached |= log_e_value >= math.log(2 / alpha)
    return float(reached.mean())


def test_of_many_lives_that_are_no_worse_few_are_ever_alarmed_about() -> None:
    assert run_lives(0.1, 0.1, lives=400, ticks=40) <= 0.05


def test_of_many_lives_that_become_worse_most_are_alarmed_about() -> None:
    assert run_lives(0.1, 0.16, lives=100, ticks=40) >= 0.9
