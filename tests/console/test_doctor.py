"""`homeostat doctor`: a sound machine is well; each fault, provoked for real, is told with how to mend it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import shells
from shells import homeostat, warm

from homeostat.flows.health.findings import Finding, run_checks
from homeostat.flows.health.machine import PORTS, tell_skew
from homeostat.flows.health.memory import tell_lease
from homeostat.flows.health.projects import check_routes
from homeostat.project import load_project
from homeostat.records import Lease
from homeostat.store import Store

NOW = datetime(2025, 3, 1, tzinfo=UTC)
HIDDEN = "h1dden-word"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shells.small(tmp_path_factory.mktemp("doctor") / "p", begun=False)


def examined(*args: object, code: int | None = None, **environ: str) -> dict[str, dict[str, Any]]:
    """What doctor found, by name; where several findings share a name, the worst of them."""
    answer = warm("doctor", *args, "--json", **environ)
    told = json.loads(answer.out)
    problems = [each for each in told["findings"] if each["state"] == "problem"]
    assert (answer.code, told["healthy"]) == ((1, False) if problems else (0, True))
    assert code is None or answer.code == code, problems
    assert HIDDEN not in answer.out + answer.err
    order = ["ok", "warning", "problem"]
    return {each["name"]: each for each in sorted(told["findings"], key=lambda each: order.index(each["state"]))}


def test_a_sound_machine_with_a_sound_project_is_well_and_nothing_is_changed(project: Path) -> None:
    found = examined(project, code=0)
    assert {"python", "packages", "disk", "time zone", "port of console", "prefect", "mlflow", "up"} <= set(found)
    assert found["store of small"]["message"].endswith("is not there yet; the first tick makes it")
    assert found["lake of small"]["state"] == "ok"
    assert "go to quarantine" in found["project small"]["message"]
    assert not (project / ".homeostat").exists()


def test_without_a_project_the_machine_alone_is_looked_at(tmp_path: Path) -> None:
    answer = warm("doctor", cwd=tmp_path)
    assert answer.code == 0
    assert "packages" in answer.out and "store of" not in answer.out and "alerts of" not in answer.out
    assert answer.out.rstrip().endswith("checks passed.")


def test_a_live_state_is_looked_into(project: Path, tmp_path: Path) -> None:
    folder = shells.copy_of(project, tmp_path / "p")
    assert warm("tick", folder, HOMEOSTAT_KILL_AT="store.ingest:after").code != 0
    found = examined(folder)
    assert "is at migration" in found["store of small"]["message"]
    assert found["SQLite of store of small"]["message"].startswith("journal mode wal")


# Versions


def test_a_wrong_version_is_told_with_what_it_breaks(tmp_path: Path) -> None:
    fake = tmp_path / "SQLAlchemy-2.1.9.dist-info"
    fake.mkdir()
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: SQLAlchemy\nVersion: 2.1.9\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    answer = homeostat("doctor", "--json", cwd=tmp_path, PYTHONPATH=path)
    told = {each["name"]: each for each in json.loads(answer.out)["findings"]}["packages"]
    assert (answer.code, told["state"]) == (1, "problem")
    assert "sqlalchemy is 2.1.9" in told["message"] and "scheduler of Prefect" in told["message"]
    assert "pip install" in told["advice"]


# The store


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"mysql://root:{HIDDEN}@localhost/base", "cannot be kept by 'mysql'"),
        (
            f"postgresql+psycopg://me:{HIDDEN}@127.0.0.1:9/base",
            "postgresql+psycopg://127.0.0.1:9/base cannot be reached",
        ),
        ("not a url", "not a SQLAlchemy URL"),
    ],
)
def test_a_store_that_cannot_be_reached_is_a_problem_and_no_secret_is_told(
    tmp_path: Path, url: str, words: str
) -> None:
    found = examined(tmp_path, code=1, HOMEOSTAT_STORE_URL=url)
    assert words in found["store"]["message"] and found["store"]["advice"]


def migrate(url: str, revision: str) -> None:
    """Bring a database to one of our migrations."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    from homeostat.store import engine

    config = Config()
    config.set_main_option("script_location", str(Path(engine.__file__).parent / "migrations"))
    with create_engine(url).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def revision_of(url: str, to: str | None = None) -> str:
    from sqlalchemy import create_engine, text

    with create_engine(url).begin() as connection:
        if to is not None:
            connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": to})
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())


def test_a_store_at_another_migration_is_told_and_not_migrated(
    project: Path, tmp_path: Path, postgresql_url: str
) -> None:
    assert "is empty" in examined(tmp_path, code=0, HOMEOSTAT_STORE_URL=postgresql_url)["store"]["message"]
    migrate(postgresql_url, "0004")
    older = examined(project, code=0, HOMEOSTAT_STORE_URL=postgresql_url)
    assert older["store"]["state"] == "warning"
    assert "is at migration 0004" in older["store"]["message"] and "is wanted" in older["store"]["message"]
    assert "another migration" in older["work of small"]["message"]
    assert older["clock of the database of store"]["state"] == "ok"
    assert revision_of(postgresql_url) == "0004"
    assert revision_of(postgresql_url, to="9999") == "9999"
    newer = examined(tmp_path, code=1, HOMEOSTAT_STORE_URL=postgresql_url)
    assert "9999, which this release does not know" in newer["store"]["message"]


