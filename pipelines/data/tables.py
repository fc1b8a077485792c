"""What a source's address opens: files read lazily, or the frame a hook returned. Databases: the module `sql`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from homeostat.errors import DataError, ProjectError
from homeostat.pipelines.data.times import roughly_within

CLOUD = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://", "https://", "http://")
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
    stamp: tuple[Any, ...] = ()

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


def open_file(uri: str, folder: Path) -> FrameTable:
    """Open a CSV or Parquet path, folder or glob, relative to `folder`, absolute or in an object store.

    CSV columns are text; in Parquet they have their own types. Raises DataError where nothing is there, a
    file is empty or it cannot be read.
    """
    cloud = uri.startswith(CLOUD)
    paths = [uri] if cloud else _find(uri, folder)
    if not cloud and (empty := [path for path in paths if Path(path).stat().st_size == 0]):
        raise DataError(f"{empty[0]}: the file is empty.", "Write it again, or give another uri.")
    where = uri if cloud or len(paths) > 1 else paths[0]
    csv = not _is_parquet(paths[0], cloud)
    try:
        frame = _scan_csv(paths) if csv else pl.scan_parquet(paths, glob=cloud)
        schema = frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as fault:
        raise unreadable(where, fault) from fault
    stamp = () if cloud else tuple((path, Path(path).stat().st_mtime_ns, Path(path).stat().st_size) for path in paths)
    return FrameTable(where, frame, schema, csv, stamp)


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


def type_text(table: FrameTable, columns: Iterable[str], floats: Iterable[str] = ()) -> dict[str, pl.DataType]:
    """Say which text columns of a CSV hold, as a whole, integers or booleans; of `floats`, also numbers.

    Only what keeps its meaning counts: "007" stays text, while a column of "3.0" holds integers. Columns that
    stay text are left out. One pass over the file, remembered until the file changes.
    """
    key = (table.stamp, tuple(sorted(columns)), tuple(sorted(floats)))
    if not table.stamp:
        return _type_text(table, *key[1:])
    if key not in _typed:
        if len(_typed) >= 64:
            _typed.clear()
        _typed[key] = _type_text(table, *key[1:])
    return dict(_typed[key])


_typed: dict[Any, dict[str, pl.DataType]] = {}
_FORMS: dict[str, tuple[pl.DataType, str]] = {
    "whole": (pl.Int64(), r"^(?:0|-?[1-9]\d{0,17}|-?[1-9]\d{0,14}\.0+|-?0\.0+)$"),
    "float": (pl.Float64(), r"^-?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$"),
    "bool": (pl.Boolean(), r"^(?:[Tt]rue|[Ff]alse|TRUE|FALSE)$"),
}


def _type_text(table: FrameTable, columns: tuple[str, ...], floats: tuple[str, ...]) -> dict[str, pl.DataType]:
    tried = [(c, form) for c in columns for form in _FORMS if form != "float" or c in floats]
    checks = [
        (pl.col(c).str.contains(_FORMS[form][1]).all() & (pl.col(c).count() > 0)).alias(f"{form} {c}")
        for c, form in tried
    ]
    if not checks:
        return {}
    try:
        found = table.frame.select(checks).collect().row(0, named=True)
    except (pl.exceptions.PolarsError, OSError) as fault:
        raise unreadable(table.where, fault) from fault
    return {c: _FORMS[form][0] for c, form in reversed(tried) if found[f"{form} {c}"]}


def read_typed(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Turn text that `type_text` found to hold a type into that type."""
    if dtype == pl.Boolean:
        return text.str.to_lowercase() == "true"
    return text.str.replace(r"\.0+$", "").cast(dtype) if dtype == pl.Int64 else text.cast(dtype)


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
        return DataError(f"{where}: a line has more values than the header has columns.", "Mend that line.")
    return DataError(f"{where}: cannot be read: {text}.")


def first_line(fault: BaseException) -> str:
    """The first line of a fault's message, without its full stop."""
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0].rstrip(".: ")


def _find(uri: str, folder: Path) -> list[str]:
    path = folder / Path(uri.removeprefix("file://"))
    if path.is_dir():
        for ending in ("*.parquet", "*.csv"):
            if found := sorted(str(file) for file in path.glob(ending)):
                return found
        raise DataError(f"{path}: no .parquet or .csv file in this folder.")
    if path.is_file():
        return [str(path)]
    if not any(sign in uri for sign in "*?["):
        raise DataError(f"{path}: no such file.", "Check the uri in the project file.")
    root = Path(path.absolute().anchor)
    pattern = str(path.absolute().relative_to(root))
    if found := sorted(str(file) for file in root.glob(pattern) if file.is_file()):
        return found
    raise DataError(f"{path}: no file matches.", "Check the uri in the project file.")


def _is_parquet(path: str, cloud: bool) -> bool:
    ending = path.lower().rsplit(".", 1)[-1]
    if cloud or ending in ("parquet", "pq", "csv", "tsv", "txt"):
        return ending not in ("csv", "tsv", "txt", "gz")
    with Path(path).open("rb") as file:
        return file.read(4) == b"PAR1"


def _scan_csv(paths: list[str]) -> pl.LazyFrame:
    tab = "\t" if paths[0].lower().endswith((".tsv", ".tsv.gz")) else ","
    return pl.scan_csv(paths, infer_schema=False, separator=tab, glob=paths[0].startswith(CLOUD))


def _with_nearest(column: str, actual: list[str]) -> str:
    near = difflib.get_close_matches(column, actual, n=1, cutoff=0.6)
    return f"{column!r} (did you mean {near[0]!r}?)" if near else repr(column)
