"""Learned facts: they name what was never seen, and survive a round trip through JSON."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from homeostat.pipelines.models.data_profile import compare_facts, learn_facts
from homeostat.project import Project

PROJECT = Project.model_validate(
    {
        "folder": Path(),
        "project": {"name": "p", "task": "binary"},
        "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"], "categorical": ["c"]},
        "loop": {"tick": "1d", "start": "2020-01-05"},
    }
)


def frame(x: list, c: list) -> pl.DataFrame:
    return pl.DataFrame({"x": x, "c": c}, schema={"x": pl.Float64, "c": pl.String})


def test_training_data_hold_nothing_new_to_themselves():
    rows = frame([1.0, 2.0, None, 4.0], ["a", "b", "a", None])
    assert compare_facts(learn_facts(rows, PROJECT), rows, PROJECT) == ()


def test_wider_ranges_new_categories_and_more_nulls_are_named_with_their_share():
    facts = json.loads(json.dumps(learn_facts(frame([1.0, 2.0] * 50, ["a", "b"] * 50), PROJECT)))
    found = compare_facts(facts, frame([0.0, 1.5, 2.0, 9.0, None] * 6, ["a", "z", None, "b", "a"] * 6), PROJECT)
    assert [(fact.column, fact.kind, fact.share) for fact in found] == [
        ("x", "range", 0.5),
        ("x", "null_rate", 0.2),
        ("c", "category", 0.25),
        ("c", "null_rate", 0.2),
    ]
    assert "'z'" in found[2].detail


def test_empty_and_all_null_columns_are_no_facts():
    facts = learn_facts(frame([None], [None]), PROJECT)
    assert compare_facts(facts, frame([3.0], [None]), PROJECT) == ()
    assert compare_facts(facts, frame([], []), PROJECT) == ()


@pytest.mark.parametrize(("rows", "told"), [(1, False), (2, False), (7, False), (9, True), (200, True)])
def test_a_column_that_lacks_some_values_has_not_gone_where_a_few_rows_happen_to_lack_them(rows, told):
    learned = learn_facts(frame([None, 1.0, 2.0] * 500, ["a"] * 1500), PROJECT)
    found = compare_facts(learned, frame([None] * rows, ["a"] * rows), PROJECT)
    assert [fact.kind for fact in found] == (["null_rate"] if told else [])


@pytest.mark.parametrize(("rows", "told"), [(1, False), (2, True)])
def test_a_column_that_was_always_there_has_gone_after_two_rows(rows, told):
    learned = learn_facts(frame([1.0, 2.0] * 500, ["a"] * 1000), PROJECT)
    assert bool(compare_facts(learned, frame([None] * rows, ["a"] * rows), PROJECT)) is told
