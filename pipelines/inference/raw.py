"""Raw rows, however they come: brought to the types that they had in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl


def from_pandas(rows: Any) -> pl.DataFrame:
    """A polars frame of a pandas frame, or of whatever pandas makes a frame of; odd values become text."""
    import pandas as pd

    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    columns = []
    for name in frame.columns:
        try:
            columns.append(pl.Series(str(name), pl.from_pandas(pd.Series(frame[name].array))))
        except Exception:
            values = [None if value is None or value != value else value for value in frame[name].tolist()]
            columns.append(pl.Series(str(name), [_as_text(value) for value in values], dtype=pl.String))
    return pl.DataFrame(columns)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def canonical(column: pl.Series, kind: str, zone: str | None) -> pl.Series:
    """Bring a raw column to the type it had in training; what cannot be read is null."""
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if kind == "number":
        return column.cast(pl.Float64, strict=False).fill_nan(None)
    if kind == "datetime":
        return _instants(column, zone)
    if kind == "boolean":
        if column.dtype == pl.String:
            return column.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
        return column.cast(pl.Boolean, strict=False)
    if column.dtype.is_float():
        return column.to_frame().select(_float_text(pl.col(column.name))).to_series()
    return column.cast(pl.String, strict=False)


def _float_text(value: pl.Expr) -> pl.Expr:
    value = value.fill_nan(None)
    whole = value.cast(pl.Int64, strict=False)
    return pl.when(whole.cast(pl.Float64) == value).then(whole.cast(pl.String)).otherwise(value.cast(pl.String))


def _instants(column: pl.Series, zone: str | None) -> pl.Series:
    if column.dtype == pl.String:
        instant = r"(?i)(z|[+-]\d\d:?\d\d)$"
        zoned = column.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        if column.str.contains(instant).all():
            return zoned
        naive = column.str.to_datetime(time_unit="us", strict=False) if column.count() else column
        return _instants(naive.cast(pl.Datetime("us"), strict=False), zone)
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone:
        return column.dt.cast_time_unit("us").dt.convert_time_zone("UTC")
    naive = column.cast(pl.Datetime("us"), strict=False)
    placed = naive.dt.replace_time_zone(zone or "UTC", ambiguous="earliest", non_existent="null")
    return placed.dt.convert_time_zone("UTC")
