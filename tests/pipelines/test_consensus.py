"""One label from several answers: better than the majority's, and there whatever little was answered."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.pipelines.labels.consensus import Consensus, settle_answers, settle_numbers
from homeostat.pipelines.labels.dawid_skene import weigh_answers

CLASSES = ["a", "b", "c", "d"]
WAYS = ["crowdlab", "likelihood", "alone"]
ANSWERS = st.lists(
    st.tuples(st.sampled_from("12345678"), st.sampled_from(["ann", "bob", "eve"]), st.sampled_from("abcdz")),
    min_size=1,
    max_size=40,
)


def crowd(rows: int = 600, accuracies: tuple[float, ...] = (0.95, 0.8, 0.6), seed: int = 0) -> tuple[Any, ...]:
    """Answers of annotators of these accuracies, the truth, and the chances of a model that is right in 9 of 10."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 4, rows)
    told = [[(t + (draw.integers(1, 4) if draw.random() > p else 0)) % 4 for t in truth] for p in accuracies]
    frame = pl.DataFrame(
        [(f"i{i}", f"p{a}", CLASSES[label]) for a, row in enumerate(told) for i, label in enumerate(row)],
        schema=["item", "annotator", "label"],
        orient="row",
    )
    raw = np.exp(draw.normal(size=(rows, 4)) * 2.3 + 5.3 * np.eye(4)[truth])
    chances = raw / raw.sum(axis=1, keepdims=True)
    return frame, truth, chances, [f"i{i}" for i in range(rows)], np.array(told)


def right(made: list[Consensus], truth: np.ndarray) -> float:
    return float(np.mean([each.label == CLASSES[t] for each, t in zip(made, truth, strict=True)]))


def settled(
    frame: pl.DataFrame, chances: np.ndarray, items: list[str], way: str
) -> tuple[list[Consensus], pl.DataFrame]:
    """Settle by a method, or without the model."""
    if way == "alone":
        return settle_answers(frame, CLASSES, None, items)
    return settle_answers(frame, CLASSES, chances, items, method=cast(Any, way))


@pytest.mark.parametrize("way", WAYS)
def test_consensus_is_right_more_often_than_the_majority_and_annotators_are_ranked_rightly(way: str) -> None:
    frame, truth, chances, items, told = crowd()
    made, board = settled(frame, chances, items, way)
    majority = np.mean([np.bincount(row, minlength=4).argmax() for row in told.T] == truth)
    assert right(made, truth) > majority + {"crowdlab": 0.03, "likelihood": 0.05, "alone": 0.02}[way]
    assert board["annotator"].to_list() == ["p0", "p1", "p2"] and board["rank"].to_list() == [1, 2, 3]
    assert board["answers"].to_list() == [600] * 3
    quality = board["quality"].to_list()
    assert quality == sorted(quality, reverse=True) and quality[0] - quality[2] > 0.15


@pytest.mark.parametrize("way", WAYS)
def test_quality_is_lower_where_the_consensus_is_wrong(way: str) -> None:
    frame, truth, chances, items, _ = crowd(accuracies=(0.8, 0.7, 0.6))
    made, _ = settled(frame, chances, items, way)
    wrong = np.array([each.label != CLASSES[t] for each, t in zip(made, truth, strict=True)])
    quality = np.array([each.quality for each in made])
    assert wrong.sum() > 10 and quality[~wrong].mean() - quality[wrong].mean() > 0.1


def test_the_em_finds_the_accuracies() -> None:
    told = crowd(3000)[4]
    chances, accuracies = weigh_answers(told.T, 4)
    assert accuracies == pytest.approx([0.95, 0.8, 0.6], abs=0.03)
    assert chances.sum(axis=1) == pytest.approx(np.ones(3000))


@given(ANSWERS, st.sampled_from(WAYS), st.booleans())
def test_whatever_little_was_answered_each_item_gets_one_consensus(
    given_answers: list[tuple[str, str, str]], way: str, one_class: bool
) -> None:
    frame = pl.DataFrame(given_answers, schema=["item", "annotator", "label"], orient="row")
    frame = frame.with_columns(label=pl.lit("a")) if one_class else frame
    items = sorted(set(frame["item"]), reverse=True)
    made, board = settled(frame, np.random.default_rng(0).dirichlet(np.ones(4), len(items)), items, way)
    last = frame.unique(["item", "annotator"], keep="last")
    for item, each in zip(items, made, strict=True):
        own = last.filter(pl.col("item") == item)
        assert set(each.annotators) == set(own["annotator"])
        assert 0 <= each.quality <= 1 and each.agreement == pytest.approx((own["label"] == each.label).mean())
        if own["label"].n_unique() == 1 and way == "alone":
            assert each.label == own["label"][0]
    assert board["answers"].sum() == last.height and board["rank"].to_list() == list(range(1, board.height + 1))
    assert board.select("agreement", "quality").to_numpy().min() >= 0
    assert board.select("agreement", "quality").to_numpy().max() <= 1


