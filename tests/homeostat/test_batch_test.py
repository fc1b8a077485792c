"""The test of batches: of lives whose days differ few are alarmed about, and what became worse is found."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.batch_test import TILTS, BatchTest, Group, add_batch, at_level, gather, merge, play_normal, standing
from homeostat.sequential import NOTHING

BATCHES = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=1, max_size=6)


def grouped(batches: list[list[float]]) -> Group:
    return gather(np.concatenate(batches), np.repeat(np.arange(len(batches)), [len(batch) for batch in batches]))


@given(BATCHES)
def test_the_sums_are_those_of_an_analysis_of_variance(batches: list[list[float]]) -> None:
    group, losses = grouped(batches), np.concatenate(batches)
    assert (group.batches, group.rows, group.squares) == (len(batches), len(losses), sum(len(b) ** 2 for b in batches))
    assert group.mean == pytest.approx(losses.mean(), abs=1e-9)
    assert group.between + group.within == pytest.approx(((losses - losses.mean()) ** 2).sum(), abs=1e-9)


@given(BATCHES, BATCHES)
def test_sums_of_two_parts_are_the_sums_of_all(one: list[list[float]], other: list[list[float]]) -> None:
    together, whole = merge(grouped(one), grouped(other)), grouped([*one, *other])
    for name, value in dataclasses.asdict(whole).items():
        assert getattr(together, name) == pytest.approx(value, abs=1e-9), name


@given(BATCHES, st.floats(0.01, 1))
def test_losses_brought_to_a_level_differ_in_proportion(batches: list[list[float]], mean: float) -> None:
    group = grouped(batches)
    if group.mean > 1e-3:
        moved = at_level(group, mean)
        assert moved.mean == pytest.approx(mean)
        assert moved.between * group.mean**2 == pytest.approx(group.between * mean**2, abs=1e-9)


def test_while_little_is_known_of_how_batches_differ_it_learns_and_does_not_bet() -> None:
    test = BatchTest(add_batch(Group(), np.full(500, 0.1)), (), 0.01, 0.025)
    assert not test.knows and test.bet(np.full(200, 0.9)).log_e_value == pytest.approx(0)
    for mean in (0.1, 0.12, 0.11, 0.1):
        test = test.bet(mean + np.linspace(-0.05, 0.05, 200))
    assert test.knows and test.lived.batches == 4


def test_batches_that_may_be_the_beginning_of_a_change_do_not_say_what_is_usual() -> None:
    reference = grouped([[0.1, 0.12], [0.09, 0.13], [0.1, 0.1], [0.08, 0.12]] * 3)
    test = BatchTest(reference, (), 0.01, 0.025).bet(np.full(50, 0.1))
    assert (test.lived.batches, test.pending.batches) == (1, 0)
    changed = test.bet(np.full(50, 0.4)).bet(np.full(50, 0.4))
    assert (changed.lived.batches, changed.pending.batches) == (1, 2)


class Lives:
    """Many lives side by side, whose days differ by a normal effect."""

    def __init__(self, days: int, rows: int, spread: float, *, rare: bool = False, lives: int = 200) -> None:
        self.chance, self.rows, self.spread, self.rare = np.random.default_rng(7), rows, spread, rare
        self.lives, nothing = lives, np.zeros(lives)
        self.reference = Group(*[nothing] * 6)
        for _ in range(days):
            self.reference = self.added(self.reference, self.day(0.0))
        self.lived = self.pending = Group(*[nothing] * 6)

    def day(self, worse: float) -> np.ndarray:
        mean = np.clip(
            (0.05 if self.rare else 0.17) + worse + self.chance.normal(0, self.spread, self.lives), 0.01, 0.9
        )
        if self.rare:
            return (self.chance.random((self.rows, self.lives)) < mean) * 0.9
        return self.chance.beta(2, 2 * (1 - mean) / mean, (self.rows, self.lives))

    @staticmethod
    def added(group: Group, losses: np.ndarray) -> Group:
        return group.add(float(len(losses)), losses.mean(0), ((losses - losses.mean(0)) ** 2).sum(0))

    def alarmed(self, worse: float, ticks: int = 60, alpha: float = 0.05) -> float:
        growth, stakes = np.zeros((len(TILTS), self.lives)), np.full((len(TILTS), self.lives), NOTHING)
        peak = np.zeros(self.lives)
        for tick in range(ticks):
            losses = self.day(worse)
            normal, _ = standing(self.reference, [self.lived], 0.01, alpha / 2, float(self.rows), losses.mean(0))
            growth, stakes, log_e_value = play_normal(growth, stakes, tick, normal)
            peak = np.maximum(peak, log_e_value)
            self.lived = self.added(self.lived, losses)
        return float((peak >= math.log(2 / alpha)).mean())


@pytest.mark.parametrize(("days", "rows", "spread", "rare"), [
    (4, 200, 0.02, False), (20, 200, 0.02, False), (20, 200, 0.0, False), (6, 60, 0.05, False), (10, 200, 0.02, True),
])  # fmt: skip
def test_of_lives_whose_days_differ_and_are_no_worse_few_are_alarmed_about(
    days: int, rows: int, spread: float, rare: bool
) -> None:
    assert Lives(days, rows, spread, rare=rare).alarmed(0.0) <= 0.05


def test_what_is_worse_than_days_differ_is_found() -> None:
    assert Lives(20, 200, 0.02, lives=50).alarmed(0.1, ticks=15) >= 0.95
    assert Lives(20, 200, 0.0, lives=50).alarmed(0.05, ticks=15) >= 0.95
