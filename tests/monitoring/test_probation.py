"""Probation: harm is found where it is and seldom where it is not, and trust is earned where labels come late."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.monitoring.retraining.probation import LATE_TICKS, PROOF_BATCHES, Probation
from homeostat.store.facts import Fact

KEPT = Fact("probation/1", Probation)

ALPHA = 0.05
FRESH = Probation(1, "2020-01-07T00:00:00Z")


def live(seed: int, worse: float, *, batches: int = 40, rows: int = 100) -> Probation:
    """A life in which what was served loses so much more a row than the root version, as far as there is room."""
    draw = np.random.default_rng(seed)
    state = FRESH
    for batch in range(batches):
        differences = np.clip(draw.normal(worse, 0.3, rows), -1, 1)
        state = state.take(differences, None, f"batch {batch}")
    return state


def harmed(worse: float, lives: int) -> float:
    """The share of lives in which harm was said, at any look."""
    return float(np.mean([live(seed, worse).harm(ALPHA) is not None for seed in range(lives)]))


def test_what_is_clearly_worse_is_found_in_every_life() -> None:
    assert harmed(0.1, 20) == 1


@pytest.mark.parametrize("worse", [0.0, -0.05])
def test_what_is_no_worse_is_rolled_back_in_no_more_lives_than_alpha(worse: float) -> None:
    assert harmed(worse, 100) <= ALPHA


def test_harm_is_said_with_how_much_and_no_longer_once_better_days_have_made_up_for_it() -> None:
    state = live(0, 0.1)
    told = state.harm(ALPHA)
    assert told is not None and told.startswith(
        "since version 1, the root version, was replaced, what was served lost 0.09"
    )
    for _ in range(30):
        state = state.take(np.full(100, -0.1), None, "later")
    assert state.harm(ALPHA) is None


def test_a_bad_week_in_a_world_that_is_better_served_otherwise_is_no_harm() -> None:
    state = FRESH
    for batch in range(20):
        state = state.take(np.full(2000, 0.2 if batch == 8 else -0.03), None, "b")
        assert state.harm(ALPHA) is None
    assert state.e_process.peak > 100


def test_the_less_a_false_finding_is_wanted_the_more_must_be_seen() -> None:
    looks = []
    for alpha in (0.1, 0.01, 0.0001):
        state, batches = FRESH, 0
        while state.harm(alpha) is None:
            state, batches = state.take(np.full(20, 0.1), None, "b"), batches + 1
        looks.append(batches)
    assert looks == sorted(set(looks))


DIFFERENCES = st.lists(st.lists(st.floats(-1, 1), max_size=30), min_size=1, max_size=8)


@given(DIFFERENCES, st.randoms(use_true_random=False))
def test_the_order_of_rows_within_a_batch_does_not_matter(batches: list[list[float]], chance: object) -> None:
    one = other = FRESH
    for rows in batches:
        mixed = list(rows)
        chance.shuffle(mixed)  # type: ignore[attr-defined]
        one, other = one.take(np.array(rows), None, "b"), other.take(np.array(mixed), None, "b")
    assert one.e_process.log_e_value == pytest.approx(other.e_process.log_e_value, abs=1e-9)
    assert one.e_process.peak == pytest.approx(other.e_process.peak, abs=1e-9)
    assert (one.e_process.rows, one.e_process.batches) == (other.e_process.rows, other.e_process.batches)


@given(DIFFERENCES, st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), max_size=8), st.booleans())
def test_a_state_comes_back_from_json_bit_for_bit(
    batches: list[list[float]], gains: list[tuple[float, float]], wary: bool
) -> None:
    state = dataclasses.replace(FRESH, wary=wary)
    for at, rows in enumerate(batches):
        state = state.take(np.array(rows), gains[at] if at < len(gains) else None, f"batch {at}")
    again = KEPT.load(json.loads(json.dumps(KEPT.dump(state))))
    assert again == state
    more = np.full(10, 0.5)
    assert again.take(more, (0.1, 0.1), "next") == state.take(more, (0.1, 0.1), "next")


def proven(gains: list[tuple[float, float]], wary: bool = False) -> Probation:
    """A state after so many batches in shadow, each with its gains in loss and in errors."""
    state = dataclasses.replace(FRESH, wary=wary)
    for gain in gains:
        state = state.take(np.empty(0), gain, "b")
    return state


WELL = [(0.02 + 0.001 * (i % 3), 0.01 + 0.001 * (i % 2)) for i in range(PROOF_BATCHES)]
TABLE: dict[str, tuple[str | None, list[tuple[float, float]], int, bool]] = {
    "labels come soon": (None, [], LATE_TICKS - 1, False),
    "labels come soon, and it is worse": (None, [(-0.1, -0.1)] * 9, 0, False),
    "labels come late": ("where labels come 4 ticks late", [], LATE_TICKS, False),
    "late, and proven for less long": (f"{PROOF_BATCHES} of 9 batches", WELL, 9, False),
    "late, one batch short of proof": (f"{PROOF_BATCHES - 1} of {PROOF_BATCHES}", WELL[1:], PROOF_BATCHES, False),
    "late and proven": (None, WELL, PROOF_BATCHES, False),
    "late and worse": ("both must be 2 standard errors", [(-a, -b) for a, b in WELL], PROOF_BATCHES, False),
    "late, a lower loss and more errors": ("both must be", [(a, -b) for a, b in WELL], PROOF_BATCHES, False),
    "late, fewer errors and a higher loss": ("both must be", [(-a, b) for a, b in WELL], PROOF_BATCHES, False),
    "late, better now and worse then": ("both must be", [(0.1, 0.1), (-0.1, -0.1)] * 5, 9, False),
    "late, and errors as before": (None, [(a, 0.0) for a, _ in WELL], PROOF_BATCHES, False),
    "late, and nothing changed": ("both must be", [(0.0, 0.0)] * 9, 9, False),
    "after a rollback": ("after a rollback a version must prove itself", [], 0, True),
    "after a rollback, proven": (None, WELL, 0, True),
}  # fmt: skip


@pytest.mark.parametrize(("why", "gains", "late", "wary"), TABLE.values(), ids=TABLE)
def test_who_may_serve(why: str | None, gains: list[tuple[float, float]], late: int, wary: bool) -> None:
    told = proven(gains, wary).doubt(late)
    assert told is None if why is None else told is not None and why in told, told


def test_batches_of_one_spell_prove_less_than_as_many_that_are_unrelated() -> None:
    spell, mixed = [(0.05, 0.05)] * 8 + [(-0.01, -0.01)] * 8, [(0.05, 0.05), (-0.01, -0.01)] * 8
    assert proven(mixed).doubt(LATE_TICKS + 1) is None
    assert "both must be" in (proven(spell).doubt(LATE_TICKS + 1) or "")


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=100), st.integers(0, 40))
def test_a_state_stays_of_one_size_and_proof_takes_as_many_batches_as_labels_are_late(
    gains: list[tuple[float, float]], late: int
) -> None:
    state = proven(gains)
    assert state.gains == tuple(gains[-60:])
    if late >= LATE_TICKS and len(gains) < max(PROOF_BATCHES, late):
        assert f"{len(gains)} of {max(PROOF_BATCHES, late)} batches" in (state.doubt(late) or "")


def test_a_state_of_an_earlier_version_is_read() -> None:
    raw = KEPT.dump(FRESH) | {"count": 7, "means": [0.0, 0.0], "squares": [0.0, 0.0]}
    del raw["gains"]
    assert KEPT.load(raw) == FRESH
