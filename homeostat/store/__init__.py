"""The store: batches, windows, checks, decisions, alerts and the journal, in SQLite or PostgreSQL."""

from homeostat.store.store import Store, Writer

__all__ = ["Store", "Writer"]
