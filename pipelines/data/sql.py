"""Tables of any database that SQLAlchemy reaches, with the bound on time pushed down to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.pool import NullPool

from homeostat.errors import DataError
from homeostat.pipelines.data.files import Files
from homeostat.pipelines.data.tables import first_line
from homeostat.sections.data import Source

_SLACK = timedelta(days=2)


@dataclass(frozen=True)
class SqlTable:
    """A table or a query of a database. `where` names it without its password."""

    where: str
    engine: sa.Engine
    rows: sa.FromClause
    columns: list[str] = field(default_factory=list)

    def read(
        self, columns: list[str], time: str | None = None, low: datetime | None = None, high: datetime | None = None
    ) -> pl.DataFrame:
        """Read some columns of at least the rows whose `time` lies in [low, high). Raises DataError."""
        query = sa.select(*(sa.column(name) for name in columns)).select_from(self.rows)
        with _in_one_line(self.where, self.engine.url), self.engine.connect() as connection:
            if time is not None:
                query = self._bounded(query, connection, time, low, high)
            rows = connection.execute(query).fetchall()
        return pl.DataFrame([_series(name, [row[i] for row in rows]) for i, name in enumerate(columns)])

    def _bounded(
        self, query: sa.Select[Any], connection: sa.Connection, time: str, low: datetime | None, high: datetime | None
    ) -> sa.Select[Any]:
        column = sa.column(time)
        probe = sa.select(column).select_from(self.rows).where(column.is_not(None)).limit(1)
        shown = connection.execute(probe).scalar()
        if low is not None and (bound := _like(shown, low - _SLACK)) is not None:
            query = query.where(column >= bound)
        if high is not None and not isinstance(shown, str) and (bound := _like(shown, high + _SLACK)) is not None:
            query = query.where(sa.or_(column < bound, column.is_(None)) if low is None else column < bound)
        return query


class Databases:
    """Tables and queries of any database that SQLAlchemy reaches."""

    def takes(self, uri: str) -> bool:
        """Whether the address has a scheme that does not name files."""
        return "://" in uri and not Files().takes(uri)

    def open(self, source: Source, folder: Path) -> SqlTable:
        """Open the table or the query of a source. Raises DataError."""
        return open_sql(source.uri or "", source.table, source.query, folder)


def open_sql(uri: str, table: str | None, query: str | None, folder: Path) -> SqlTable:
    """Open a table (`schema.table` too) or a query at a SQLAlchemy URL; SQLite paths are relative to `folder`.

    Raises DataError, in one line and without the password, where it cannot be reached or is not there.
    """
    try:
        url = sa.make_url(uri)
    except exc.ArgumentError:
        raise DataError("uri: not a path and not a SQLAlchemy URL.", "A URL is like postgresql://host/base.") from None
    where = url.render_as_string(hide_password=True)
    if (table is None) == (query is None):
        raise DataError(f"{where}: a database needs a table or a query, one of the two.")
    with _in_one_line(where, url):
        engine = sa.create_engine(_settle(url, folder), poolclass=NullPool)
    rows = _table(table) if table else sa.text((query or "").strip().rstrip(";")).columns().subquery("source")
    where = f"{where} {table}" if table else f"{where} (query)"
    with _in_one_line(where, url), engine.connect() as connection:
        head = connection.execute(sa.select(sa.text("*")).select_from(rows).limit(0))
        return SqlTable(where, engine, rows, list(head.keys()))


def _table(name: str) -> sa.TableClause:
    schema, _, table = name.rpartition(".")
    return sa.table(table, schema=schema or None)


def _settle(url: sa.URL, folder: Path) -> sa.URL:
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return url
    file = folder / url.database
    if not file.is_file():
        raise DataError(f"{file}: no such SQLite file.", "Check the uri in the project file.")
    return url.set(database=str(file))


@contextmanager
def _in_one_line(where: str, url: sa.URL) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as fault:
        raise DataError(f"{where}: the driver {fault.name!r} is not installed.", "Install it with pip.") from None
    except exc.NoSuchModuleError:
        raise DataError(f"{where}: SQLAlchemy knows no database of this kind.", "Check the uri.") from None
    except exc.SQLAlchemyError as fault:
        line = first_line(getattr(fault, "orig", None) or fault)
        secret = url.password and str(url.password)
        line = line.replace(secret, "***") if secret else line
        raise DataError(f"{where}: the database says: {line}.", "Check uri, table and query.") from None


def _like(shown: object, at: datetime) -> datetime | date | str | None:
    """The bound in the form the column's values have; None where that is not known."""
    if isinstance(shown, datetime):
        return at.astimezone(UTC) if shown.tzinfo else at.astimezone(UTC).replace(tzinfo=None)
    if isinstance(shown, date):
        return at.astimezone(UTC).date()
    return f"{at.astimezone(UTC):%Y-%m-%d}" if isinstance(shown, str) else None


def _series(name: str, values: Sequence[object]) -> pl.Series:
    aware = next((v for v in values if isinstance(v, datetime)), None)
    if aware is not None and aware.tzinfo is not None:
        values = [v.astimezone(UTC) if isinstance(v, datetime) else v for v in values]
    try:
        return pl.Series(name, values)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)
