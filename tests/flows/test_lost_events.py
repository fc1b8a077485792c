"""Automations outlive their server, and what nobody heard of while it was down is made good by a sweep."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from conftest import house_at, small_project
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter

from homeostat.flows.events import INPUTS_ARRIVED, LABELS_ARRIVED, announce
from homeostat.flows.loop import open_loop
from homeostat.flows.orchestration.automations import WAKES, automation_name
from homeostat.flows.orchestration.deployments import deploy
from homeostat.flows.orchestration.tick import sweep, tick_due
from homeostat.flows.servers.local import prefect_server
from homeostat.project import load_project
from homeostat.records import Alert, Scope, Severity


def automations_of(project: str) -> dict[str, str]:
    """The ids of a project's automations, by their names."""
    with get_client(sync_client=True) as client:
        names = [automation_name(project, words) for words, _ in WAKES.values()]
        return {name: str(found.id) for name in names for found in client.read_automations_by_name(name)}


@pytest.mark.long
def test_automations_survive_a_restart_and_a_sweep_makes_good_what_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = house_at(tmp_path)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)
    folder = small_project(tmp_path / "small", start=start)
    project = load_project(folder)
    with prefect_server(paths) as url:
        assert sorted(deploy(project)) == sorted(deploy(project))
        before = automations_of("small")
        assert len(before) == len(WAKES)
        assert len(tick_due(str(folder), "small")) == 1
        # Fired twice for one slot, nothing happens twice.
        assert tick_due(str(folder), "small") == []

    # The server is down: rows arrive, an alert is raised, and nobody can be told.
    monkeypatch.setenv("PREFECT_API_URL", url)
    rows = pl.read_parquet(folder / "inputs.parquet")
    late = rows.head(5).with_columns(id=pl.col("id") + 10_000, at=pl.lit(datetime.now(UTC) - timedelta(minutes=1)))
    pl.concat([rows, late.select(rows.columns).cast(rows.schema)]).write_parquet(folder / "inputs.parquet")
    loop = open_loop(folder, Scope.LIVE)
    with loop.store.write("test") as write:
        write.append_alert(Alert("lost", datetime.now(UTC), Severity.WARNING, "lost", "nobody heard"))
    assert announce(INPUTS_ARRIVED, "small", {"rows": 5}) is False
    monkeypatch.delenv("PREFECT_API_URL")

    with prefect_server(paths):
        assert automations_of("small") == before
        done = sweep(str(folder), "small")
        assert {"arrivals", "deliver"} <= set(done)
        assert sweep(str(folder), "small") == []
        assert loop.store.list_alerts(undelivered=True) == []
        scored = loop.lake.read("predictions", pl.col("id") >= 10_000)
        assert scored is not None
        assert scored.height == 5
        ids = deploy(project)
        assert announce(LABELS_ARRIVED, "small", {"rows": 1})
        woken = FlowRunFilter.model_validate({"deployment_id": {"any_": [ids["labels"]]}})
        deadline = time.monotonic() + 60
        with get_client(sync_client=True) as client:
            while not (runs := client.read_flow_runs(flow_run_filter=woken)) and time.monotonic() < deadline:
                time.sleep(0.5)
        assert len(runs) == 1