@given(st.permutations(range(60)))
def test_the_order_of_answers_and_items_is_of_no_matter(order: list[int]) -> None:
    frame, _, _, items, _ = crowd(20)
    first = dict(zip(items, settle_answers(frame, CLASSES, None, items)[0], strict=True))
    made, board = settle_answers(frame[order], CLASSES, None, items[::-1])
    for item, each in zip(items[::-1], made, strict=True):
        assert (each.label, each.quality) == (first[item].label, pytest.approx(first[item].quality))
    assert board["annotator"].to_list() == settle_answers(frame, CLASSES, None, items)[1]["annotator"].to_list()


def test_one_annotator_is_believed_and_the_model_only_rates_what_it_says() -> None:
    frame = pl.DataFrame({"item": ["1", "2"], "annotator": ["ann"] * 2, "label": ["a", "b"]})
    chances = np.array([[0.97, 0.01, 0.01, 0.01], [0.97, 0.01, 0.01, 0.01]])
    made, board = settle_answers(frame, CLASSES, chances, ["1", "2"])
    assert [each.label for each in made] == ["a", "b"] and made[0].quality > made[1].quality + 0.3
    assert board["annotator"].to_list() == ["ann"] and board["agreement"].to_list() == [1.0]


def test_the_last_answer_of_a_person_counts_and_no_label_is_no_answer() -> None:
    frame = pl.DataFrame(
        {"item": ["1"] * 4, "annotator": ["ann", "bob", "ann", "bob"], "label": ["a", "b", "b", None]},
        schema_overrides={"label": pl.String},
    )
    made, _ = settle_answers(frame, CLASSES, None, ["1"])
    assert (made[0].label, made[0].agreement) == ("b", 1.0)
    empty = pl.DataFrame(schema={"item": pl.String, "annotator": pl.String, "label": pl.String})
    with pytest.raises(ValueError, match="1 items have no answer, such as '2'"):
        settle_answers(frame, CLASSES, None, ["1", "2"])
    assert settle_answers(empty, CLASSES, None, [])[0] == []


def test_chances_of_another_shape_are_refused() -> None:
    frame, _, chances, items, _ = crowd(30)
    with pytest.raises(ValueError, match="shape"):
        settle_answers(frame, CLASSES, chances[:, :3], items)


def test_a_label_that_no_class_stands_for_can_still_be_the_consensus() -> None:
    frame, _, chances, items, _ = crowd(100)
    odd = frame.with_columns(label=pl.when(pl.col("item") == "i7").then(pl.lit("odd")).otherwise("label"))
    for way in ("likelihood", "alone"):
        made, _ = settled(odd, chances, items, way)
        assert made[7].label == "odd" and made[7].agreement == 1.0
    assert len(settle_answers(odd, CLASSES, chances, items)[0]) == 100


@pytest.mark.parametrize("power", [0.3, 3.0])
def test_a_model_that_is_far_too_timid_or_too_bold_is_set_right_by_the_answers(power: float) -> None:
    frame, truth, chances, items, _ = crowd(1500)
    bent = chances**power / (chances**power).sum(axis=1, keepdims=True)
    plain, other = (settled(frame, each, items, "likelihood")[0] for each in (chances, bent))
    quality = np.array([each.quality for each in other])
    assert abs(right(plain, truth) - right(other, truth)) < 0.01
    assert quality.mean() == pytest.approx(right(other, truth), abs=0.015)


def test_numbers_settle_at_the_median_and_who_is_far_from_it_ranks_last() -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(10, 5, 80)
    noise = {"ann": 0.1, "bob": 0.5, "eve": 5.0}
    rows = [(f"i{i:02d}", name, str(t + draw.normal() * s)) for name, s in noise.items() for i, t in enumerate(truth)]
    made, board = settle_numbers(pl.DataFrame(rows, schema=["item", "annotator", "label"], orient="row"))
    assert np.mean(np.abs(np.array([float(each.label) for each in made]) - truth)) < 0.5
    assert board["annotator"].to_list() == ["ann", "bob", "eve"] and board["agreement"][2] < 0.5
    assert all(each.spread is not None and 0 < each.quality < 1 for each in made)


def test_equal_numbers_are_sure_and_text_that_is_none_is_no_answer() -> None:
    frame = pl.DataFrame({"item": ["1", "1", "1"], "annotator": ["a", "b", "c"], "label": ["2", "2.0", "?"]})
    made, board = settle_numbers(frame, ["1"])
    assert made == [Consensus("2.0", 1.0, 1.0, ("a", "b"), 0.0)] and board.height == 2
