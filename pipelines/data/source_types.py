"""Source types: what opens the address of a source. A package adds its own to `SOURCE_TYPES`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from homeostat.errors import HomeostatError
from homeostat.extensions import Extensions
from homeostat.pipelines.data.files import Files
from homeostat.pipelines.data.sql import Databases
from homeostat.pipelines.data.tables import Table, unreadable
from homeostat.sections.data import Source


class SourceType(Protocol):
    """One kind of address that `uri` may hold, under `[data.inputs]` or `[data.feedback]`."""

    def takes(self, uri: str) -> bool:
        """Whether an address is of this kind; only the text is looked at."""
        ...

    def open(self, source: Source, folder: Path) -> Table:
        """Open a source whose `uri` this type takes; paths are relative to `folder`, the project's.

        Raises DataError, in one line and without a password, where it is not there or cannot be read.
        """
        ...


SOURCE_TYPES: Extensions[SourceType] = Extensions("source type")
SOURCE_TYPES.add("files", Files())
SOURCE_TYPES.add("database", Databases())


def open_address(source: Source, folder: Path) -> Table:
    """Open a source by its `uri`; of the types that take it, the one added last does. Raises DataError."""
    uri = source.uri or ""
    name, kind = next((name, kind) for name, kind in reversed(list(SOURCE_TYPES.items())) if kind.takes(uri))
    try:
        return kind.open(source, folder)
    except HomeostatError:
        raise
    except Exception as fault:
        raise unreadable(f"source type {name!r}", fault) from fault
