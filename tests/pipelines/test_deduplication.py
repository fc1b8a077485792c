"""Novelty: what comes again gives nothing, whatever came before."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.pipelines.data.deduplication import select_new_inputs, select_new_labels, select_new_rejections

AT = pl.Datetime("us", "UTC")
T0 = datetime(2020, 1, 1, tzinfo=UTC)
SCHEMA = {"id": pl.Int64, "event_at": AT, "known_at": AT, "x": pl.Float64, "c": pl.String}


def inputs(*rows: tuple) -> pl.DataFrame:
    made = [(key, T0, T0, x, c) for key, x, c in rows]
    return pl.DataFrame(made, schema=SCHEMA, orient="row")


def latest(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.unique("id", keep="last", maintain_order=True)


def test_new_known_and_corrected_rows_are_told_apart():
    known = inputs((1, 1.0, None), (2, 2.0, "a"))
    fetched = inputs((1, 1.0, None), (2, None, "a"), (3, 3.0, "b"), (3, 4.0, "b"))
    found = select_new_inputs(fetched, known)
    assert found.select("id", "x", "_correction").rows() == [(2, None, True), (3, 3.0, False), (3, 4.0, True)]
    assert found.columns == [*fetched.columns, "_correction"]


rows = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([None, 1.0, 2.0]), st.sampled_from([None, "a"])), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(rows, rows)
def test_a_fetch_that_comes_again_gives_nothing(before, fetch):
    known, fetched = latest(inputs(*before)), inputs(*fetch)
    found = select_new_inputs(fetched, known)
    after = latest(pl.concat([known, found.drop("_correction")]))
    assert select_new_inputs(fetched, after).is_empty()
    assert after.height == len({row[0] for row in (*before, *fetch)})


@settings(max_examples=40, deadline=None)
@given(rows)
def test_exactly_one_row_of_each_new_key_is_no_correction(fetch):
    found = select_new_inputs(inputs(*fetch), inputs())
    assert found.filter(~pl.col("_correction"))["id"].sort().to_list() == sorted({row[0] for row in fetch})


def test_labels_that_are_known_are_dropped():
    frame = pl.DataFrame({"id": [1, 2, 3], "label": ["1", "0", "1"], "known_at": [T0] * 3})
    known = pl.DataFrame({"id": [1, 2], "label": ["1", "1"]})
    assert select_new_labels(frame, known)["id"].to_list() == [2, 3]
    assert select_new_labels(frame, known.clear()).equals(frame)


def test_rejections_are_kept_once():
    frame = pl.DataFrame({"source": ["inputs"] * 3, "key": [None, None, "1"], "row": ["{}"] * 3, "rule": ["key"] * 3})
    assert select_new_rejections(frame, frame.clear()).height == 2
    assert select_new_rejections(frame, frame.head(1))["key"].to_list() == ["1"]
