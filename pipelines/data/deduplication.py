"""Novelty: of what a source gives again and again, only what was not there before."""

from __future__ import annotations

import polars as pl

_TECHNICAL = ("known_at", "ingested_at", "_batch", "_correction", "_posted", "provenance", "who", "propensity")


def select_new_inputs(accepted: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows of an INPUTS frame that say something new, with `_correction` (Boolean).

    `known` is the latest known row of each key (more keys do no harm; it may be empty). A row of an unknown key
    is new; one that says what is already known is dropped; another, or a second row of one key within the
    fetch, is a correction. Of several rows of a key, those up to the one that is known already are dropped, so
    a fetch that comes again gives nothing. Row order is kept.
    """
    key = accepted.columns[0]
    contents = [column for column in accepted.columns if column not in (key, *_TECHNICAL)]
    return _select(accepted, known, key, contents)


def select_new_labels(accepted: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows of a FEEDBACK frame whose label differs from what is known of their key.

    `known` is the latest known label of each key, of the same provenance: a person's correction in it would be
    overruled by the source once more. Row order is kept.
    """
    return _select(accepted, known, accepted.columns[0], ["label"]).drop("_correction")


def drop_overruled(rows: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Drop the rows of a source whose key and contents are in `history`: all rows that are known of some keys.

    For keys of which something newer was posted: a source that gives everything again and again does not mean by it
    that what it said before holds once more. Row order is kept.
    """
    same = [column for column in rows.columns if column in history.columns and column not in _TECHNICAL]
    past = history.select(pl.col(column).cast(rows.schema[column]) for column in same).unique()
    return rows.join(past, on=same, how="anti", nulls_equal=True, maintain_order="left")


def select_new_rejections(rejected: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Keep the rejected rows that are not quarantined yet, each once, by (source, key, row, rule)."""
    same = ["source", "key", "row", "rule"]
    once = rejected.unique(same, keep="first", maintain_order=True)
    if known.is_empty():
        return once
    return once.join(known.select(same), on=same, how="anti", nulls_equal=True, maintain_order="left")


def _select(accepted: pl.DataFrame, known: pl.DataFrame, key: str, contents: list[str]) -> pl.DataFrame:
    rows = accepted.with_row_index("_row")
    if known.height:
        latest = known.select(key, *contents, pl.lit(True).alias("_known")).unique(
            key, keep="last", maintain_order=True
        )
        rows = rows.join(latest, on=key, how="left", suffix=":known", maintain_order="left")
    else:
        rows = rows.with_columns(pl.lit(None, pl.Boolean).alias("_known"))
        rows = rows.with_columns(pl.lit(None, accepted.schema[c]).alias(f"{c}:known") for c in contents)
    is_known = pl.col("_known").fill_null(False)
    as_known = pl.all_horizontal(is_known, *(pl.col(c).eq_missing(pl.col(f"{c}:known")) for c in contents))
    last_known = pl.col("_row").filter(as_known).max().over(key)
    rows = rows.with_columns(is_known.alias("_known")).filter((pl.col("_row") > last_known) | last_known.is_null())
    if rows[key].is_duplicated().any():
        first = pl.col("_row") == pl.col("_row").min().over(key)
        repeats = [pl.col(c).eq_missing(pl.col(c).shift(1).over(key)) for c in contents]
        rows = rows.filter(first | ~pl.all_horizontal(repeats))
    correction = pl.col("_known") | (pl.col("_row") != pl.col("_row").min().over(key))
    return rows.with_columns(correction.alias("_correction")).select(*accepted.columns, "_correction")
