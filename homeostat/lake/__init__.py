"""The lake: append-only, bitemporal Delta tables, each batch appended exactly once."""

from homeostat.lake.probing import probe
from homeostat.lake.tables import KNOWN_AT, ORDER, TABLES, Lake

__all__ = ["KNOWN_AT", "ORDER", "TABLES", "Lake", "probe"]
