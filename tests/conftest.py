"""How tests run, and databases for them: SQLite in a folder, and a real PostgreSQL server of Debian's package."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prepared
import pytest
from balance import by_length
from hypothesis import settings
from installed import find_postgresql, hidden, missing
from ports import free_port

# No deadline: a busy machine is no defect. The same examples every time: nor is a lucky draw in CI.
settings.register_profile("homeostat", deadline=None, derandomize=True)
settings.load_profile("homeostat")

# Two workers on two cores: threads of one that wait for each other take the time of the other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

WORKER = "PYTEST_XDIST_WORKER"
PASSWORD = "s3cret-of-the-tests"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--reverse`: no test may need what another did."""
    parser.addoption("--reverse", action="store_true", help="run the tests in reverse order")


def pytest_configure() -> None:
    """Refuse names of programs to hide that nobody knows; make the folder that all workers share."""
    try:
        hidden()
    except ValueError as wrong:
        raise pytest.UsageError(str(wrong)) from None
    if WORKER not in os.environ:
        prepared.begin()


def pytest_unconfigure() -> None:
    """Take the shared folder away."""
    if WORKER not in os.environ:
        prepared.end()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first for workers, and turn the order round where that is asked for."""
    if WORKER in os.environ:
        items.sort(key=lambda item: by_length(item.nodeid))
    if config.getoption("reverse"):
        items.reverse()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand the tests out in that order."""
    from balance import LongestFirst

    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


def unprivileged() -> dict[str, Any]:
    """How to start a process as the user of PostgreSQL: it does not run as root."""
    if os.geteuid() != 0:
        return {}
    names = {user.pw_name: user for user in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def wait_for(server: subprocess.Popen[Any], url: str, log: Path) -> None:
    """Wait until a server takes connections."""
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start: {log.read_text()}")
            time.sleep(0.05)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The address of a real PostgreSQL server without its database, as `USER:PASSWORD@HOST:PORT`."""
    programs = find_postgresql()
    if programs is None:
        pytest.skip(missing("PostgreSQL"))
    who, port = unprivileged(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    data, log = folder / "data", folder / "server.log"
    (folder / "password").write_text(PASSWORD)
    if who:
        for path in (folder, folder / "password"):
            os.chown(path, who["user"], who["group"])
    init = ["initdb", "-D", str(data), "-U", "homeostat", "-A", "scram-sha-256", "--pwfile", str(folder / "password")]
    command = [str(programs / init[0]), *init[1:], "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, **who)
    run = ["postgres", "-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1", "-c", "fsync=off"]
    with log.open("wb") as output:
        server = subprocess.Popen([str(programs / run[0]), *run[1:]], cwd=folder, stderr=output, **who)
    address = f"homeostat:{PASSWORD}@127.0.0.1:{port}"
    try:
        wait_for(server, f"postgresql://{address}/postgres", log)
        yield address
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of a new PostgreSQL database."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"postgresql://{postgresql_server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        yield f"postgresql+psycopg://{postgresql_server}/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database, of each kind a store may be kept in."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return request.getfixturevalue("postgresql_url")
