"""Whether a lake can be written where it lies or is to lie."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile
from uuid import uuid4

import polars as pl

from homeostat.errors import LakeError
from homeostat.lake.delta import reason, storage_options


def probe(uri: str) -> str:
    """Write a file where a lake lies or is to lie, and take it away again; where that was. Raises LakeError.

    What is not there yet is not made: of a local lake, the nearest folder above it that exists is tried.
    """
    if "://" not in uri:
        place = next(folder for folder in (Path(uri), *Path(uri).absolute().parents) if folder.exists())
        try:
            with NamedTemporaryFile(dir=place, prefix=".probe-"):
                return str(place)
        except OSError as fault:
            raise LakeError(f"nothing can be written in {place}: {reason(fault)}.") from fault
    name = f".probe-{uuid4().hex}"
    try:
        _probe_bucket(uri, name)
    except (Exception, pl.exceptions.PanicException) as fault:
        raise LakeError(f"nothing can be written under {uri}: {reason(fault)}.") from fault
    return uri


def _probe_bucket(uri: str, name: str) -> None:
    from deltalake.fs import DeltaStorageHandler

    patience = {"timeout": "3s", "connect_timeout": "2s"}
    options = {**storage_options(), **patience}
    where = f"{uri.rstrip('/')}/{name}"
    pl.DataFrame({"probe": [1]}).write_parquet(where, storage_options={**options, "max_retries": 0})
    DeltaStorageHandler(uri, {**options, "max_retries": "0"}).delete_file(name)
