"""The canonical form of what a source gives: one dtype for each role of a column, whatever it came as."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from homeostat.errors import DataError
from homeostat.pipelines.data.times import INSTANT
from homeostat.project import Project, Task

_MISSING_NUMBERS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
_EXACT = 2.0**53


def canonical_columns(schema: pl.Schema, project: Project) -> dict[str, pl.Expr]:
    """Expressions that give each raw column its canonical form, by name; columns not in `schema` are left out.

    Numeric: Float64, null where it is no finite number. Categorical, segments and sensitive: String. Keep:
    Float64, Boolean, Datetime(us, UTC) or String. Raises DataError for nested columns.
    """
    data = project.data
    texts = {*data.categorical, *data.segments, *data.sensitive}
    made: dict[str, pl.Expr] = {}
    for column in data.columns:
        if column not in schema or column == data.key:
            continue
        dtype = schema[column]
        if column in data.numeric:
            made[column] = canonical_number(column, dtype)
        elif column in texts:
            made[column] = canonical_text(column, dtype)
        elif column == data.event_time and "event_at" in schema:
            made[column] = pl.col("event_at")
        else:
            made[column] = _canonical_keep(column, dtype, data.timezone or "UTC")
    return {column: expr.alias(column) for column, expr in made.items()}


def canonical_number(column: str, dtype: pl.DataType) -> pl.Expr:
    """A column as Float64; null where it is missing, not a number, or not finite."""
    value = pl.col(column)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        number = value.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    elif dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        number = value.cast(pl.Float64, strict=False)
    else:
        return pl.lit(None, pl.Float64)
    return pl.when(number.is_finite()).then(number)


def is_missing(column: str, dtype: pl.DataType) -> pl.Expr:
    """Whether a value of a numeric column is missing rather than wrong: null, NaN, or text that says so."""
    value = pl.col(column)
    if dtype.is_float():
        return value.is_null() | value.is_nan()
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return value.is_null() | value.cast(pl.String).str.strip_chars().is_in(_MISSING_NUMBERS)
    return value.is_null()


def canonical_text(column: str, dtype: pl.DataType) -> pl.Expr:
    """A column as text: integers and integral floats as "3", booleans as "true" and "false", NaN as null."""
    value = pl.col(column)
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        raise DataError(f"column {column!r} holds {dtype}; expected text, numbers or booleans.")
    if dtype.is_decimal():
        value, dtype = value.cast(pl.Float64), pl.Float64()
    if dtype.is_float():
        whole = value.is_finite() & (value == value.floor()) & (value.abs() < _EXACT)
        integral = value.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(whole).then(integral).when(value.is_not_nan()).then(value.cast(pl.String))
    return value.cast(pl.String)


def canonical_truth(column: str, dtype: pl.DataType) -> pl.Expr:
    """A column as Boolean: true for true, 1 and "yes", false for their opposites and where it is missing, else null."""
    text = canonical_text(column, dtype).str.strip_chars().str.to_lowercase()
    truth = pl.when(text.is_in(["true", "1", "yes"])).then(True).when(text.is_in(["false", "0", "no"])).then(False)
    return pl.when(text.is_null() | (text == "")).then(False).otherwise(truth)


def canonical_key(keys: pl.Series, dtype: pl.DataType | None) -> pl.Series:
    """Keys as Int64 or String; null where a key does not fit. Without `dtype`: Int64 for fitting integers."""
    if dtype is None:
        dtype = pl.Int64() if keys.dtype.is_integer() and _fits(keys) else pl.String()
    text = keys.to_frame().select(canonical_text(keys.name, keys.dtype)).to_series()
    if dtype == pl.String:
        return pl.select(pl.when(text.str.strip_chars() != "").then(text).alias(keys.name)).to_series()
    if keys.dtype.is_integer():
        return keys.cast(pl.Int64, strict=False)
    exact = text.str.contains(r"^(?:0|-?[1-9]\d{0,18})$")
    return pl.select(pl.when(exact).then(text.cast(pl.Int64, strict=False)).alias(keys.name)).to_series()


def canonical_label(series: pl.Series, task: Task) -> pl.Series:
    """Labels in their canonical form: text for classes ("1", "true", "late"), finite Float64 for regression.

    >>> canonical_label(pl.Series([1.0, None, 0.0]), Task.BINARY).to_list()
    ['1', None, '0']
    """
    frame, name = series.to_frame("label"), series.name
    if task is Task.REGRESSION:
        return frame.select(canonical_number("label", series.dtype)).to_series().alias(name)
    text = frame.select(canonical_text("label", series.dtype)).to_series().str.strip_chars()
    return pl.select(pl.when(text != "").then(text)).to_series().alias(name)


def canonical_class(value: object) -> str:
    """One class as the project file states it, in its canonical form.

    >>> canonical_class(True), canonical_class(3)
    ('true', '3')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def canonical_classes(values: Sequence[object] | None) -> tuple[str, ...] | None:
    """Stated classes in their canonical form, in the order given."""
    return None if values is None else tuple(canonical_class(value) for value in values)


def _canonical_keep(column: str, dtype: pl.DataType, zone: str) -> pl.Expr:
    value = pl.col(column)
    if dtype.is_numeric():
        number = value.cast(pl.Float64, strict=False)
        return pl.when(number.is_not_nan()).then(number)
    if dtype == pl.Boolean:
        return value
    if dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None):
        local = value.cast(pl.Datetime("us"))
        local = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return local.dt.convert_time_zone("UTC")
    if isinstance(dtype, pl.Datetime):
        return value.dt.convert_time_zone("UTC").cast(INSTANT)
    return canonical_text(column, dtype)


def _fits(keys: pl.Series) -> bool:
    largest = keys.max()
    return not isinstance(largest, int) or largest < 2**63
