"""Validation: each stated rule takes out exactly the rows that break it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from homeostat.pipelines.data.validation import (
    QUARANTINE_SCHEMA,
    canonical_label,
    decide_validation,
    validate_feedback,
    validate_inputs,
)
from homeostat.project import Project, Task

T0 = datetime(2020, 1, 1, tzinfo=UTC)
NOW = datetime(2020, 2, 1, tzinfo=UTC)
AT = pl.Datetime("us", "UTC")


def project_with(task: str = "binary", rules: dict | None = None, **data) -> Project:
    stated = {"key": "id", "event_time": "at", "timezone": "UTC", "target": "y", "numeric": ["x"], "categorical": ["c"]}
    return Project.model_validate(
        {
            "folder": Path(),
            "project": {"name": "p", "task": task},
            "data": {**stated, "rules": rules or {}, **data},
            "loop": {"tick": "1d", "start": "2020-01-05"},
        }
    )


def source(**columns) -> pl.DataFrame:
    count = len(next(iter(columns.values())))
    at = pl.Series("event_at", [T0 + timedelta(days=i) for i in range(count)], AT)
    base = {"id": range(count), "event_at": at, "available_at": at, "x": [1.0] * count, "c": ["a"] * count}
    return pl.DataFrame({**base, **columns}, strict=False)


def rules_of(frame: pl.DataFrame, project: Project | None = None) -> list[tuple[str, str]]:
    rejected = validate_inputs(frame, project or project_with(), None, NOW).rejected
    return list(zip(rejected["key"], rejected["rule"], strict=True))


def test_sound_rows_come_out_canonical():
    frame = source(x=[1, 2], c=[3.0, None])
    made = validate_inputs(frame, project_with(segments=["s"], keep=["k"]), None, NOW)
    assert made.rejected.is_empty() and made.rejected.schema == pl.Schema(QUARANTINE_SCHEMA)
    assert made.accepted.schema == {
        "id": pl.Int64, "event_at": AT, "known_at": AT, "x": pl.Float64, "c": pl.String, "k": pl.String, "s": pl.String,
    }  # fmt: skip
    assert made.accepted["c"].to_list() == ["3", None]
    assert made.accepted["known_at"].to_list() == [NOW, NOW]


@pytest.mark.parametrize(
    ("values", "canonical"),
    [
        ([1, None], ["1", None]),
        ([1.0, 2.5], ["1", "2.5"]),
        ([float("nan"), -0.0], [None, "0"]),
        ([True, False], ["true", "false"]),
        (["007", ""], ["007", ""]),
    ],
)
def test_categories_have_one_form(values, canonical):
    assert validate_inputs(source(c=values), project_with(), None, NOW).accepted["c"].to_list() == canonical


def test_keys_that_are_missing_or_of_another_type_are_rejected():
    assert rules_of(source(id=[1, None])) == [(None, "key")]
    made = validate_inputs(source(id=["1", "A7", "02"]), project_with(), pl.Int64(), NOW)
    assert made.accepted["id"].to_list() == [1]
    assert made.rejected["rule"].to_list() == ["key", "key"]
    assert validate_inputs(source(id=[1, 2]), project_with(), pl.String(), NOW).accepted["id"].to_list() == ["1", "2"]
    big = pl.Series("id", [2**63 + 1], pl.UInt64)
    assert validate_inputs(source(id=big), project_with(), None, NOW).accepted.schema["id"] == pl.String


def test_times_types_and_infinities_are_rejected_but_missing_numbers_are_not():
    assert rules_of(source(event_at=pl.Series([None, T0], dtype=AT))) == [("0", "time")]
    assert rules_of(source(x=["1", "oops", None, " 2 ", "NaN"])) == [("1", "type:x")]
    assert rules_of(source(x=[float("inf"), float("nan"), 1.0])) == [("0", "type:x")]


def test_required_ranges_and_classes_are_kept():
    rules = {"required": ["c", "x"], "ranges": {"x": {"min": 0, "max": 9}}, "classes": {"c": ["a", 3]}}
    frame = source(x=[1.0, None, -1, 10, 9], c=["a", "a", "a", "3", "z"])
    expected = [("1", "missing:x"), ("2", "range:x"), ("3", "range:x"), ("4", "class:c")]
    assert rules_of(frame, project_with(rules=rules)) == expected


def test_a_row_that_breaks_several_rules_is_named_once_with_all_of_them_in_its_detail():
    frame = source(x=["oops"], c=["z"], at=["soon"], event_at=pl.Series([None], dtype=AT))
    rejected = validate_inputs(frame, project_with(rules={"classes": {"c": ["a"]}}), None, NOW).rejected
    assert rejected["rule"].to_list() == ["time"]
    detail = "at: soon is not a time; x: oops is not a finite number; c: z is not a stated class"
    assert rejected["detail"].to_list() == [detail]
    assert json.loads(rejected["row"][0])["x"] == "oops"


def test_duplicates_collapse_contradictions_go_and_corrections_stay_in_order():
    at = pl.Series([T0] * 6, dtype=AT)
    available = pl.Series([T0, T0, T0, T0, T0 + timedelta(days=1), T0], dtype=AT)
    frame = source(id=[1, 1, 2, 2, 3, 3], x=[1.0, 1, 1, 2, 5, 4], event_at=at, available_at=available)
    made = validate_inputs(frame, project_with(), None, NOW)
    assert made.accepted.select("id", "x").rows() == [(1, 1.0), (3, 4.0), (3, 5.0)]
    assert made.accepted["known_at"].to_list() == [NOW, NOW - timedelta(microseconds=1), NOW]
    assert made.rejected_by_rule == {"duplicate_key": 2}


def test_feedback_rules():
    at = pl.Series([T0] * 8, dtype=AT)
    frame = pl.DataFrame(
        {"id": [1, 2, 99, None, 3, 3, 4, 4], "y": ["1", None, "0", "1", "1", "0", "1", "1"], "available_at": at}
    )
    made = validate_feedback(frame, project_with(), pl.Series([1, 2, 3, 4]), pl.Int64(), None, NOW)
    assert made.accepted.select("id", "label", "known_at").rows() == [(1, "1", T0), (2, None, T0), (4, "1", T0)]
    assert made.accepted.row(0)[3:] == (NOW, "observed", None, 1.0, False)
    assert made.rejected["rule"].to_list() == ["unknown_key", "key", "duplicate_key", "duplicate_key"]


def test_labels_outside_the_classes_are_rejected():
    frame = pl.DataFrame({"id": [1, 2], "y": [1, 2], "available_at": pl.Series([None, None], dtype=AT)})
    for project, classes in ((project_with(classes=[0, 1]), None), (project_with(), ("0", "1"))):
        made = validate_feedback(frame, project, None, pl.Int64(), classes, NOW)
        assert made.accepted["label"].to_list() == ["1"] and made.accepted["known_at"].to_list() == [NOW]
        assert made.rejected["detail"].to_list() == ["y: 2 is not one of the classes 0, 1"]
    assert validate_feedback(frame, project_with("multiclass"), None, None, ("1",), NOW).rejected.is_empty()


def test_regression_labels_are_finite_numbers():
    frame = pl.DataFrame({"id": [1, 2, 3], "y": ["1.5", "much", None], "available_at": pl.Series([T0] * 3, dtype=AT)})
    made = validate_feedback(frame, project_with("regression"), None, None, None, NOW)
    assert made.accepted["label"].to_list() == [1.5, None]
    assert made.rejected["rule"].to_list() == ["type"]


def test_a_missing_label_is_nothing_beside_a_label_of_its_time_or_without_a_time_of_its_own():
    later = T0 + timedelta(days=1)
    rows = [(1, None, T0), (1, "1", T0), (2, "1", T0), (2, None, None), (3, "1", T0), (3, None, later), (9, None, T0)]
    frame = pl.DataFrame(rows, schema={"id": pl.Int64, "y": pl.String, "available_at": AT}, orient="row")
    made = validate_feedback(frame, project_with(), pl.Series([1, 2, 3]), pl.Int64(), None, NOW)
    assert made.accepted.sort("id", "known_at").select("id", "label", "propensity").rows() == [
        (1, "1", 1.0), (2, "1", 1.0), (3, "1", 1.0), (3, None, None),
    ]  # fmt: skip
    assert made.rejected.is_empty()


def test_labels_have_one_form():
    assert canonical_label(pl.Series([True, None]), Task.BINARY).to_list() == ["true", None]
    assert canonical_label(pl.Series([" late", ""]), Task.MULTICLASS).to_list() == ["late", None]
    assert canonical_label(pl.Series([1, 2]), Task.REGRESSION).to_list() == [1.0, 2.0]


@pytest.mark.parametrize(("broken", "rows", "kind"), [(0, 0, "accept"), (5, 10, "accept"), (6, 10, "hold")])
def test_a_batch_is_held_when_more_breaks_than_may(broken, rows, kind):
    decision = decide_validation({"type:x": broken} if broken else {}, rows, project_with(), NOW, "b")
    assert (decision.stage, decision.kind) == ("validation", kind)
    assert decision.evidence["rejected"] == broken


def test_labels_that_an_action_caused_have_no_propensity():
    project = project_with(feedback={"action": "held", "propensity": "chance"})
    frame = pl.DataFrame(
        {
            "id": range(1, 9),
            "y": ["1"] * 8,
            "held": ["yes", "No", "TRUE", "0", None, "maybe", "no", "no"],
            "chance": [0.1, 0.1, None, None, 1.0, 1.0, 0.0, 1.5],
            "available_at": pl.Series([T0] * 8, dtype=AT),
        }
    )
    made = validate_feedback(frame, project, None, pl.Int64(), None, NOW)
    assert made.accepted.select("id", "caused", "propensity").rows() == [
        (1, True, None), (2, False, 0.1), (3, True, None), (4, False, 1.0), (5, False, 1.0),
    ]  # fmt: skip
    assert made.rejected_by_rule == {"action": 1, "propensity": 2}
    for said in ([True, False], [1, 0], [1.0, 0.0]):
        rows = frame.head(2).with_columns(held=pl.Series(said))
        assert validate_feedback(rows, project, None, pl.Int64(), None, NOW).accepted["caused"].to_list() == [
            True,
            False,
        ]
