"""Rows of a source as a table: which columns it has, and how a slice of it is read. Databases: the module `sql`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import polars as pl

from homeostat.errors import DataError, ProjectError
from homeostat.pipelines.data.times import roughly_within

Stamp = tuple[tuple[str, int, int], ...]
"""What files looked like when they were opened: path, time of change in ns, and size in bytes."""
_DELIMITERS = {";": "';'", "\t": "a tab", "|": "'|'"}


class Table(Protocol):
    """Rows of a source."""

    @property
    def where(self) -> str:
        """Its name in messages."""
        ...

    @property
    def columns(self) -> list[str]:
        """The columns it has."""
        ...

    def read(
        self, columns: list[str], time: str | None = None, low: datetime | None = None, high: datetime | None = None
    ) -> pl.DataFrame:
        """Read some columns of at least the rows whose `time` lies in [low, high)."""
        ...


@dataclass(frozen=True)
class FrameTable:
    """A table over a lazy frame. `text` says that it is a CSV, where every value is still text."""

    where: str
    frame: pl.LazyFrame
    schema: pl.Schema
    text: bool = False
    stamp: Stamp = ()

    @property
    def columns(self) -> list[str]:
        """The columns it has."""
        return self.schema.names()

    def read(
        self, columns: list[str], time: str | None = None, low: datetime | None = None, high: datetime | None = None
    ) -> pl.DataFrame:
        """Read some columns of at least the rows whose `time` lies in [low, high). Raises DataError."""
        frame = self.frame
        if time is not None and (low is not None or high is not None):
            frame = frame.filter(roughly_within(time, self.schema[time], low, high))
        try:
            return frame.select(columns).collect()
        except (pl.exceptions.PolarsError, OSError) as fault:
            raise unreadable(self.where, fault) from fault


def open_frame(made: Any, where: str) -> FrameTable:
    """Wrap what a hook returned: a polars or pandas frame. Raises ProjectError for anything else."""
    if isinstance(made, pl.DataFrame | pl.LazyFrame):
        frame = made.lazy()
    elif type(made).__module__.startswith("pandas.") and hasattr(made, "columns"):
        frame = pl.from_pandas(made.reset_index(drop=True)).lazy()
    else:
        raise ProjectError(f"{where} returned {type(made).__name__}; expected a polars or pandas DataFrame.")
    try:
        return FrameTable(where, frame, frame.collect_schema())
    except pl.exceptions.PolarsError as fault:
        raise ProjectError(f"{where} returned a frame that cannot be read: {first_line(fault)}.") from fault


def require_columns(table: Table, wanted: Iterable[str], what: str = "columns") -> None:
    """Raise DataError where columns are not in the data; it names the nearest ones, or a wrong delimiter."""
    missing = [column for column in dict.fromkeys(wanted) if column not in table.columns]
    if not missing:
        return
    header = table.columns[0] if len(table.columns) == 1 else ""
    for delimiter, shown in _DELIMITERS.items():
        if delimiter in header:
            raise DataError(
                f"{table.where}: its values seem to be separated by {shown} where ',' was expected.",
                "Save it with commas between the values.",
            )
    named = ", ".join(_with_nearest(column, table.columns) for column in missing)
    raise DataError(
        f"{table.where}: {what} that are not in the data: {named}.",
        f"It has: {', '.join(table.columns[:30])}{', ...' if len(table.columns) > 30 else '.'}",
    )


def unreadable(where: str, fault: BaseException) -> DataError:
    """Turn a reader's fault into one clear line."""
    text = first_line(fault)
    if "must end with PAR1" in text or "out of specification" in text.lower() or "parquet" in text.lower():
        return DataError(
            f"{where}: not a whole Parquet file; it was cut short or is something else.", "Write it again."
        )
    if isinstance(fault, pl.exceptions.NoDataError):
        return DataError(f"{where}: the file is empty.", "Write it again, or give another uri.")
    if "more fields than defined" in text:
        return DataError(f"{where}: a line has more values than the header has columns.", "Fix that line.")
    return DataError(f"{where}: cannot be read: {text}.")


def first_line(fault: BaseException) -> str:
    """The first line of a fault's message, without its full stop."""
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0].rstrip(".: ")


def _with_nearest(column: str, actual: list[str]) -> str:
    near = difflib.get_close_matches(column, actual, n=1, cutoff=0.6)
    return f"{column!r} (did you mean {near[0]!r}?)" if near else repr(column)
