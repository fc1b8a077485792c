"""Groups compared one by one: what a challenger saves in each, and how far apart it treats them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.flows.learning.rules import Groups, compare_scores
from homeostat.losses import LEAST_ROWS
from homeostat.project import Task
from homeostat.registry.comparison import Comparison
from homeostat.registry.segments import SegmentGain, compare_gaps, compare_groups, mean_and_error

SIZE = 2 * LEAST_ROWS


def binary(chance: list[float]) -> pl.DataFrame:
    """Scores of a binary model."""
    made = pl.DataFrame({"score": chance}).with_columns(
        prediction=pl.when(pl.col("score") > 0.5).then(pl.lit("1")).otherwise(pl.lit("0"))
    )
    return made.with_columns(classes=pl.lit(None, pl.List(pl.String)), scores=pl.lit(None, pl.List(pl.Float64)))


def compare(labels: list[str], before: list[float], after: list[float], groups: Groups, **more: Any) -> Comparison:
    told = {"champion": (1, binary(before)), "challenger": (2, binary(after)), "batches": ("b",), "positive": "1"}
    return compare_scores(Task.BINARY, pl.Series(labels), **{**told, **more}, groups=groups)


SEX = ["f"] * LEAST_ROWS + ["m"] * LEAST_ROWS
LABELS = ["1", "0"] * LEAST_ROWS


def test_a_group_that_gets_worse_is_told_apart_from_one_that_gets_better() -> None:
    sure = [0.9 if label == "1" else 0.1 for label in LABELS]
    unsure = [0.6 if label == "1" else 0.4 for label in LABELS]
    before = [*unsure[:LEAST_ROWS], *sure[LEAST_ROWS:]]
    after = [*sure[:LEAST_ROWS], *unsure[LEAST_ROWS:]]
    made = compare(LABELS, before, after, Groups({}, {"sex": SEX}, "accuracy"))
    f, m = made.segments
    assert (f.value, m.value, f.rows, m.rows, f.sensitive) == ("f", "m", LEAST_ROWS, LEAST_ROWS, True)
    assert f.gain == pytest.approx(np.log(0.9 / 0.6)) and m.gain == pytest.approx(-f.gain)
    assert (f.worse, m.worse) == (False, True)
    assert f.champion == f.challenger == 1.0


def test_a_group_of_few_rows_is_left_out() -> None:
    values = ["many"] * (SIZE - LEAST_ROWS + 1) + ["few"] * (LEAST_ROWS - 1)
    chance = [0.6] * SIZE
    made = compare(LABELS, chance, chance, Groups({"kind": values}, {}, "auc"))
    assert [each.value for each in made.segments] == ["many"] and made.fairness == ()


def test_gaps_are_those_of_selection_rates_and_true_positive_rates() -> None:
    # Of women 10 of 50 are selected by the challenger, of men 25; of those who are positive 10 of 25, and 25 of 25.
    f = [0.9 if at < 20 and label == "1" else 0.1 for at, label in enumerate(LABELS[:LEAST_ROWS])]
    m = [0.9 if label == "1" else 0.1 for label in LABELS[LEAST_ROWS:]]
    made = compare(LABELS, [0.9] * SIZE, f + m, Groups({}, {"sex": SEX}, "auc"))
    selection, opportunity = made.fairness
    assert (selection.measure, opportunity.measure) == ("selection_rate", "true_positive_rate")
    assert selection.champion == opportunity.champion == 0
    assert selection.challenger == pytest.approx(25 / 50 - 10 / 50)
    assert opportunity.challenger == pytest.approx(1 - 10 / 25)
    assert (selection.low, selection.high, selection.groups) == ("f", "m", ("f", "m"))


def test_a_regression_has_the_gap_of_its_mean_losses() -> None:
    losses = np.array([1.0] * LEAST_ROWS + [3.0] * LEAST_ROWS)
    scored = pl.DataFrame({"prediction": [0.0] * SIZE})
    told = {"before": scored, "after": scored, "positive": None}
    labels = pl.Series([0.0] * SIZE)
    (gap,) = compare_gaps(Task.REGRESSION, labels, losses=(losses, losses / 2), groups={"sex": SEX}, **told)
    assert (gap.measure, gap.champion, gap.challenger, gap.high) == ("mean_loss", 2.0, 1.0, "m")


def test_rows_count_for_as_many_as_they_stand_for() -> None:
    after = [0.9 if label == "1" else 0.1 for label in LABELS]
    after[0] = 0.01
    weights = np.ones(SIZE)
    weights[0] = 1000.0
    plain = compare(LABELS, [0.6] * SIZE, after, Groups({"sex": SEX}, {}, "accuracy"))
    heavy = compare(LABELS, [0.6] * SIZE, after, Groups({"sex": SEX}, {}, "accuracy"), weights=weights)
    assert heavy.segments[0].gain < plain.segments[0].gain and heavy.segments[1].gain == plain.segments[1].gain


def test_worse_is_by_more_than_two_standard_errors() -> None:
    assert not SegmentGain("c", "v", 99, None, None, -0.02, 0.01).worse
    assert SegmentGain("c", "v", 99, None, None, -0.0201, 0.01).worse
    assert not SegmentGain("c", "v", 99, None, None, 0.0, 0.0).worse


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
                min_size=1, max_size=400), st.randoms())  # fmt: skip
def test_the_groups_of_a_column_make_up_the_whole_and_do_not_depend_on_the_order_of_rows(
    rows: list[tuple[str, bool, float, float]], luck: Any
) -> None:
    def made(rows: list[tuple[str, bool, float, float]]) -> Comparison:
        labels = ["1" if row[1] else "0" for row in rows]
        groups = Groups({}, {"g": [row[0] for row in rows]}, "accuracy")
        return compare(labels, [row[2] for row in rows], [row[3] for row in rows], groups)

    found = made(rows)
    counted = {value: sum(row[0] == value for row in rows) for value in "abc"}
    assert {each.value: each.rows for each in found.segments} == {v: n for v, n in counted.items() if n >= LEAST_ROWS}
    if sum(each.rows for each in found.segments) == len(rows):
        assert sum(each.gain * each.rows for each in found.segments) / len(rows) == pytest.approx(found.gain)
    assert all(0 <= gap.champion <= 1 and 0 <= gap.challenger <= 1 for gap in found.fairness)
    shuffled = list(rows)
    luck.shuffle(shuffled)
    again = made(shuffled)
    assert [(s.value, s.rows, s.champion) for s in again.segments] == [
        (s.value, s.rows, s.champion) for s in found.segments
    ]
    assert [g.challenger for g in again.fairness] == pytest.approx([g.challenger for g in found.fairness])


@given(st.lists(st.floats(-4, 4), min_size=2, max_size=50))
def test_equal_weights_give_nearly_the_error_of_none(values: list[float]) -> None:
    made = np.array(values)
    plain, weighed = mean_and_error(made, None), mean_and_error(made, np.full(len(made), 3.0))
    assert weighed[0] == pytest.approx(plain[0], abs=1e-9)
    assert weighed[1] == pytest.approx(plain[1] * np.sqrt((len(made) - 1) / len(made)), abs=1e-9)


def test_the_sensitive_columns_come_before_others_where_there_are_too_many() -> None:
    many = {f"c{at}": ["x"] * SIZE for at in range(60)}
    saved, scored = np.zeros(SIZE), binary([0.6] * SIZE)
    told = {"before": scored, "after": scored, "positive": "1", "saved": saved, "metric": "accuracy"}
    groups = {**many, "sex": SEX}
    found = compare_groups(Task.BINARY, pl.Series(LABELS), groups=groups, sensitive=["sex"], **told)
    assert [each.column for each in found[:2]] == ["sex", "sex"] and len(found) == 50
