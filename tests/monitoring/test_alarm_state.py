"""What an alarm remembers: how alpha is shared, where a reference comes from, and that a state is a value."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.batch_test import gather
from homeostat.losses import LEAST_ROWS, MAX_SEGMENTS, describe_losses
from homeostat.monitoring.alarm.state import REFERENCE_ROWS, Stream, Watch, begin, doubt, rested_on, take, withdraw
from homeostat.sequential import upper_limit
from homeostat.store.facts import Fact

KEPT = Fact("alarm/1", Watch)

DAY = ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z")


def losses(rows: int, mean: float, seed: int = 0) -> np.ndarray:
    """So many losses of a mean from 0.05 to 0.9."""
    return np.random.default_rng(seed).uniform(mean - 0.05, mean + 0.05, rows)


def root(**segments: int) -> dict[str, Any]:
    """The reference loss of a model: a mean of 0.2, and of so many rows of each value of the column c."""
    values = [name for name, rows in segments.items() for _ in range(rows)] or ["all"] * 2000
    return describe_losses(losses(len(values), 0.2), {"c": values}, scale=1.0, zero_one=False)


def watch(loss: dict[str, Any] | None = None, columns: tuple[str, ...] = (), **settings: float) -> Watch:
    """A watch that has just begun."""
    given = {"alpha": 0.05, "tolerance": 0.01} | settings
    return begin(3, root() if loss is None else loss, columns=columns, at=DAY[0], **given)  # type: ignore[arg-type]


def fed(state: Watch, batch: np.ndarray, values: list[str] | None = None, **more: Any) -> Watch:
    """A watch after a batch, all of whose rows are of one segment unless `values` says otherwise."""
    members = {column: values or ["a"] * len(batch) for column in state.columns}
    return take(state, batch, members, start=DAY[0], end=DAY[1], **more)


def shares(state: Watch) -> dict[str, float]:
    return {stream.name: stream.share for stream in state.streams}


def test_without_segments_the_whole_has_all_of_alpha() -> None:
    assert shares(watch()) == {"": 1.0}
    assert watch().threshold(watch().streams[0]) == pytest.approx(math.log(40 * math.pi**2 / 6))


def test_with_segments_alpha_is_shared_the_largest_come_first_and_new_ones_last() -> None:
    state = watch(root(b=300, a=900, tiny=LEAST_ROWS - 1), ("c",))
    assert list(shares(state)) == ["", "c=a", "c=b"]
    after = fed(state, losses(3, 0.2), ["new", "tiny", "new"])
    assert list(shares(after)) == ["", "c=a", "c=b", "c=new", "c=tiny"]
    assert shares(after) | shares(state) == shares(after)
    assert shares(after)[""] == 0.5 and shares(after)["c=a"] == pytest.approx(3 / math.pi**2)


def test_however_many_segments_appear_their_shares_are_no_more_than_one() -> None:
    state = watch({}, ("c",))
    for day in range(3):
        values = [f"v{day * 40 + at}" for at in range(40)]
        state = fed(state, losses(40, 0.2), values)
    assert len(state.streams) == 1 + MAX_SEGMENTS
    assert 0.9 < sum(shares(state).values()) <= 1
    assert 0.5 + sum(3 / (math.pi * k) ** 2 for k in range(1, 10**6)) <= 1


def test_the_limit_counts_the_uncertainty_of_the_reference_and_the_tolerance() -> None:
    state = watch(root(a=1500, b=500), ("c",))
    whole, first = state.streams[0], state.streams[1]
    assert whole.e_process and first.e_process
    told = root(a=1500, b=500)
    assert whole.e_process.limit == upper_limit(told["profile"], 0.05 * 0.5 / 2) + 0.01
    assert first.e_process.limit == upper_limit(told["segments"]["c=a"], 0.05 * first.share / 2) + 0.01
    assert whole.reference_mean == pytest.approx(told["mean"]) and whole.reference_rows == pytest.approx(2000)


def test_a_segment_alone_may_become_worse_and_is_named() -> None:
    state = watch(root(a=4000, b=400), ("c",))
    mixed = np.concatenate([losses(4000, 0.18), losses(400, 0.3)])
    after = fed(state, mixed, ["a"] * 4000 + ["b"] * 400)
    assert {s.name: s.reached_at for s in after.streams} == {"": None, "c=a": None, "c=b": DAY[1]}


def test_without_a_holdout_the_first_labels_are_the_reference() -> None:
    state = watch({})
    state = fed(state, losses(REFERENCE_ROWS - 1, 0.3))
    state = fed(state, losses(50, 0.3))
    assert state.streams[0].e_process is None
    state = fed(state, losses(50, 0.3))
    (stream,) = state.streams
    assert stream.e_process and stream.e_process.rows == 0 and not stream.held_out
    assert stream.reference_rows == pytest.approx(REFERENCE_ROWS + 99)
    assert stream.reference_mean == pytest.approx(0.3, abs=0.01)
    for seed in range(4):
        state = fed(state, losses(900, 0.5, seed))
    assert state.streams[0].reached_at == DAY[1]


def test_predictions_without_scores_make_an_exact_reference_and_a_mixture_does_not() -> None:
    errors = (losses(REFERENCE_ROWS, 0.5) > 0.5).astype(float)
    pure, mixed = (
        fed(fed(fed(watch({}), errors[:9], zero_one=kind), errors[:9], zero_one=True), errors, zero_one=True)
        for kind in (True, False)
    )
    assert pure.streams[0].zero_one and not mixed.streams[0].zero_one


def test_a_row_without_a_label_is_left_out() -> None:
    batch = losses(200, 0.2)
    holes = np.insert(batch, [0, 50, 200], np.nan)
    values = ["x"] + ["a"] * 50 + ["x"] + ["a"] * 150 + ["x"]
    assert fed(watch(root(a=90), ("c",)), holes, values) == fed(watch(root(a=90), ("c",)), batch)
    assert fed(watch(), np.array([np.nan])).streams == watch().streams


def test_a_rise_is_dated_by_the_batch_it_began_in() -> None:
    batches = {"": dataclasses.asdict(gather(losses(2000, 0.2), np.arange(2000) % 10))}
    state = take(watch(root() | {"batches": batches}), losses(500, 0.2), {}, start="d0", end="d1")
    state = take(state, np.full(500, 0.2), {}, start="d1", end="d2")
    state = take(state, losses(500, 0.4), {}, start="d2", end="d3")
    state = take(state, losses(500, 0.4), {}, start="d3", end="d4")
    assert (state.streams[0].since_at, state.streams[0].reached_at, state.until) == ("d2", "d3", "d4")


@given(st.lists(st.floats(0, 1), max_size=50), st.booleans())
def test_a_state_survives_json(batch: list[float], founded: bool) -> None:
    state = fed(watch(root(a=90, b=80) if founded else {}, ("c",)), np.array(batch))
    assert KEPT.load(json.loads(json.dumps(KEPT.dump(state), allow_nan=False))) == state


def test_a_segment_with_a_small_share_needs_more_capital() -> None:
    state = watch()
    assert state.threshold(Stream("c=z", 0.01)) > state.threshold(state.streams[0])


def stormy(*means: float) -> Watch:
    """A watch whose reference has ten days, after days of such mean losses."""
    batches = {"": dataclasses.asdict(gather(losses(2000, 0.2), np.arange(2000) % 10))}
    state = watch(root() | {"batches": batches})
    for day, mean in enumerate(means):
        state = take(state, losses(500, mean, day), {}, start=f"d{day}", end=f"d{day + 1}")
    return state


def test_the_episodes_of_an_alarm_share_alpha() -> None:
    state = stormy()
    streams = [dataclasses.replace(state.streams[0], episode=k) for k in range(1, 2000)]
    spent = sum(math.exp(-state.threshold(stream)) for stream in streams)
    assert 0.99 * state.alpha / 2 < spent <= state.alpha / 2


@pytest.mark.parametrize("bad", [1, 2, 4])
def test_an_alarm_ends_when_health_is_back_and_speaks_again(bad: int) -> None:
    state = stormy(0.2, *[0.5] * bad, *[0.2] * 4)
    (stream,) = state.streams
    assert stream.reached_at is None and stream.episode == 2 and state.changes == 2
    assert stream.past is not None and (stream.past.since_at, stream.past.reached_at) == ("d1", "d2")
    again = stormy(0.2, *[0.5] * bad, *[0.2] * 4, 0.5, 0.5)
    assert again.streams[0].reached_at is not None and again.changes == 3


def test_an_alarm_does_not_end_while_it_is_still_worse() -> None:
    assert stormy(*[0.3] * 30).streams[0].reached_at == "d1"


def test_with_corrected_labels_an_alarm_is_withdrawn_and_else_it_stands() -> None:
    state = stormy(0.2, 0.5)
    span = rested_on(state.streams[0])
    assert span == ("d1", "d2")
    for mean, episode in ((0.5, 1), (0.2, 2)):
        again = take(doubt(state, state.streams[0]), losses(500, mean), {}, start="d1", end="d2")
        left = withdraw(state, again, "d9")
        assert left.streams[0].episode == episode and (left == state) == (episode == 1)


def test_what_an_earlier_release_kept_goes_on_and_learns_how_batches_differ() -> None:
    old = watch()
    kept = KEPT.dump(old)
    for name in ("reference", "others", "batches", "before", "back", "episode", "past", "changed"):
        del kept["streams"][0][name]
    state = KEPT.load(kept)
    for day in range(4):
        state = take(state, losses(300, 0.2, day), {}, start=f"d{day}", end=f"d{day + 1}")
    (stream,) = state.streams
    assert stream.batches is not None and stream.batches.knows and stream.reached_at is None
    assert take(state, losses(300, 0.6), {}, start="d4", end="d5").streams[0].peak > 0
