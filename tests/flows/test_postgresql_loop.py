"""The whole loop on PostgreSQL: the same predictions and decisions as on SQLite."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import START, small_project

from homeostat.durations import instant
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.stages.sequence import due_slots, run_tick
from homeostat.records import Scope

TICKS = 3


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    forget_open_loops()


def live_for_some_ticks(folder: Path) -> Loop:
    """Run a small project live, tick by tick."""
    small_project(folder, extra="[gates]\nmin_rows = 20\n[retraining]\npolicy = 'every_tick'")
    for index in range(TICKS):
        run_tick(folder, Scope.LIVE.value, instant(START + index * timedelta(days=1)))
    return open_loop(folder, Scope.LIVE)


def what_it_did(loop: Loop) -> dict[str, Any]:
    """All that a loop keeps, run ids and costs in seconds aside."""
    store = loop.store
    predictions = loop.lake.read("predictions")
    assert predictions is not None and predictions.height
    return {
        "predictions": predictions.sort("id", "scored_at").rows(),
        "batches": store.list_batches(),
        "windows": store.list_windows(),
        "decisions": store.list_decisions(),
        "checks": [dataclasses.replace(check, run_id=None) for check in store.list_checks()],
        "models": [(m.version, m.key, m.as_of, m.rows, m.reference, m.cost.row_rounds) for m in store.list_models()],
        "alerts": store.list_alerts(),
        "journal": [(e.seq, e.at, e.key, e.kind) for e in store.list_journal()],
    }


def test_a_loop_on_postgresql_does_what_it_does_on_sqlite(
    tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOMEOSTAT_STORE_URL", raising=False)
    on_sqlite = live_for_some_ticks(tmp_path / "sqlite")
    monkeypatch.setenv("HOMEOSTAT_STORE_URL", postgresql_url)
    on_postgresql = live_for_some_ticks(tmp_path / "postgresql")
    assert on_postgresql.store.engine.dialect.name == "postgresql"
    assert not list((tmp_path / "postgresql").rglob("store.db"))
    did, expected = what_it_did(on_postgresql), what_it_did(on_sqlite)
    for what in expected:
        assert did[what] == expected[what], what
    assert len(expected["models"]) > 1 and expected["windows"]
    assert on_postgresql.store.verify_journal(on_postgresql.store.journal_head()).sound
    next_slot = START + TICKS * timedelta(days=1)
    assert due_slots(tmp_path / "postgresql", next_slot) == [instant(next_slot)]
