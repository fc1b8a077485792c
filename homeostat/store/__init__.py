"""The store: batches, windows, checks, decisions, alerts and the journal, in SQLite or PostgreSQL."""

from homeostat.store.store import Store
from homeostat.store.writer import Writer

__all__ = ["Store", "Writer"]
