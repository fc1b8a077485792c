"""Files as a source: CSV and Parquet, on this machine or in an object store, read lazily."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from homeostat.errors import DataError
from homeostat.pipelines.data.tables import FrameTable, Stamp, unreadable
from homeostat.sections.data import Source

CLOUD = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://", "https://", "http://")


class Files:
    """CSV and Parquet: a path, a folder, a glob or an address of an object store."""

    def takes(self, uri: str) -> bool:
        """Whether the address names files: a path, or a scheme under which files lie."""
        return "://" not in uri or uri.startswith((*CLOUD, "file://"))

    def open(self, source: Source, folder: Path) -> FrameTable:
        """Open the files of a source. Raises DataError."""
        return open_file(source.uri or "", folder)


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
    return FrameTable(where, frame, schema, csv, () if cloud else _stamp(paths))


def _stamp(paths: list[str]) -> Stamp:
    return tuple((path, Path(path).stat().st_mtime_ns, Path(path).stat().st_size) for path in paths)


def _find(uri: str, folder: Path) -> list[str]:
    path = folder / Path(uri.removeprefix("file://"))
    if path.is_dir():
        for ending in ("*.parquet", "*.csv"):
            if paths := sorted(str(file) for file in path.glob(ending)):
                return paths
        raise DataError(f"{path}: no .parquet or .csv file in this folder.")
    if path.is_file():
        return [str(path)]
    if not any(sign in uri for sign in "*?["):
        raise DataError(f"{path}: no such file.", "Check the uri in the project file.")
    root = Path(path.absolute().anchor)
    pattern = str(path.absolute().relative_to(root))
    if paths := sorted(str(file) for file in root.glob(pattern) if file.is_file()):
        return paths
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
