"""The lake: append-only, bitemporal Delta tables, each batch appended exactly once.

An append carries an application transaction in the Delta commit itself, checked and written through one table
object (Delta protocol, "Transaction Identifiers"), so a step that is killed, retried or run twice at the same time
writes its rows once. Reads take `as_of`: what was known by then, no more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from homeostat.boundaries import commit
from homeostat.errors import LakeError

TABLES = ("inputs", "predictions", "feedback", "quarantine")
KNOWN_AT = {
    "inputs": "known_at",
    "feedback": "ingested_at",
    "predictions": "scored_at",
    "quarantine": "quarantined_at",
}
COMPACT_EVERY = 100
ROWS_A_CHUNK = 100_000


class Lake:
    """The tables of one project in one scope, under `uri` (a folder or an object store address)."""

    def __init__(self, uri: str, project: str) -> None:
        self.uri = uri
        self.project = project
        self._open: dict[str, Any] = {}

    def append(self, table: str, rows: pl.DataFrame | Iterable[pl.DataFrame], step: str, batch: str) -> bool:
        """Append rows as the transaction (project, step, batch); False where it had been appended before.

        An iterable of frames is streamed into one commit, so memory is bounded by a frame. Raises LakeError.
        """
        transaction = f"{self.project}/{step}/{batch}"
        with commit(f"lake.{step}"):
            try:
                return self._append(table, rows, transaction)
            except Exception as fault:
                if isinstance(fault, (OSError, _delta_error())):
                    raise LakeError(
                        f"the lake table {table!r} under {self.uri} cannot be written: {_reason(fault)}.",
                        "Nothing of this step was kept; make room or mend access, then run it again.",
                    ) from fault
                raise

    def appended(self, table: str, step: str, batch: str) -> bool:
        """Whether the transaction (project, step, batch) is in the table."""
        handle = self._handle(table)
        return handle is not None and _marked(handle, f"{self.project}/{step}/{batch}")

    def scan(self, table: str, as_of: datetime | None = None) -> pl.LazyFrame | None:
        """A lazy frame over what was known by `as_of` (everything without it); None where there is no table yet."""
        handle = self._handle(table)
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
        """The row that counts for each key at `as_of`: the one known last. Sorted by key."""
        rows = self.scan(table, as_of)
        if rows is None:
            return None
        if table == "feedback":
            rows = rows.filter(pl.col("known_at") <= as_of.astimezone(UTC))
        if where is not None:
            rows = rows.filter(where)
        if keys is not None:
            rows = rows.join(keys.unique().to_frame(key).lazy(), on=key, how="semi")
        found = self._collect(rows, table)
        order = [key, "known_at", KNOWN_AT[table]] if table == "feedback" else [key, "known_at", "event_at"]
        return found.sort(order, maintain_order=True).unique(key, keep="last", maintain_order=True)

    def read(self, table: str, where: pl.Expr | None = None, columns: list[str] | None = None) -> pl.DataFrame | None:
        """Rows of a table, all columns unless `columns` names some; None where there is no table yet."""
        rows = self.scan(table)
        if rows is None:
            return None
        if where is not None:
            rows = rows.filter(where)
        return self._collect(rows if columns is None else rows.select(columns), table)

    def stream(self, table: str, where: pl.Expr) -> Iterator[pl.DataFrame]:
        """Rows of a table in frames of at most about a hundred thousand, in the order of the files."""
        rows = self.scan(table)
        if rows is None:
            return
        for chunk in rows.filter(where).collect_batches(chunk_size=ROWS_A_CHUNK, maintain_order=True):
            if chunk.height:
                yield chunk

    def schema(self, table: str) -> pl.Schema | None:
        """Column types of a table as polars reads them; None where there is no table yet."""
        rows = self.scan(table)
        return None if rows is None else rows.collect_schema()

    def versions(self) -> dict[str, int]:
        """The Delta version each existing table is at."""
        handles = {table: self._handle(table) for table in TABLES}
        return {table: handle.version() for table, handle in handles.items() if handle is not None}

    def _collect(self, rows: pl.LazyFrame, table: str) -> pl.DataFrame:
        try:
            return rows.collect()
        except (OSError, pl.exceptions.ComputeError) as fault:
            raise LakeError(f"the lake table {table!r} under {self.uri} cannot be read: {_reason(fault)}.") from fault

    def _append(self, table: str, rows: pl.DataFrame | Iterable[pl.DataFrame], transaction: str) -> bool:
        from deltalake import CommitProperties, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError

        marker = CommitProperties(app_transactions=[Transaction(transaction, 1)])
        handle = self._handle(table)
        if handle is not None and _marked(handle, transaction):
            return False
        data = rows if isinstance(rows, pl.DataFrame) else _reader(rows)
        if data is None:
            return False
        if handle is None and "://" not in self.uri:
            Path(self.uri).mkdir(parents=True, exist_ok=True)
        target = handle if handle is not None else self._path(table)
        try:
            write_deltalake(target, data, mode="append", schema_mode="merge", commit_properties=marker)
        except CommitFailedError:
            self._open.pop(table, None)
            if self.appended(table, *transaction.split("/", 2)[1:]):
                return False
            raise
        self._compact(table)
        return True

    def _compact(self, table: str) -> None:
        handle = self._handle(table)
        if handle is not None and handle.version() and handle.version() % COMPACT_EVERY == 0:
            handle.optimize.compact()
            handle.create_checkpoint()

    def _path(self, table: str) -> str:
        return f"{self.uri.rstrip('/')}/{table}"

    def _handle(self, table: str) -> Any:
        from deltalake import DeltaTable

        if table in self._open:
            self._open[table].update_incremental()
            return self._open[table]
        if not DeltaTable.is_deltatable(self._path(table), storage_options=_storage_options()):
            return None
        self._open[table] = DeltaTable(self._path(table), storage_options=_storage_options())
        return self._open[table]


def _storage_options() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def _marked(handle: Any, transaction: str) -> bool:
    return handle.transaction_version(transaction) is not None


def _delta_error() -> type[Exception]:
    from deltalake.exceptions import DeltaError

    return DeltaError


def _reason(fault: Exception) -> str:
    text = " ".join(str(fault).split())
    return "no space is left on the device" if "No space left" in text or "os error 28" in text else text[:300]


def _reader(frames: Iterable[pl.DataFrame]) -> Any:
    import pyarrow as pa

    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        return None
    schema = first.to_arrow().schema

    def batches() -> Iterator[pa.RecordBatch]:
        yield from first.to_arrow().to_batches()
        for frame in iterator:
            yield from frame.to_arrow().cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())
