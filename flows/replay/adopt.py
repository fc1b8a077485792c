"""Making a replay's end the live state: its rows, records and models are copied, life must be empty."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import insert, select

from homeostat.boundaries import commit
from homeostat.errors import HomeostatError
from homeostat.flows.locks import claim
from homeostat.flows.loop import Loop, open_loop
from homeostat.lake import TABLES
from homeostat.records import Role, Scope
from homeostat.registry.models import CHALLENGER, CHAMPION, PREVIOUS
from homeostat.store.schema import Base, LeaseRow, ModelRow

STEP = "adopt"


def adopt_replay(folder: Path) -> None:
    """Copy what a replay left into the empty live state. Raises HomeostatError where life has begun.

    The records come last, in one transaction: until then life is empty, and a killed adoption is done again.
    """
    with claim(folder, Scope.LIVE) as target:
        source = open_loop(folder, Scope.REPLAY)
        if target.store.list_batches():
            raise HomeostatError(
                f"{target.paths.root}: there is a live state already.", "Move it away before a replay is adopted."
            )
        target.models.copy_from(source.models)
        _copy_rows(source, target)
        _point_aliases(source, target)
        _copy_records(source, target)


def _copy_rows(source: Loop, target: Loop) -> None:
    for table in TABLES:
        rows = source.lake.read(table)
        if rows is not None:
            target.lake.append(table, rows, STEP, table)


def _point_aliases(source: Loop, target: Loop) -> None:
    for alias in (CHAMPION, CHALLENGER, PREVIOUS):
        version = source.models.get_alias(alias)
        if version is not None:
            target.models.set_alias(alias, version)
    head = source.store.journal_head()
    if head is not None:
        target.models.anchor(head)


def _copy_records(source: Loop, target: Loop) -> None:
    """Copy every record but leases and the baseline: life keeps no first model for ever."""
    with (
        commit("store.adopt"),
        source.store.engine.connect() as reading,
        target.store.engine.begin() as writing,
    ):
        for table in Base.metadata.sorted_tables:
            if table.name == LeaseRow.__tablename__:
                continue
            kept = reading.execute(select(table).where(table.c.owner == source.store.owner)).mappings()
            rows = [{**row, "owner": target.store.owner} for row in kept if row.get("name") != Role.BASELINE.value]
            if table.name == ModelRow.__tablename__:
                rows = [{**row, "run_id": target.models.describe(row["version"]).run_id} for row in rows]
            if rows:
                writing.execute(insert(table), rows)
