"""Delta tables as the lake opens and feeds them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl

from homeostat.errors import is_disk_full

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable


@cache
def folder_table() -> type[DeltaTable]:
    """A DeltaTable of a local folder whose file names are as they are on the disk.

    deltalake names them as in an URL, and polars opens what it is told: a folder with a space was not found.
    """
    from deltalake import DeltaTable

    class FolderTable(DeltaTable):
        def file_uris(self, *args: Any, **kwargs: Any) -> list[str]:
            return [unquote(uri) for uri in super().file_uris(*args, **kwargs)]

    return FolderTable


def storage_options() -> dict[str, str]:
    """What an object store is opened with: the environment's AWS_ variables."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def marked(handle: DeltaTable, transaction: str) -> bool:
    """Whether a transaction is in a table."""
    return handle.transaction_version(transaction) is not None


def reason(fault: BaseException) -> str:
    """What a fault says, in a line."""
    if is_disk_full(fault):
        return "no space is left on the disk"
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0].rstrip(".")[:300]


def reader(frames: Iterable[pl.DataFrame], broken: list[Exception]) -> pa.RecordBatchReader | None:
    """Read frames one by one; a fault of theirs is kept in `broken`, for Arrow passes on its text alone."""
    import pyarrow as pa

    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        return None
    schema = first.to_arrow().schema

    def batches() -> Iterator[pa.RecordBatch]:
        yield from first.to_arrow().to_batches()
        try:
            for frame in iterator:
                yield from frame.to_arrow().cast(schema).to_batches()
        except Exception as fault:
            broken.append(fault)
            raise

    return pa.RecordBatchReader.from_batches(schema, batches())