def test_a_store_that_may_not_be_written_is_a_problem(tmp_path: Path, postgresql_url: str) -> None:
    from sqlalchemy import create_engine, make_url, text

    role = f"reader_{make_url(postgresql_url).database}"
    with create_engine(postgresql_url).begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{HIDDEN}'"))
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
    url = make_url(postgresql_url).set(username=role, password=HIDDEN).render_as_string(hide_password=False)
    try:
        found = examined(tmp_path, code=1, HOMEOSTAT_STORE_URL=url)
        assert "can be read, but not written" in found["store"]["message"]
    finally:
        with create_engine(postgresql_url).begin() as connection:
            connection.execute(text(f"DROP ROLE {role}"))


def test_sqlite_in_another_journal_mode_is_told(tmp_path: Path) -> None:
    import sqlite3

    file = tmp_path / "store.db"
    Store(f"sqlite:///{file}", "small").engine.dispose()
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=DELETE")
    found = examined(tmp_path, HOMEOSTAT_STORE_URL=f"sqlite:///{file}")
    assert found["SQLite of store"]["state"] == "warning" and "wal is wanted" in found["SQLite of store"]["message"]


# The lake, the disk, ports, clocks, secrets


def test_a_lake_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    # Not even root may write there, wherever these tests run.
    found = examined(tmp_path, code=1, HOMEOSTAT_LAKE_URI="/sys/lake")
    assert found["lake"]["message"].startswith("nothing can be written in /sys") and found["lake"]["advice"]


