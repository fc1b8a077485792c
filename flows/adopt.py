"""Making a replay's end the live state: its rows, records and models are copied, life must be empty."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import insert, select

from flows.loop import Loop, open_loop
from flows.replay import exclusive
from homeostat.errors import HomeostatError
from homeostat.lake import TABLES
from homeostat.project import load_project
from homeostat.records import Role, Scope
from homeostat.settings import find_house
from homeostat.store.schema import Base

STEP = "adopt"


def adopt_replay(folder: Path) -> None:
    """Copy what a replay left into the empty live state. Raises HomeostatError where life has begun."""
    project = load_project(folder)
    with exclusive(find_house(project, Scope.LIVE).root, f"a tick of {project.name!r}"):
        source, target = open_loop(folder, Scope.REPLAY), open_loop(folder, Scope.LIVE)
        if target.store.list_batches():
            raise HomeostatError(
                f"{target.house.root}: there is a live state already.", "Move it away before a replay is adopted."
            )
        target.models.copy_from(source.models)
        _copy_rows(source, target)
        _copy_records(source, target)
        _point_aliases(target)


def _copy_rows(source: Loop, target: Loop) -> None:
    for table in TABLES:
        rows = source.lake.read(table)
        if rows is not None:
            target.lake.append(table, rows, STEP, table)


def _copy_records(source: Loop, target: Loop) -> None:
    with source.store.engine.connect() as reading, target.store.engine.begin() as writing:
        for table in Base.metadata.sorted_tables:
            found = reading.execute(select(table).where(table.c.owner == source.store.owner)).mappings()
            rows = [{**row, "owner": target.store.owner} for row in found]
            if rows:
                writing.execute(insert(table), rows)


def _point_aliases(target: Loop) -> None:
    champion = target.version_of(Role.CHAMPION.value)
    if champion is not None:
        target.models.set_alias("champion", champion)
        head = target.store.journal_head()
        if head is not None:
            target.models.anchor(head)
    with target.store.write("adopted") as write:
        write.drop_fact(Role.BASELINE.value)
