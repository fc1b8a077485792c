"""Labeling functions: who is right more often weighs more, and who abstains says nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.pipelines.labels.labelers import measure_labelers, vote, wilson_interval

VOTES = st.lists(st.tuples(*[st.sampled_from(["a", "b", "c", None])] * 3).map(list), min_size=1, max_size=12)


def ballots(rows: list[list[str | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(("f", "g", "h"), pl.String), orient="row")


@given(VOTES)
def test_who_all_abstain_gives_no_label_and_who_all_agree_gives_theirs(rows: list[list[str | None]]) -> None:
    made = vote(ballots(rows), None)
    for row, label, confidence in zip(rows, made["label"], made["confidence"], strict=True):
        said = [value for value in row if value is not None]
        assert (label is None) is (confidence is None) is (not said)
        if said:
            assert label in said and 0 < confidence <= 1
            assert said.count(label) == max(map(said.count, said))
        if len(set(said)) == 1:
            assert label == said[0]


@given(VOTES, st.floats(0.6, 0.95))
def test_one_vote_more_for_a_label_makes_it_surer(rows: list[list[str | None]], accuracy: float) -> None:
    accuracies = dict.fromkeys(("f", "g", "h", "new"), accuracy)
    before = vote(ballots(rows), accuracies, classes=["a", "b", "c"])
    after = vote(ballots(rows).with_columns(new=before["label"]), accuracies, classes=["a", "b", "c"])
    told = before["label"].is_not_null()
    assert (after["label"].filter(told) == before["label"].filter(told)).all()
    assert (after["confidence"].filter(told) > before["confidence"].filter(told) - 1e-12).all()


def test_the_confidence_is_that_of_naive_bayes() -> None:
    made = vote(ballots([["a", "b", None], ["a", "b", "b"]]), {"f": 0.9, "g": 0.6, "h": 0.6})
    assert made["label"].to_list() == ["a", "a"]
    assert made["confidence"][0] == pytest.approx(9 / (9 + 1.5)) and made["confidence"][1] == pytest.approx(
        9 / (9 + 1.5**2)
    )


def test_who_is_no_better_than_chance_says_nothing() -> None:
    made = vote(ballots([["a", "b", "b"]]), {"f": 0.6, "g": 0.5, "h": 0.2})
    assert made.row(0) == ("a", pytest.approx(0.6))


def test_weighted_votes_are_right_more_often_than_the_majority_and_as_sure_as_they_are_right() -> None:
    draw, count = np.random.default_rng(0), 4000
    truth = draw.choice(["a", "b"], count)
    other = np.where(truth == "a", "b", "a")
    known = {"f": 0.95, "g": 0.6, "h": 0.6}
    columns = {}
    for name, accuracy in known.items():
        said = np.where(draw.random(count) < accuracy, truth, other).astype(object)
        said[draw.random(count) < 0.2] = None
        columns[name] = pl.Series(said.tolist(), dtype=pl.String)
    votes = pl.DataFrame(columns)
    share = {}
    for way, accuracies in (("weighted", known), ("majority", None)):
        made = vote(votes, accuracies)
        told = made["label"].is_not_null().to_numpy()
        share[way] = np.mean(made["label"].to_numpy()[told] == truth[told])
        if way == "weighted":
            assert made["confidence"].mean() == pytest.approx(share[way], abs=0.02)
    assert share["weighted"] > share["majority"] + 0.05
    measured = measure_labelers(votes, pl.Series(truth))
    assert measured["accuracy"].to_list() == pytest.approx([0.95, 0.6, 0.6], abs=0.03)
    assert measured["coverage"].to_list() == pytest.approx([0.8] * 3, abs=0.03)


def test_accuracy_counts_only_rows_that_people_labelled() -> None:
    votes = ballots([["a", "a", None], ["a", "b", None], ["b", "b", None], ["b", None, None]])
    made = measure_labelers(votes, pl.Series(["a", "a", None, "a"], dtype=pl.String))
    assert made.select("labeler", "votes", "coverage", "checked").rows() == [
        ("f", 4, 1.0, 3), ("g", 3, 0.75, 2), ("h", 0, 0.0, 0),
    ]  # fmt: skip
    assert made["accuracy"].to_list() == [pytest.approx(2 / 3), 0.5, None]
    assert made["low"][2] is None and made["high"][2] is None
    assert (
        vote(votes.clear(), None).height == 0 and measure_labelers(votes.clear(), pl.Series([], dtype=pl.String)).height
    )


@given(st.integers(1, 400), st.floats(0, 1))
def test_wilsons_interval_holds_the_share_and_narrows_with_more_rows(count: int, share: float) -> None:
    low, high = wilson_interval(share, count)
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1
    wider = wilson_interval(share, 4 * count)
    assert wider[1] - wider[0] < high - low


def test_rows_that_were_sampled_more_often_count_less() -> None:
    votes = ballots([["a", None, None]] * 10)
    truth = pl.Series(["a"] * 5 + ["b"] * 5)
    even, uneven = (measure_labelers(votes, truth, weights=np.array([w] * 5 + [1.0] * 5)) for w in (1.0, 9.0))
    assert even["accuracy"][0] == 0.5 and uneven["accuracy"][0] == pytest.approx(0.9)
    assert even["low"][0] == measure_labelers(votes, truth)["low"][0]
    assert uneven["high"][0] - uneven["low"][0] > sum([-1, 1] * np.array(wilson_interval(0.9, 10)))
