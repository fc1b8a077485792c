"""Connecting to the store: SQLite in WAL mode or PostgreSQL, migrated to the schema this version needs."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from homeostat.errors import StoreError, is_disk_full
from homeostat.records import Document

_MIGRATION_LOCK = 7_236_001
_MIGRATIONS = Path(__file__).parent / "migrations"
_FORMS = "Expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:5432/DATABASE, its parts URL-encoded."


def connect(url: str, *, durable: bool = False) -> Engine:
    """Open the store at a SQLAlchemy URL, making and migrating it as needed. Raises StoreError.

    `durable` makes SQLite wait for the disk at every commit; PostgreSQL does so by itself.
    """
    parsed = _parsed(url)
    try:
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
        if engine.dialect.name == "sqlite":
            _prepare_sqlite(engine, "FULL" if durable else "NORMAL")
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
        raise StoreError("HOMEOSTAT_STORE_URL: not a SQLAlchemy URL, or its port is not a number.", _FORMS) from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise StoreError(f"HOMEOSTAT_STORE_URL: a store cannot be kept by {parsed.drivername!r}.", _FORMS)
    return parsed


def _prepare_sqlite(engine: Engine, synchronous: str) -> None:
    """A writer must hold the lock from its first statement: a deferred BEGIN forks the journal or fails busy."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "busy_timeout=60000", f"synchronous={synchronous}", "foreign_keys=ON"):
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

    lock_writers(connection, _MIGRATION_LOCK)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection).get_current_revision()
    scripts = _scripts()
    if current == scripts.get_current_head():
        return
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(f"the store is at schema {current}, which this version does not know.", "Update Homeostat.")
    command.upgrade(config, "head")


def _scripts() -> Any:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(_MIGRATIONS))


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
    lines = str(getattr(fault, "orig", None) or fault).strip().splitlines() or [type(fault).__name__]
    return re.sub(r"[^\s'\"]*@", "***@", lines[0]).rstrip(".")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a store stands: `shown` is its address without secrets; `revision` is None where there is none yet.

    `clock` is the database's own time where it is a server, `journal` the journal mode where it is SQLite, `writable`
    whether what is wanted of it may be done there.
    """

    shown: str
    exists: bool
    revision: str | None
    wanted: str
    known: frozenset[str]
    journal: str | None = None
    clock: datetime | None = None
    writable: bool = True


def look_at(url: str, seconds: int = 3) -> Standing:
    """How the store at a URL stands; makes and migrates nothing. Raises StoreError where it cannot be reached."""
    parsed = _parsed(url)
    scripts = _scripts()
    wanted, known = str(scripts.get_current_head()), frozenset(script.revision for script in scripts.walk_revisions())
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and not (parsed.database and Path(parsed.database).exists()):
        return Standing(_shown(parsed), False, None, wanted, known)
    try:
        state = _look_into_file(parsed) if sqlite else _look_into_server(parsed, seconds)
    except (ModuleNotFoundError, SQLAlchemyError, OSError, sqlite3.Error) as fault:
        raise StoreError(f"the store at {_shown(parsed)} cannot be reached: {first_line(fault)}.") from None
    return Standing(_shown(parsed), True, wanted=wanted, known=known, **state)


def _look_into_file(parsed: URL) -> Document:
    file = Path(str(parsed.database))
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        revision = None
        if "alembic_version" in tables:
            revision = (database.execute("SELECT version_num FROM alembic_version").fetchone() or [None])[0]
        journal = str(database.execute("PRAGMA journal_mode").fetchone()[0])
    return {"revision": revision, "journal": journal, "writable": os.access(file, os.W_OK)}


def _look_into_server(parsed: URL, seconds: int) -> Document:
    options = {"connect_timeout": seconds, "options": f"-c statement_timeout={seconds * 1000}"}
    engine = create_engine(parsed, connect_args=options, poolclass=NullPool)
    with engine.connect() as connection:
        state = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar()
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if state else None
        may = connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")).scalar()
        readonly = connection.execute(text("SELECT pg_is_in_recovery()")).scalar()
        clock = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return {"revision": revision, "writable": bool(may) and not readonly, "clock": clock}
