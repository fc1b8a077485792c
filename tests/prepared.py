"""What many projects of the tests begin with, made once for a test run and copied: an empty MLflow database.

MLflow takes seconds to make one, because it goes through all its migrations. Makers of projects lay a copy; a project
that must begin with nothing is made without.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock
from forked import fork

SHARED = "HOMEOSTAT_TEST_SHARED"


def begin() -> None:
    """Make the folder that all workers of this run share."""
    os.environ[SHARED] = tempfile.mkdtemp(prefix="homeostat-tests-")


def end() -> None:
    """Take that folder away."""
    shutil.rmtree(os.environ.pop(SHARED), ignore_errors=True)


def lay_mlflow(state: Path) -> None:
    """Put an empty MLflow database into the folder of a project's state, or of an installation's; one there stays."""
    if not (state / "mlflow.db").exists():
        state.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_empty_mlflow(), state / "mlflow.db")


def _empty_mlflow() -> Path:
    made = Path(os.environ[SHARED]) / "mlflow.db"
    with FileLock(f"{made}.made"):
        if not made.exists():
            process = fork(_make, str(made))
            process.start()
            process.join()
            assert process.exitcode == 0 and made.exists()
    return made


def _make(file: str) -> None:
    from homeostat.registry.tracking import Tracking

    Tracking(f"sqlite:///{file}", Path(file).parent / "mlartifacts", "none", "none").client.search_experiments()
