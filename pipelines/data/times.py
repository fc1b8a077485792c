"""Times of a source as instants: without a zone they are read in the project's; what is no time is null."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from homeostat.errors import DataError

INSTANT = pl.Datetime("us", "UTC")
_SLACK = timedelta(days=2)  # wider than any offset from UTC, so a bound on local time never cuts too much
_TEXT = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?))?\s*"
_OFFSET = r"(?:[Zz]|UTC|[+-]\d{2}(?::?\d{2})?)"
_FORM = f"{_TEXT}{_OFFSET}?$"
_NO_ZONE_HINT = "Set data.timezone in the project file, as in timezone = 'UTC'."


def parse_times(times: pl.Series, zone: str | None, where: str) -> pl.Series:
    """Read a column as instants (Datetime us, UTC); null where a value is no time.

    Takes Datetime, Date or ISO text. Local times that happen twice are read as the earlier one, those that
    never happen are null. Raises DataError, which begins with `where`, for other types and for times without
    a zone where `zone` is None.

    >>> parse_times(pl.Series(["2020-01-02T03:04+01:00", "soon"]), None, "a.csv").to_list()
    [datetime.datetime(2020, 1, 2, 2, 4, tzinfo=zoneinfo.ZoneInfo(key='UTC')), None]
    """
    check_time_type(times.dtype, zone, f"{where}: column {times.name!r}")
    if times.dtype == pl.Null:
        return times.cast(INSTANT)
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None:
        return times.dt.convert_time_zone("UTC").cast(INSTANT)
    if times.dtype in (pl.Date, pl.Datetime):
        return _localize(times.cast(pl.Datetime("us")), zone or "UTC")
    return _parse_text(times.cast(pl.String).str.strip_chars(), zone, where)


def parse_sent_times(times: pl.Series, zone: str | None) -> pl.Series:
    """Read text that anybody may have sent as instants; null where it is no time, or lacks a zone that nobody named.

    >>> parse_sent_times(pl.Series(["2020-01-02T03:04Z", "2020-01-02", "1577934240"]), None).to_list()
    [datetime.datetime(2020, 1, 2, 3, 4, tzinfo=zoneinfo.ZoneInfo(key='UTC')), None, None]
    """
    text = times.str.strip_chars()
    sound = text.str.contains(_FORM)
    if zone is None:
        sound = sound & text.str.contains(rf"^.{{10}}.*{_OFFSET}$")
    return parse_times(text.zip_with(sound.fill_null(False), pl.Series([None], dtype=pl.String)), zone, "what was sent")


def check_time_type(dtype: pl.DataType, zone: str | None, what: str) -> None:
    """Raise DataError where a column of this type can hold no times, or times without a zone nobody named."""
    naive = dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None)
    if naive and zone is None:
        raise DataError(f"{what} holds times without a zone, and the project names none.", _NO_ZONE_HINT)
    if not (naive or dtype in (pl.Datetime, pl.String, pl.Categorical, pl.Enum, pl.Null)):
        kind = "numbers" if dtype.is_numeric() else str(dtype)
        raise DataError(
            f"{what} holds {kind}; expected times (datetimes, dates or ISO text as 2020-01-31T12:00Z).",
            "Numbers are not read as times: convert them where the data are written.",
        )


def roughly_within(column: str, dtype: pl.DataType, low: datetime | None, high: datetime | None) -> pl.Expr:
    """A cheap filter on a raw time column that keeps every row between two instants, and some around them.

    Without `low`, rows that hold no time are kept too. It can be pushed down into a file's scan.
    """
    text = dtype in (pl.String, pl.Categorical, pl.Enum)
    times = pl.col(column).cast(pl.String).str.strip_chars() if text else pl.col(column)
    keep = pl.lit(True)
    if dtype == pl.Null:
        return pl.lit(low is None)
    if low is not None:
        keep = keep & (times >= _bound(low, -_SLACK, dtype, text))
    if high is not None:
        below = times < _bound(high, _SLACK, dtype, text)
        if low is None:
            below = below | times.is_null()
            below = below | ~times.str.contains(_FORM) if text else below
        keep = keep & below
    return keep


def _bound(at: datetime, slack: timedelta, dtype: pl.DataType, text: bool) -> pl.Expr:
    moved = at.astimezone(UTC) + slack
    if text:
        return pl.lit(f"{moved:%Y-%m-%d}")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return pl.lit(moved).dt.convert_time_zone(dtype.time_zone).cast(dtype)
    return pl.lit(moved.replace(tzinfo=None)).cast(dtype)


def _localize(times: pl.Series, zone: str) -> pl.Series:
    local = times.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")


def _parse_text(text: pl.Series, zone: str | None, where: str) -> pl.Series:
    name, given = text.name, text.drop_nulls()
    if len(given) and given.str.contains(r"^\d{9,}(?:\.\d+)?$").all():
        check_time_type(pl.Int64(), zone, f"{where}: column {name!r}")
    value, matches = pl.col(name), pl.col(name).str.contains(_FORM)
    clock = value.str.extract(_TEXT, 2).fill_null("00:00")
    seconds = pl.when(clock.str.len_chars() == 5).then(clock + ":00").otherwise(clock)
    parts = text.to_frame().select(
        pl.when(matches).then(value.str.extract(_TEXT, 1) + " " + seconds)
        .str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False).alias("local"),
        pl.when(matches).then(value.str.extract(rf"^.{{10}}.*?({_OFFSET})$", 1)).alias("offset"),
    )  # fmt: skip
    bare = parts["local"].is_not_null() & parts["offset"].is_null()
    if zone is None and bare.any():
        shown = text.filter(bare)[0]
        raise DataError(
            f"{where}: column {name!r} holds times without a zone ({shown!r}), and the project names none.",
            _NO_ZONE_HINT,
        )
    digits = pl.col("offset").str.replace(":", "", literal=True)
    hours, rest = (digits.str.slice(i, 2).cast(pl.Int64, strict=False).fill_null(0) for i in (1, 3))
    minutes = hours * 60 + rest
    signed = pl.when(digits.str.starts_with("-")).then(-minutes).otherwise(minutes).fill_null(0)
    zoned = (pl.col("local") - pl.duration(minutes=signed)).dt.replace_time_zone("UTC")
    naive = pl.Series("naive", _localize(parts["local"], zone or "UTC"))
    at = parts.with_columns(naive).select(
        pl.when(pl.col("offset").is_null()).then(pl.col("naive")).otherwise(zoned).alias(name)
    )
    return at[name]
