"""Connecting to the store: SQLite in WAL mode or PostgreSQL, migrated to the schema this version needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from homeostat.errors import StoreError, is_disk_full

_MIGRATION_LOCK = 7_236_001
_FORMS = "Expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:5432/DATABASE, its parts URL-encoded."


def connect(url: str) -> Engine:
    """Open the store at a SQLAlchemy URL, making and migrating it as needed. Raises StoreError."""
    parsed = _parsed(url)
    try:
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
        if engine.dialect.name == "sqlite":
            _prepare_sqlite(engine)
        with engine.begin() as connection:
            _migrate(connection)
    except (ModuleNotFoundError, SQLAlchemyError, OSError) as fault:
        full = is_disk_full(fault)
        hint = "Make room, then run it again." if full else "Check HOMEOSTAT_STORE_URL, and that the database runs."
        raise StoreError(f"the store at {_shown(parsed)} cannot be opened: {first_line(fault)}.", hint) from None
    return engine


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError("HOMEOSTAT_STORE_URL: not a SQLAlchemy URL, or its port is no number.", _FORMS) from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise StoreError(f"HOMEOSTAT_STORE_URL: a store cannot be kept by {parsed.drivername!r}.", _FORMS)
    return parsed


def _prepare_sqlite(engine: Engine) -> None:
    """A writer must hold the lock from its first statement: a deferred BEGIN forks the journal or fails busy."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "busy_timeout=60000", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        readonly = connection.get_execution_options().get("readonly")
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")


def lock_writers(connection: Connection, number: int) -> None:
    """Let one writer in at a time until its transaction ends; SQLite's BEGIN IMMEDIATE has done so already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    lock_writers(connection, _MIGRATION_LOCK)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(config)
    if current == scripts.get_current_head():
        return
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(f"the store is at schema {current}, which this version does not know.", "Update Homeostat.")
    command.upgrade(config, "head")


def _shown(url: URL) -> str:
    """A URL without its user, password and options; a password with a bare @ in it reaches into the host."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database or ''}"
    port = f":{url.port}" if url.port else ""
    return f"{url.drivername}://{(url.host or '').rpartition('@')[2]}{port}/{url.database or ''}"


def first_line(fault: Exception) -> str:
    """What a database said, in a line, without what a bare @ in a password may have let into it."""
    if is_disk_full(fault):
        return "no space is left on the disk"
    said = str(getattr(fault, "orig", None) or fault).strip().splitlines() or [type(fault).__name__]
    return re.sub(r"[^\s'\"]*@", "***@", said[0]).rstrip(".")
