"""One worker at a time on life: by a lock on one machine, by a lease in the store on several."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import small_project

from homeostat.errors import BusyError
from homeostat.flows.facts import BEGUN, BegunBatch
from homeostat.flows.locks import LEASE, Terms, claim
from homeostat.flows.loop import forget_open_loops, open_loop
from homeostat.records import Lease, Scope
from homeostat.store import Store

SHORT = Terms(ttl=timedelta(seconds=2), beat=timedelta(seconds=0.4))


@pytest.fixture
def project(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose live store is SQLite or PostgreSQL."""
    monkeypatch.setenv("HOMEOSTAT_STORE_URL", store_url)
    forget_open_loops()
    return small_project(tmp_path / "small")


def lend(store: Store, until: datetime, holder: str = "elsewhere:0a:77:1") -> None:
    """Let another machine hold the lease."""
    with store.write("lease") as write:
        assert write.take_lease(Lease(LEASE, holder, datetime.now(UTC), until), sure=True)


def test_a_claim_is_a_lease_that_is_renewed_and_given_back(project: Path) -> None:
    with claim(project, "live", terms=SHORT) as loop:
        first = loop.store.get_lease(LEASE)
        assert first is not None
        assert f":{os.getpid()}:" in first.holder
        time.sleep(1)
        later = loop.store.get_lease(LEASE)
        assert later is not None
        assert later.until > first.until
        assert later.taken_at == first.taken_at
    assert loop.store.get_lease(LEASE) is None


def test_the_lease_of_another_machine_is_waited_out_and_its_holder_named(project: Path) -> None:
    store = open_loop(project, Scope.LIVE).store
    over = datetime.now(UTC) + timedelta(seconds=2)
    lend(store, over)
    with pytest.raises(BusyError, match=r"a run of 'small' is running already: process 77 on elsewhere, since 20"):
        claim(project, "live", terms=SHORT).__enter__()
    with claim(project, "live", wait=30, terms=SHORT):
        assert datetime.now(UTC) >= over


def test_whoever_lost_the_lease_writes_no_more(project: Path) -> None:
    with claim(project, "live", terms=SHORT) as loop:
        lend(loop.store, datetime.now(UTC) + timedelta(minutes=1))
        time.sleep(1)
        with pytest.raises(BusyError, match="lost its lease"), loop.store.write("anything") as write:
            write.put_fact(BEGUN, BegunBatch(datetime.now(UTC)))
    kept = loop.store.get_lease(LEASE)
    assert kept is not None
    assert kept.holder.startswith("elsewhere")
    assert loop.store.get_fact(BEGUN) is None


def test_a_lease_that_was_not_renewed_in_time_is_lost_though_nobody_took_it(project: Path) -> None:
    asleep = Terms(ttl=timedelta(seconds=0.3), beat=timedelta(seconds=30))
    with claim(project, "live", terms=asleep) as loop:
        time.sleep(0.5)
        with pytest.raises(BusyError, match="lost its lease"), loop.store.write("anything"):
            pass


HOLD = """
import sys, time
from homeostat.flows.locks import claim
with claim(sys.argv[1], "live"):
    print("claimed", flush=True)
    time.sleep(600)
"""


def test_a_holder_that_was_killed_here_is_known_to_be_dead(project: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", HOLD, str(project)], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"claimed\n"
    with pytest.raises(BusyError, match=f"process {worker.pid} on "), claim(project, "live"):
        pass
    worker.kill()
    worker.communicate()
    store = open_loop(project, Scope.LIVE).store
    lease = store.get_lease(LEASE)
    assert lease is not None
    assert lease.until > datetime.now(UTC)
    with claim(project, "live"):
        pass


def test_a_command_that_changes_life_says_who_has_it(project: Path) -> None:
    lend(open_loop(project, Scope.LIVE).store, datetime.now(UTC) + timedelta(minutes=5))
    command = [sys.executable, "-c", "from homeostat.console.main import main; main()", "ingest", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "process 77 on elsewhere" in done.stderr


def test_two_machines_on_one_store_run_each_slot_once(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two checkouts with state folders of their own share a store and a lake, as two machines would."""
    shared = {"HOMEOSTAT_STORE_URL": postgresql_url, "HOMEOSTAT_LAKE_URI": str(tmp_path / "lake")}
    shared["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path / 'mlflow.db'}"
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2, hours=1)
    folders = [small_project(tmp_path / name, start=start) for name in ("one", "two")]
    code = "import sys; from homeostat.flows.locks import claim\n"
    code += "from homeostat.flows.stages.sequence import list_due, run_tick\n"
    code += "from datetime import datetime, UTC; done = 0\n"
    code += "with claim(sys.argv[1], 'live', wait=120) as loop:\n"
    code += "    for at in list_due(loop, datetime.now(UTC)): run_tick(sys.argv[1], 'live', at); done += 1\n"
    code += "print(done)"
    env = {**os.environ, **shared}
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], env=env, stdout=subprocess.PIPE, text=True)
        for folder in folders
    ]
    assert sorted(int(run.communicate(timeout=300)[0]) for run in runs) == [0, 3]
    for name, value in shared.items():
        monkeypatch.setenv(name, value)
    forget_open_loops()
    store = open_loop(folders[0], Scope.LIVE).store
    assert store.count_ticks("notify") == 3
    assert store.verify_journal().sound
