"""One real Prefect server and one small project for all tests of the flows' orchestration."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from backends.studio import studio  # noqa: F401 - one server for all tests of a run
from prepared import lay_mlflow

from homeostat.flows.servers.local import prefect_server
from homeostat.settings import ProjectPaths

START = datetime(2020, 1, 7, tzinfo=UTC)


def house_at(root: Path, prefect_api_url: str | None = None) -> ProjectPaths:
    """Project paths whose every address lies in `root`."""
    return ProjectPaths(
        root=root,
        lake_uri=str(root / "lake"),
        store_url=f"sqlite:///{root / 'store.db'}",
        tracking_uri=f"sqlite:///{root / 'mlflow.db'}",
        artifact_root=root / "mlartifacts",
        model_name="small",
        prefect_home=root / "prefect",
        prefect_api_url=prefect_api_url,
    )


def small_project(folder: Path, *, start: datetime = START, extra: str = "") -> Path:
    """A binary project: 100 rows an hour apart for each of six days before `START`, two days after."""
    lay_mlflow(folder / ".homeostat")
    rng = random.Random(0)
    times = [START - timedelta(days=6) + timedelta(minutes=20 * i) for i in range(8 * 72)]
    x = [rng.gauss(0, 1) for _ in times]
    y = [int(v + rng.gauss(0, 1) > 0) for v in x]
    keys = list(range(len(times)))
    pl.DataFrame({"id": keys, "at": times, "x": x}).write_parquet(folder / "inputs.parquet")
    known = [t + timedelta(hours=6) for t in times]
    pl.DataFrame({"id": keys, "y": y, "known_at": known}).write_parquet(folder / "feedback.parquet")
    (folder / "homeostat.toml").write_text(
        f"""
[project]
name = "small"
task = "binary"
[data]
key = "id"
event_time = "at"
target = "y"
numeric = ["x"]
[data.inputs]
uri = "inputs.parquet"
[data.feedback]
uri = "feedback.parquet"
known_at = "known_at"
horizon = "1d"
[loop]
tick = "1d"
start = "{start.isoformat()}"
{extra}""",
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the shared Prefect server."""
    return tmp_path_factory.mktemp("shared") / "prefect"


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    """The API of a real Prefect server that all tests of this folder share."""
    with prefect_server(house_at(prefect_home.parent)) as url:
        yield url
