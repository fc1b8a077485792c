"""Novelty: what comes again gives nothing, whatever came before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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


LABELS = {"id": pl.Int64, "label": pl.String, "known_at": AT, "ingested_at": AT}
statements = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, "0", "1"]), st.integers(0, 3)), max_size=6)


def labels(said, tick: int = 0) -> pl.DataFrame:
    """A FEEDBACK frame of (key, label, day known), as a fetch of a tick gives it."""
    rows = [(key, label, T0 + timedelta(days=day), T0 + timedelta(days=tick)) for key, label, day in said]
    frame = pl.DataFrame(rows, schema=LABELS, orient="row")
    return frame.unique(["id", "known_at"], keep="last", maintain_order=True).sort("known_at", maintain_order=True)


def counting(history: pl.DataFrame) -> dict[int, str]:
    """The label that counts for each key; those that were taken back are none."""
    last = history.sort("ingested_at", "known_at", maintain_order=True).unique("id", keep="last")
    return dict(last.drop_nulls("label").select("id", "label").iter_rows())


def test_labels_that_are_known_are_dropped():
    frame, known = labels([(1, "1", 0), (2, "0", 0), (3, "1", 0)], 1), labels([(1, "1", 0), (2, "1", 0)])
    assert select_new_labels(frame, known)["id"].to_list() == [2, 3]
    assert select_new_labels(frame, known.clear()).equals(frame)


@settings(max_examples=60, deadline=None)
@given(st.lists(statements, min_size=1, max_size=5))
def test_labels_that_come_again_are_stored_once_however_they_are_dated(fetches):
    history = labels([])
    for tick, said in enumerate(fetches):
        history = pl.concat([history, select_new_labels(labels(said, tick), history)])
        assert select_new_labels(labels(said, tick + 1), history).is_empty()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 2), st.tuples(st.sampled_from([None, "0", "1"]), st.integers(0, 3)))))
def test_of_a_table_that_is_overwritten_the_label_it_holds_counts_whatever_its_date(tables):
    history = labels([])
    for tick, table in enumerate(tables):
        said = labels([(key, label, day) for key, (label, day) in table.items()], tick)
        history = pl.concat([history, select_new_labels(said, history)])
        counts = counting(history)
        assert {key: counts.get(key) for key in table} == {key: label for key, (label, _) in table.items()}


@settings(max_examples=60, deadline=None)
@given(statements, st.integers(1, 3))
def test_ticks_that_see_a_log_grow_come_to_what_it_says_last(said, reach):
    log, history = labels(said), labels([])
    for day in range(4):
        seen = log.filter(pl.col("known_at").is_between(T0 + timedelta(days=day - reach), T0 + timedelta(days=day)))
        seen = seen.with_columns(ingested_at=pl.lit(T0 + timedelta(days=day), AT))
        history = pl.concat([history, select_new_labels(seen, history)])
    last = log.unique("id", keep="last", maintain_order=True)
    assert counting(history) == dict(last.drop_nulls("label").select("id", "label").iter_rows())


def test_a_correction_that_a_log_dates_back_counts_once_it_is_there():
    before, log = labels([(1, "1", 3)]), labels([(1, "0", 1), (1, "1", 3)], 1)
    fresh = select_new_labels(log, before)
    assert counting(pl.concat([before, fresh])) == {1: "0"}
    assert select_new_labels(log, pl.concat([before, fresh])).is_empty()


def test_rejections_are_kept_once():
    frame = pl.DataFrame({"source": ["inputs"] * 3, "key": [None, None, "1"], "row": ["{}"] * 3, "rule": ["key"] * 3})
    assert select_new_rejections(frame, frame.clear()).height == 2
    assert select_new_rejections(frame, frame.head(1))["key"].to_list() == ["1"]
