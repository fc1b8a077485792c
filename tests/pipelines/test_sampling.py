"""Samples with known chances: each row comes as often as was said, and the same rows whenever it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.pipelines.labels.sampling import draw_sample, inclusion_probabilities, key_numbers, thin

UNSURE = st.lists(st.floats(0, 1), min_size=1, max_size=60)
DRAWS = 4000


def names(count: int) -> list[str]:
    return [f"row {i}" for i in range(count)]


@given(UNSURE, st.integers(1, 80))
def test_chances_add_up_to_what_is_wanted_and_none_is_under_half_the_uniform_one(
    values: list[float], wanted: int
) -> None:
    made = inclusion_probabilities(np.array(values), wanted)
    count = min(wanted, len(values))
    assert made.sum() == pytest.approx(count)
    assert made.min() >= count / len(values) / 2 * (1 - 1e-9) and made.max() <= 1 + 1e-12


@given(UNSURE, st.integers(1, 80))
def test_who_is_less_sure_is_never_sampled_more_seldom(values: list[float], wanted: int) -> None:
    order = np.argsort(values)
    assert (np.diff(inclusion_probabilities(np.array(values), wanted)[order]) >= -1e-12).all()


def test_half_is_uniform_and_half_follows_the_uncertainty() -> None:
    assert inclusion_probabilities(np.array([0.0, 0.1, 0.3, 0.4, 0.2]), 1) == pytest.approx([0.1, 0.15, 0.25, 0.3, 0.2])
    assert inclusion_probabilities(np.zeros(4), 1) == pytest.approx([0.25] * 4)
    assert inclusion_probabilities(None, 2, rows=8) == pytest.approx([0.25] * 8)


def test_what_is_not_known_counts_as_the_least_sure_and_what_is_above_1_goes_to_the_others() -> None:
    assert inclusion_probabilities(np.array([0.1, 0.2, np.nan]), 1) == pytest.approx(
        inclusion_probabilities(np.array([0.1, 0.2, 0.2]), 1)
    )
    made = inclusion_probabilities(np.array([100.0, 1.0, 1.0, 1.0]), 2)
    assert made == pytest.approx([1.0, 1 / 3, 1 / 3, 1 / 3])


def test_without_rows_to_count_or_with_less_than_no_uncertainty_there_are_no_chances() -> None:
    with pytest.raises(ValueError, match="how many rows"):
        inclusion_probabilities(None, 5)
    with pytest.raises(ValueError, match="negative"):
        inclusion_probabilities(np.array([0.1, -0.1]), 1)
    assert inclusion_probabilities(np.array([]), 3).tolist() == []
    assert inclusion_probabilities(np.array([0.2, 0.4]), 0).tolist() == [0.0, 0.0]


@given(UNSURE, st.integers(1, 80), st.text(max_size=5))
def test_exactly_as_many_rows_are_drawn_as_the_chances_add_up_to(values: list[float], wanted: int, salt: str) -> None:
    chances = inclusion_probabilities(np.array(values), wanted)
    drawn = draw_sample(chances, names(len(values)), salt)
    assert drawn.sum() == min(wanted, len(values))
    assert drawn[chances >= 1 - 1e-9].all()


@given(st.lists(st.floats(0, 1), max_size=40))
def test_chances_that_add_up_to_no_whole_number_give_the_nearest_one(values: list[float]) -> None:
    chances = np.array(values)
    drawn = draw_sample(chances, names(len(values)), "s")
    assert drawn.sum() == round(chances.sum()) and not drawn[chances == 0].any()


@given(st.permutations(range(30)), st.integers(1, 25))
def test_the_order_of_the_rows_is_of_no_matter(order: list[int], wanted: int) -> None:
    keys, unsure = np.array(names(30)), np.linspace(0, 1, 30)
    chances = inclusion_probabilities(unsure, wanted)
    drawn = draw_sample(chances, keys.tolist(), "week 1")
    again = draw_sample(chances[order], keys[order].tolist(), "week 1")
    assert (again == drawn[order]).all()


def test_another_salt_draws_other_rows_and_the_same_one_the_same() -> None:
    chances = inclusion_probabilities(None, 100, rows=1000)
    one, two, other = (draw_sample(chances, names(1000), salt) for salt in ("a", "a", "b"))
    assert (one == two).all() and 0 < (one & other).sum() < 40


def test_each_row_comes_as_often_as_was_said_and_weighted_means_are_unbiased() -> None:
    """Over many salts: rates within four standard errors, and so the Horvitz-Thompson mean of a skewed value."""
    keys, unsure = names(40), np.linspace(0, 1, 40) ** 3
    chances, value = inclusion_probabilities(unsure, 12), np.exp(3 * unsure)
    drawn = np.array([draw_sample(chances, keys, f"salt {i}") for i in range(DRAWS)])
    error = np.sqrt(chances * (1 - chances) / DRAWS)
    assert (np.abs(drawn.mean(axis=0) - chances) <= 4 * error + 1e-9).all()
    means = (drawn * value / chances).mean(axis=1)
    assert abs(means.mean() - value.mean()) < 4 * means.std() / np.sqrt(DRAWS)
    assert abs(np.mean([value[row].mean() for row in drawn]) - value.mean()) > 1


def test_what_is_left_after_thinning_is_a_uniform_sample() -> None:
    keys, unsure = names(40), np.linspace(0, 1, 40) ** 3
    chances, kept = inclusion_probabilities(unsure, 12), np.zeros((DRAWS, 40))
    for i in range(DRAWS):
        at = np.flatnonzero(draw_sample(chances, keys, f"salt {i}"))
        stays = thin(chances[at], [keys[j] for j in at], f"salt {i}", least=float(chances.min()))
        kept[i, at[stays]] = 1
    rate = chances.min()
    assert (np.abs(kept.mean(axis=0) - rate) <= 4 * np.sqrt(rate * (1 - rate) / DRAWS)).all()


@given(st.lists(st.floats(0.01, 1), max_size=30), st.text(max_size=3))
def test_thinning_keeps_whoever_has_the_lowest_chance(chances: list[float], salt: str) -> None:
    stays = thin(np.array(chances), names(len(chances)), salt)
    assert len(stays) == len(chances) and stays[np.array(chances) == min(chances, default=0)].all()


def test_numbers_of_keys_are_evenly_spread_and_depend_on_the_salt_and_on_nothing_else() -> None:
    made = key_numbers(names(20000), "s")
    counts = np.histogram(made, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45 and made.max() < 1
    assert abs(np.corrcoef(made, key_numbers(names(20000), "t"))[0, 1]) < 0.03
    assert key_numbers(["b", "c"], "a").tolist() != key_numbers(["c", "b"], "a").tolist()
    assert key_numbers(["bc"], "a") != key_numbers(["c"], "ab")