def test_a_bucket_that_does_not_answer_is_a_problem(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": HIDDEN, "AWS_REGION": "us-east-1"}
    keys |= {"AWS_ENDPOINT_URL": NOWHERE, "AWS_ALLOW_HTTP": "true"}
    found = examined(tmp_path, code=1, HOMEOSTAT_LAKE_URI="s3://bucket/lake", **keys)
    assert "nothing can be written under s3://bucket/lake" in found["lake"]["message"]


def test_a_disk_with_little_room_is_told(tmp_path: Path) -> None:
    with shells.small_disk(tmp_path / "disk", 2000):
        found = examined(tmp_path, code=1, HOMEOSTAT_HOME=str(tmp_path / "disk"))
    assert "below 1.0 GB" in found["disk"]["message"]


@pytest.fixture
def taken_port() -> Iterator[int]:
    """The usual port of the console, with somebody on it."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", PORTS["console"]))
            other.listen()
        except OSError:
            assert socket.create_connection(("127.0.0.1", PORTS["console"]), 5)
        yield PORTS["console"]


def test_a_port_that_is_taken_is_told_and_is_no_problem(taken_port: int, tmp_path: Path) -> None:
    told = examined(tmp_path, code=0)["port of console"]
    assert (
        told["state"] == "warning"
        and f"{taken_port} is taken" in told["message"]
        and "takes a free one" in told["advice"]
    )


def test_a_clock_that_is_off_is_told() -> None:
    assert tell_skew("mlflow", NOW + timedelta(seconds=4), NOW).state == "ok"
    ahead, behind = (tell_skew("mlflow", NOW + sign * timedelta(seconds=9), NOW) for sign in (1, -1))
    assert (ahead.state, ahead.message) == ("warning", "9 s ahead of this machine's")
    assert behind.message == "9 s behind this machine's" and "NTP" in behind.advice


def test_a_time_zone_that_is_none_is_told(tmp_path: Path) -> None:
    assert examined(tmp_path, TZ="Mars/Base")["time zone"]["state"] == "warning"


def test_secrets_that_others_may_read_are_told(tmp_path: Path) -> None:
    secrets = tmp_path / ".env"
    secrets.write_text(f"KEY={HIDDEN}")
    secrets.chmod(0o644)
    told = examined(tmp_path, code=1)["secrets"]
    assert "may be read by others" in told["message"] and told["advice"] == f"Run 'chmod 600 {secrets}'."
    secrets.chmod(0o600)
    assert examined(tmp_path)["secrets"]["state"] == "ok"


# Servers


def test_a_server_that_does_not_answer_is_a_problem(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://me:{HIDDEN}@127.0.0.1:{silent.getsockname()[1]}"
        found = examined(tmp_path, code=1, MLFLOW_TRACKING_URI=url, PREFECT_API_URL=f"{NOWHERE}/api")
    assert f"no server answers at {NOWHERE}/api" in found["prefect"]["message"]
    assert "PREFECT_API_URL" in found["prefect"]["advice"]
    assert "no server answers" in found["mlflow"]["message"] and "timed out" in found["mlflow"]["message"]
    assert "names a server" in found["port of mlflow"]["message"]


def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def put_note(root: Path, pid: int, **services: dict[str, Any]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "services.json").write_text(json.dumps({"pid": pid, "services": services}))


def test_what_up_says_of_its_services_is_told(tmp_path: Path) -> None:
    ill = {"state": "failing", "problem": "it ended", "restarts": 3, "log": "worker.log"}
    put_note(tmp_path / ".homeostat", os.getpid(), runner=ill, console={"state": "healthy", "url": NOWHERE})
    beat = {"at": (datetime.now(UTC) - timedelta(minutes=10)).isoformat(), "pid": 1, "projects": {}}
    (tmp_path / ".homeostat" / "runner.json").write_text(json.dumps(beat))
    found = examined(tmp_path, code=1)
    assert found["up: runner"]["message"] == "failing, started 3 times again: it ended"
    assert found["up: console"]["state"] == "ok" and "ours" in found["port of console"]["message"]
    assert "was last heard of" in found["up: heartbeat"]["message"]
    put_note(tmp_path / ".homeostat", ended(), runner=ill)
    assert "is of a process that is dead" in examined(tmp_path)["up"]["message"]


# Projects


def test_a_broken_project_is_told_beside_a_sound_one(tmp_path: Path) -> None:
    shells.small(tmp_path / "all" / "sound")
    broken = shells.small(tmp_path / "all" / "broken", project=shells.PROJECT.replace('key = "id"', 'kye = "id"'))
    ill = shells.PROJECT.replace('"small"', '"ill"').replace('numeric = ["x"]', 'numeric = ["absent"]')
    shells.small(tmp_path / "all" / "ill", project=ill)
    found = examined(tmp_path / "all", code=1)
    assert "kye" in found["project broken"]["message"] and found["project broken"]["state"] == "problem"
    assert "absent" in found["project ill"]["message"] and "homeostat check" in found["project ill"]["advice"]
    assert found["project small"]["state"] == "warning"
    assert "kye" in examined(broken, code=1)["project broken"]["message"]


def test_a_folder_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    answer = warm("doctor", tmp_path / "nothing")
    assert (answer.code, len(answer.told)) == (2, 1) and "no such folder" in answer.err


def test_routes_of_alerts_need_their_variables(tmp_path: Path) -> None:
    route = '[notify.routes]\ncritical = ["TEAM_CHAT"]\n'
    folder = shells.small(tmp_path / "p", project=shells.PROJECT + route)
    unset = examined(folder, code=1)["alerts of small"]
    assert unset["message"].startswith("TEAM_CHAT: not set")
    (wrong,) = check_routes(load_project(folder), {"TEAM_CHAT": HIDDEN})
    assert (wrong.state, wrong.message) == ("problem", "TEAM_CHAT: not an address that Apprise can read")
    (fine,) = check_routes(load_project(folder), {"TEAM_CHAT": f"json://localhost/{HIDDEN}"})
    assert (fine.state, fine.message) == ("ok", "by TEAM_CHAT")


@pytest.mark.parametrize(
    ("holder", "age", "state", "words"),
    [
        ("elsewhere:abc:1:1", -60, "ok", "works on it"),
        ("elsewhere:abc:1:1", 60, "warning", "it died at work"),
        (f"{socket.gethostname()}:abc:{{dead}}:1", -60, "warning", "is dead"),
        (f"{socket.gethostname()}:abc:{{alive}}:1", -60, "ok", "works on it"),
    ],
)
def test_a_lease_held_by_the_dead_is_told(holder: str, age: int, state: str, words: str) -> None:
    until = NOW - timedelta(seconds=age)
    lease = Lease("work", holder.format(alive=os.getpid(), dead=ended()), NOW - timedelta(hours=1), until)
    (told,) = tell_lease("small", lease, lambda: NOW)
    assert told.state == state and words in told.message


def test_a_project_whose_slots_wait_is_told(project: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store, at = Store(url, "small"), shells.START
    with store.write("test") as write:
        write.put_stage(at, "notify", {})
        write.take_lease(Lease("work", "elsewhere:abc:1:1", at, at + timedelta(minutes=1)))
    found = examined(project, code=1, HOMEOSTAT_STORE_URL=url)
    assert "ticks are overdue (since 2020" in found["work of small"]["message"]
    assert "never gave it back" in found["lease of small"]["message"]


# Checks side by side


def test_a_check_that_hangs_or_fails_stops_no_other() -> None:
    over = threading.Event()

    def hangs() -> list[Finding]:
        over.wait()
        return []

    def fails() -> list[Finding]:
        raise RuntimeError("broke\nin lines")

    fine = Finding("fine", "ok", "yes")
    found = run_checks({"hangs": hangs, "fails": fails, "fine": lambda: [fine]}, 0.2)
    over.set()
    assert [(each.name, each.state) for each in found] == [("hangs", "warning"), ("fails", "problem"), ("fine", "ok")]
    assert found[1].message == "it could not be checked: RuntimeError: broke"
