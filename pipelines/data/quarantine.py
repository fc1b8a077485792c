"""What is kept of quarantined rows, and how a released row comes back."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta

import polars as pl

from homeostat.pipelines.data.times import INSTANT, parse_times
from homeostat.pipelines.data.validation import validate_feedback, validate_inputs
from homeostat.project import Project
from homeostat.sections.data import Data, Rules

UNRELEASABLE = ("key", "time")
"""Rules whose rows cannot be released: without a key or a time there is no row to speak of."""

ANY_TIME = timedelta(days=100_000)


def with_row_ids(rejected: pl.DataFrame) -> pl.DataFrame:
    """Give each row of a quarantine frame (batch included) an id made from its content: 12 hex digits."""
    parts = rejected.select("source", "batch", "rule", "key", "row").iter_rows()
    ids = [hashlib.sha256("\0".join(map(str, part)).encode()).hexdigest()[:12] for part in parts]
    return rejected.with_columns(row_id=pl.Series(ids, dtype=pl.String))


def hold_rows(rows: pl.DataFrame, project: Project, reason: str, now: datetime) -> pl.DataFrame:
    """Put the sound rows of a held batch (an INPUTS frame) into quarantine's shape, under the rule "held"."""
    return rows.select(
        pl.lit("inputs").alias("source"),
        pl.lit("held").alias("rule"),
        pl.lit(reason).alias("detail"),
        pl.col(project.data.key).cast(pl.String).alias("key"),
        pl.struct(pl.all()).struct.json_encode().alias("row"),
        pl.lit(now, INSTANT).alias("quarantined_at"),
    )


def restore_inputs(
    rows: pl.DataFrame | None,
    project: Project,
    key_dtype: pl.DataType | None,
    now: datetime,
    *,
    schema: pl.Schema | None = None,
) -> pl.DataFrame | None:
    """Released input rows as an INPUTS frame, the last of each key; None where there are none.

    The stated rules are waived, and a value of the wrong type counts as missing. Columns get the types they have in
    `schema`, that of the inputs so far: a kept row holds times and missing values without theirs.
    """
    if rows is None or rows.is_empty():
        return None
    source = _decoded(rows)
    lenient = project.model_copy(update={"data": _without_rules(project.data)})
    numbers = [pl.col(c).cast(pl.Float64, strict=False) for c in project.data.numeric if c in source.columns]
    source = source.with_columns(*numbers, event_at=_instants("event_at", source), available_at=pl.lit(now, INSTANT))
    last = source.unique(project.data.key, keep="last", maintain_order=True)
    return type_as(validate_inputs(last, lenient, key_dtype, now).accepted, schema, project)


def restore_labels(
    rows: pl.DataFrame | None,
    project: Project,
    key_dtype: pl.DataType | None,
    now: datetime,
    *,
    belated: bool = False,
) -> pl.DataFrame | None:
    """Released labels as a FEEDBACK frame, the last of each key; None where there are none.

    They are known `now`; `belated` ones, which only waited for their input, since the source knew them.
    """
    if rows is None or rows.is_empty():
        return None
    source = _decoded(rows)
    source = source.with_columns(available_at=_instants("available_at", source) if belated else pl.lit(None, INSTANT))
    lenient = project.model_copy(update={"data": _without_rules(project.data)})
    last = source.unique(project.data.key, keep="last", maintain_order=True)
    return validate_feedback(last, lenient, None, key_dtype, None, now).accepted


def _decoded(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame([json.loads(row) for row in rows["row"]], infer_schema_length=None, strict=False)


def type_as(rows: pl.DataFrame, schema: pl.Schema | None, project: Project) -> pl.DataFrame:
    """Give columns the types of `schema`; a value that has none there is missing."""
    wrong = [c for c, dtype in (schema or {}).items() if c in rows.columns and rows.schema[c] != dtype]
    return rows.with_columns(_cast(rows[c], (schema or {})[c], project) for c in wrong)


def _cast(values: pl.Series, dtype: pl.DataType, project: Project) -> pl.Series:
    if dtype == INSTANT and values.dtype == pl.String:
        return parse_times(values, project.data.timezone or "UTC", "quarantine")
    return values.cast(dtype, strict=False)


def _without_rules(data: Data) -> Data:
    inputs = data.inputs.model_copy(update={"ahead": ANY_TIME})
    return data.model_copy(update={"rules": Rules(), "classes": None, "inputs": inputs})


def _instants(column: str, rows: pl.DataFrame) -> pl.Expr:
    text = pl.col(column).cast(pl.String).str.replace(" UTC", "+00:00").str.replace("Z$", "+00:00")
    return text.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
