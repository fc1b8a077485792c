"""The lake: append-only, bitemporal Delta tables, each batch appended exactly once.

An append carries an application transaction in the Delta commit itself, checked and written through one table
object (Delta protocol, "Transaction Identifiers"), so a step that is killed, retried or run twice at the same time
writes its rows once. Reads take `as_of`: what was known by then, no more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from filelock import FileLock

from homeostat.boundaries import commit
from homeostat.errors import LakeError
from homeostat.lake.delta import folder_table, marked, reader, reason, storage_options

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

TABLES = ("inputs", "predictions", "feedback", "quarantine")
KNOWN_AT = {
    "inputs": "known_at",
    "feedback": "ingested_at",
    "predictions": "scored_at",
    "quarantine": "quarantined_at",
}
ORDER: dict[str, tuple[str | pl.Expr, ...]] = {
    "inputs": ("known_at", "event_at"),
    "feedback": (pl.col("provenance") != "programmatic", "ingested_at", "known_at"),
}
"""By what the rows of a key are ordered: the last one counts."""
# Every read opens every small file, so a tick would cost more the more ticks there were. A merged file is left alone
# once it has its size, or each merge would write the whole table anew.
COMPACT_EVERY, COMPACT_BYTES = 20, 8 * 2**20
ROWS_A_CHUNK = 100_000
_MEND = "Mend access to it, or put it back from a copy."
log = logging.getLogger("homeostat.lake")


class Lake:
    """The tables of one project in one scope, under `uri` (a folder or an object store address)."""

    def __init__(self, uri: str, project: str) -> None:
        self.uri = uri
        self.project = project
        self._open: dict[str, DeltaTable] = {}

    def append(self, table: str, rows: pl.DataFrame | Iterable[pl.DataFrame], step: str, batch: str) -> bool:
        """Append rows as the transaction (project, step, batch); False where it had been appended before.

        An iterable of frames is streamed into one commit, so memory is bounded by a frame. Raises LakeError.
        """
        transaction = f"{self.project}/{step}/{batch}"
        hint = "Nothing of this step was kept; make room or mend access, then run it again."
        with commit(f"lake.{step}"), self._faults(table, "written", hint):
            written = self._append(table, rows, transaction)
        if written:
            self._compact(table)
        return written

    def appended(self, table: str, step: str, batch: str) -> bool:
        """Whether the transaction (project, step, batch) is in the table. Raises LakeError."""
        handle = self._opened(table)
        return handle is not None and marked(handle, f"{self.project}/{step}/{batch}")

    def scan(self, table: str, as_of: datetime | None = None) -> pl.LazyFrame | None:
        """A lazy frame over what was known by `as_of` (everything without it); None where there is no table yet.

        Collect it with `collect`, which tells a table that cannot be read as LakeError.
        """
        handle = self._opened(table)
        if handle is None:
            return None
        frame = pl.scan_delta(handle)
        return frame if as_of is None else frame.filter(pl.col(KNOWN_AT[table]) <= as_of.astimezone(UTC))

    def latest(
        self,
        table: str,
        key: str,
        as_of: datetime,
        where: pl.Expr | None = None,
        keys: pl.Series | None = None,
    ) -> pl.DataFrame | None:
        """The row that counts for each key at `as_of`: the one that the lake took in last. Sorted by key.

        Of what it took in together the one that is dated last counts, and a label by rule only where there is no other.
        A key whose last label was withdrawn has none.
        """
        rows = self.scan(table, as_of)
        if rows is None:
            return None
        if table == "feedback":
            rows = rows.filter(pl.col("known_at") <= as_of.astimezone(UTC))
        if where is not None:
            rows = rows.filter(where)
        if keys is not None:
            # The files' own statistics tell which of them can hold such keys; the join alone would read them all.
            first, last = (pl.lit(end, dtype=keys.dtype) for end in (keys.min(), keys.max()))
            rows = rows.filter(pl.col(key).is_between(first, last))
            rows = rows.join(keys.unique().to_frame(key).lazy(), on=key, how="semi")
        matching = self.collect(table, rows)
        last = matching.sort(key, *ORDER[table], maintain_order=True).unique(key, keep="last", maintain_order=True)
        return last.filter(pl.col("label").is_not_null()) if table == "feedback" else last

    def read(self, table: str, where: pl.Expr | None = None, columns: list[str] | None = None) -> pl.DataFrame | None:
        """Rows of a table, all columns unless `columns` names some; None where there is no table yet."""
        rows = self.scan(table)
        if rows is None:
            return None
        if where is not None:
            rows = rows.filter(where)
        return self.collect(table, rows if columns is None else rows.select(columns))

    def stream(self, table: str, where: pl.Expr) -> Iterator[pl.DataFrame]:
        """Rows of a table in frames of at most about a hundred thousand, in the order of the files."""
        rows = self.scan(table)
        if rows is None:
            return
        rows = rows.filter(where)
        left = self.collect(table, rows.select(pl.len())).item()
        with self._faults(table, "read"):
            for chunk in rows.collect_batches(chunk_size=ROWS_A_CHUNK, maintain_order=True):
                left -= chunk.height
                if chunk.height:
                    yield chunk
            # A file that is cut short ends a stream of batches without a word.
            if left:
                raise OSError(f"{left} rows are missing")

    def collect(self, table: str, rows: pl.LazyFrame) -> pl.DataFrame:
        """Collect a lazy frame that was made from `scan`. Raises LakeError."""
        with self._faults(table, "read"):
            return rows.collect()

    def schema(self, table: str) -> pl.Schema | None:
        """Column types of a table as polars reads them; None where there is no table yet."""
        rows = self.scan(table)
        return None if rows is None else rows.collect_schema()

    def versions(self) -> dict[str, int]:
        """The Delta version each existing table is at."""
        handles = {table: self._opened(table) for table in TABLES}
        return {table: handle.version() for table, handle in handles.items() if handle is not None}

    @contextmanager
    def _faults(self, table: str, verb: str, hint: str = _MEND) -> Iterator[None]:
        """Tell what Delta and polars say of a table in one line; deltalake raises bare Exceptions too."""
        from deltalake.exceptions import DeltaError

        try:
            yield
        except (Exception, pl.exceptions.PanicException) as fault:
            known = (OSError, DeltaError, pl.exceptions.ComputeError, pl.exceptions.PanicException)
            if not isinstance(fault, known) and type(fault) is not Exception:
                raise
            self._open.pop(table, None)
            message = f"the lake table {table!r} under {self.uri} cannot be {verb}: {reason(fault)}."
            raise LakeError(message, hint) from fault

    def _append(self, table: str, rows: pl.DataFrame | Iterable[pl.DataFrame], transaction: str) -> bool:
        from deltalake import CommitProperties, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError

        broken: list[Exception] = []
        marker = CommitProperties(app_transactions=[Transaction(transaction, 1)])
        handle = self._handle(table)
        if handle is not None and marked(handle, transaction):
            return False
        data = rows.to_arrow() if isinstance(rows, pl.DataFrame) else reader(rows, broken)
        if data is None:
            return False
        if handle is None:
            handle = self._create(table, data.schema)
            if marked(handle, transaction):
                return False
        try:
            write_deltalake(handle, data, mode="append", schema_mode="merge", commit_properties=marker)
        except CommitFailedError:
            self._open.pop(table, None)
            if self.appended(table, *transaction.split("/", 2)[1:]):
                return False
            raise
        except Exception:
            if broken:
                raise broken[0] from None
            raise
        return True

    def _create(self, table: str, schema: pa.Schema) -> DeltaTable:
        """Make an empty table before its first append, which must go through a table object as any other."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        with ExitStack() as stack:
            if "://" not in self.uri:
                Path(self.uri).mkdir(parents=True, exist_ok=True)
                # Of two made at once the second counts as a change of the first, which fails the append of a third.
                stack.enter_context(FileLock(Path(self.uri) / f".{table}.lock"))
            try:
                if self._handle(table) is None:
                    DeltaTable.create(self._path(table), schema, storage_options=storage_options())
            except DeltaError:
                if self._handle(table) is None:
                    raise
            handle = self._handle(table)
            assert handle is not None
            return handle

    def _compact(self, table: str) -> None:
        """Merge small files now and then; where that fails the rows are kept all the same, and it is tried again."""
        from deltalake.exceptions import DeltaError

        try:
            handle = self._handle(table)
            if handle is not None and handle.version() and handle.version() % COMPACT_EVERY == 0:
                handle.optimize.compact(target_size=COMPACT_BYTES)
                handle.create_checkpoint()
        except (OSError, DeltaError) as fault:
            self._open.pop(table, None)
            log.warning("the lake table %r under %s was not compacted: %s", table, self.uri, reason(fault))

    def _opened(self, table: str) -> DeltaTable | None:
        with self._faults(table, "read"):
            return self._handle(table)

    def _path(self, table: str) -> str:
        return f"{self.uri.rstrip('/')}/{table}"

    def _handle(self, table: str) -> DeltaTable | None:
        from deltalake import DeltaTable

        if table in self._open:
            self._open[table].update_incremental()
            return self._open[table]
        if not DeltaTable.is_deltatable(self._path(table), storage_options=storage_options()):
            return None
        kind = DeltaTable if "://" in self.uri else folder_table()
        self._open[table] = kind(self._path(table), storage_options=storage_options())
        return self._open[table]
