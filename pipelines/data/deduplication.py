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


def select_new_labels(accepted: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows of a FEEDBACK frame that say something new of their key, be they dated before what is known.

    `history` is everything that is known of these keys (more keys do no harm; it may be empty), of the same
    provenance: a person's correction in it would be overruled by the source once more. A row says nothing new if it is
    known with its date, or repeats what held at its date; where the source no longer gives what it said last, its last
    row counts once more. A null takes a label back, and is nothing new where there is none. Row order is kept.
    """
    key = accepted.columns[0]
    if history.is_empty():
        history = accepted.clear()
    said = ["label", "caused"] if "caused" in accepted.columns else ["label"]
    known = history.filter(pl.col(key).is_in(accepted[key].unique().implode()))
    known = known.sort("ingested_at", "known_at", maintain_order=True)
    known = _statements(known, key, said, accepted)
    rows = accepted.with_row_index("_row")
    new = _unsaid(rows, known, key, said)
    again = _said_again(rows.join(new.select(key), on=key, how="anti", maintain_order="left"), known, key, said)
    chosen = pl.concat([new["_row"], again["_row"]])
    return rows.filter(pl.col("_row").is_in(chosen.implode())).drop("_row")


def _statements(rows: pl.DataFrame, key: str, said: list[str], like: pl.DataFrame) -> pl.DataFrame:
    """What rows said of each key, and as of when, in the types of `like`."""
    if "caused" not in rows.columns:  # A lake that was begun before such labels were told apart.
        rows = rows.with_columns(caused=pl.lit(False))
    typed = rows.select(pl.col(name).cast(like.schema[name]) for name in (key, "known_at", *said))
    return typed.with_columns(caused=pl.col("caused").fill_null(False)) if "caused" in said else typed


def _unsaid(rows: pl.DataFrame, known: pl.DataFrame, key: str, said: list[str]) -> pl.DataFrame:
    """The rows that are not known with their date, and say something else than what held then."""
    candidates = rows.join(known, on=[key, "known_at", *said], how="anti", nulls_equal=True, maintain_order="left")
    both = pl.concat(
        [known.with_columns(_row=pl.lit(None, pl.UInt32)), candidates.select(key, "known_at", *said, "_row")]
    )
    both = both.sort(key, "known_at", pl.col("_row").is_not_null(), maintain_order=True)
    before = [pl.col(name).shift(1).over(key) for name in said]
    same = pl.all_horizontal(pl.col(name).eq_missing(held) for name, held in zip(said, before, strict=True))
    nothing = pl.col("label").is_null() & before[0].is_null()
    fresh = both.filter(pl.col("_row").is_not_null() & ~same & ~nothing)
    return candidates.filter(pl.col("_row").is_in(fresh["_row"].implode()))


def _said_again(rows: pl.DataFrame, known: pl.DataFrame, key: str, said: list[str]) -> pl.DataFrame:
    """The last row of each key of which the source no longer gives what it said last, where it says something else."""
    latest = known.unique(key, keep="last", maintain_order=True)
    given = rows.join(latest, on=[key, "known_at", *said], how="semi", nulls_equal=True)
    last = rows.join(given.select(key), on=key, how="anti", maintain_order="left")
    last = last.unique(key, keep="last", maintain_order=True).join(latest.select(key), on=key, how="semi")
    return last.join(latest, on=[key, *said], how="anti", nulls_equal=True)


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
