"""Quarantine: what is kept of a row is enough to bring it back as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.pipelines.data.canonical import canonical_label
from homeostat.pipelines.data.quarantine import hold_rows, restore_inputs, restore_labels, with_row_ids
from homeostat.pipelines.data.times import INSTANT
from homeostat.pipelines.data.validation import QUARANTINE_SCHEMA, validate_feedback, validate_inputs
from homeostat.project import Project, Task

NOW = datetime(2024, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
KEPT = {"number": pl.Float64, "flag": pl.Boolean, "moment": INSTANT, "note": pl.String}
COLUMNS = {"x": pl.Float64, "c": pl.String, **KEPT, "s": pl.String, "p": pl.String}


def project(task: str = "binary", zone: str | None = "UTC", **data: Any) -> Project:
    """A project with columns of every role."""
    columns = {"numeric": ["x"], "categorical": ["c"], "keep": list(KEPT), "segments": ["s"], "sensitive": ["p"]}
    roles = {"key": "id", "event_time": "at", "target": "y", "timezone": zone}
    return Project.model_validate(
        {
            "folder": Path("p"),
            "project": {"name": "p", "task": task},
            "data": {**roles, **columns, **data},
            "loop": {"tick": "1d", "start": NOW},
        }
    )


def kept(rows: pl.DataFrame, batch: str = "b") -> pl.DataFrame:
    """Rows as the lake keeps them in quarantine."""
    return with_row_ids(rows.with_columns(batch=pl.lit(batch)))


TEXTS = st.none() | st.text(max_size=6)
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.fixed_dictionaries(
    {"event_at": TIMES, "x": NUMBERS, "c": TEXTS, "number": NUMBERS, "flag": st.none() | st.booleans()}
    | {"moment": st.none() | TIMES, "note": TEXTS, "s": TEXTS, "p": TEXTS}
)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
NAMES = st.text(min_size=1, max_size=6).filter(lambda name: name.strip() != "")


@given(st.one_of(st.dictionaries(INTEGERS, ROWS, max_size=4), st.dictionaries(NAMES, ROWS, max_size=4)))
def test_a_row_that_was_held_comes_back_as_it_was(rows: dict[Any, dict[str, Any]]) -> None:
    key_dtype = pl.Int64() if all(isinstance(key, int) for key in rows) else pl.String()
    schema = pl.Schema({"id": key_dtype, "event_at": INSTANT, "known_at": INSTANT, **COLUMNS})
    held = pl.DataFrame([{"id": key, "known_at": NOW, **row} for key, row in rows.items()], schema=schema)
    came = restore_inputs(kept(hold_rows(held, project(), "too much", NOW)), project(), key_dtype, LATER, schema=schema)
    if came is None:
        assert not rows
        return
    assert came.schema == schema
    assert came.drop("known_at").equals(held.drop("known_at"))
    assert came["known_at"].unique().to_list() == [LATER]


def test_a_held_row_keeps_its_shape_and_says_why() -> None:
    schema = {"id": pl.Int64, "event_at": INSTANT, "known_at": INSTANT, **COLUMNS}
    held = pl.DataFrame([{"id": 7, "event_at": NOW, "known_at": NOW}], schema=schema)
    rows = hold_rows(held, project(), "half of the batch is broken", NOW)
    assert rows.schema == pl.Schema(QUARANTINE_SCHEMA)
    assert rows.select("source", "rule", "detail", "key").row(0) == (
        "inputs", "held", "half of the batch is broken", "7",
    )  # fmt: skip


def test_ids_are_made_of_content_and_tell_rows_apart() -> None:
    schema = {"id": pl.Int64, "event_at": INSTANT, "known_at": INSTANT, **COLUMNS}
    held = pl.DataFrame([{"id": i, "event_at": NOW, "known_at": NOW} for i in range(50)], schema=schema)
    rows = hold_rows(held, project(), "why", NOW)
    assert kept(rows)["row_id"].n_unique() == 50
    assert kept(rows)["row_id"].equals(kept(rows)["row_id"])
    assert set(kept(rows)["row_id"]).isdisjoint(kept(rows, "c")["row_id"])


def source_of(**columns: Any) -> pl.DataFrame:
    """A SOURCE frame of one row that breaks nothing, but for what is given."""
    row = {"x": 1.0, "c": "a", "number": 2.5, "flag": True, "moment": NOW, "note": "n", "s": "s", "p": "p"} | columns
    schema = {"id": pl.Int64, "event_at": INSTANT, "available_at": INSTANT}
    return pl.DataFrame([{"id": 1, "event_at": NOW, "available_at": NOW}], schema=schema).with_columns(
        **{name: pl.lit(value) for name, value in row.items()}
    )


def released(rows: pl.DataFrame, stated: Project) -> dict[str, Any]:
    """The one row of a source, quarantined by a stated rule and then released."""
    schema = pl.Schema({"id": pl.Int64, "event_at": INSTANT, "known_at": INSTANT, **COLUMNS})
    rejected = validate_inputs(rows, stated, pl.Int64(), NOW).rejected
    assert rejected.height == 1
    came = restore_inputs(kept(rejected), stated, pl.Int64(), LATER, schema=schema)
    assert came is not None and came.schema == schema
    return came.row(0, named=True)


def test_a_released_row_is_let_through_the_rule_it_broke() -> None:
    stated = project(rules={"ranges": {"x": {"max": 0}}})
    assert released(source_of(x=9.5), stated)["x"] == 9.5
    stated = project(rules={"classes": {"c": ["b"]}})
    assert released(source_of(c="zzz"), stated)["c"] == "zzz"


def test_what_is_no_number_comes_back_as_missing() -> None:
    assert released(source_of(x="abc"), project())["x"] is None


@pytest.mark.parametrize(
    ("came", "expected"),
    [
        (datetime(2024, 6, 1, 12), datetime(2024, 6, 1, 10, tzinfo=UTC)),
        (datetime(2024, 6, 1, 12, tzinfo=timezone(timedelta(hours=5))), datetime(2024, 6, 1, 7, tzinfo=UTC)),
    ],
    ids=["without a zone", "with one"],
)
def test_a_time_that_is_kept_comes_back_in_the_zone_it_was_meant_in(came: datetime, expected: datetime) -> None:
    stated = project(zone="Europe/Berlin", rules={"ranges": {"x": {"max": 0}}})
    rows = source_of(moment=came)
    assert validate_inputs(rows, project(zone="Europe/Berlin"), pl.Int64(), NOW).accepted["moment"].to_list() == [
        expected
    ]
    assert released(rows, stated)["moment"] == expected


def test_of_several_released_rows_of_a_key_the_last_comes_back() -> None:
    stated = project(rules={"ranges": {"x": {"max": 0}}})
    rejected = [validate_inputs(source_of(x=x), stated, pl.Int64(), NOW).rejected for x in (1.5, 2.5)]
    came = restore_inputs(kept(pl.concat(rejected)), stated, pl.Int64(), LATER)
    assert came is not None and came["x"].to_list() == [2.5]


def test_nothing_released_is_nothing() -> None:
    none = kept(pl.DataFrame(schema=QUARANTINE_SCHEMA))
    assert restore_inputs(none, project(), None, LATER) is None and restore_inputs(None, project(), None, LATER) is None
    assert restore_labels(none, project(), None, LATER) is None and restore_labels(None, project(), None, LATER) is None


LABELS = st.one_of(
    st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=4),
    st.lists(st.text(min_size=1, max_size=5).filter(str.strip), min_size=1, max_size=4),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4),
)


@given(st.sampled_from(["multiclass", "regression"]), LABELS)
def test_a_label_comes_back_as_it_would_have_been(task: str, labels: list[Any]) -> None:
    stated = project(task)
    rows = pl.DataFrame({"id": range(len(labels)), "y": labels}).with_columns(available_at=pl.lit(NOW, INSTANT))
    nobody = pl.Series("id", [], dtype=pl.Int64)
    rejected = validate_feedback(rows, stated, nobody, pl.Int64(), None, NOW).rejected
    came = restore_labels(kept(rejected), stated, pl.Int64(), LATER)
    expected = canonical_label(rows["y"], Task(task))
    told = {key: label for key, label in zip(rows["id"], expected, strict=True) if label is not None}
    assert came is not None and dict(came.select("id", "label").iter_rows()) == told
    assert set(came["known_at"]) <= {LATER} and set(came["ingested_at"]) <= {LATER}


def test_a_label_out_of_the_stated_classes_is_let_through() -> None:
    stated = project(classes=[0, 1])
    rows = pl.DataFrame({"id": [1], "y": [9]}).with_columns(available_at=pl.lit(NOW, INSTANT))
    rejected = validate_feedback(rows, stated, None, pl.Int64(), None, NOW).rejected
    assert rejected["rule"].to_list() == ["class"]
    came = restore_labels(kept(rejected), stated, pl.Int64(), LATER)
    assert came is not None and came.select("label", "provenance").rows() == [("9", "observed")]
