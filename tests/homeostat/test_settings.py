"""Addresses: a project's own folder by default, the environment's by setting, a replay always apart."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from homeostat.project import Project
from homeostat.records import Scope
from homeostat.settings import find_paths, state_folder

VARIABLES = ("HOMEOSTAT_HOME", "HOMEOSTAT_LAKE_URI", "HOMEOSTAT_STORE_URL", "MLFLOW_TRACKING_URI", "PREFECT_API_URL")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that lies in the test's folder."""
    return Project.model_validate(
        {
            "folder": tmp_path,
            "project": {"name": "p", "task": "binary"},
            "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]},
            "loop": {"tick": "1d", "start": datetime(2024, 1, 1, tzinfo=UTC)},
        }
    )


def test_by_default_everything_lies_in_the_projects_folder(project: Project, tmp_path: Path) -> None:
    paths = find_paths(project, Scope.LIVE)
    state = tmp_path / ".homeostat"
    assert (paths.root, paths.lake_uri) == (state / "live", str(state / "live" / "lake"))
    assert paths.store_url == f"sqlite:///{state / 'live' / 'store.db'}"
    assert paths.tracking_uri == f"sqlite:///{state / 'mlflow.db'}"
    assert (paths.model_name, paths.prefect_api_url) == ("p", None)


def test_a_replay_shares_mlflow_and_prefect_alone(project: Project) -> None:
    live, replay = find_paths(project, Scope.LIVE), find_paths(project, Scope.REPLAY)
    assert replay.model_name == "p-replay"
    assert (replay.tracking_uri, replay.prefect_home) == (live.tracking_uri, live.prefect_home)
    for own in ("root", "lake_uri", "store_url", "model_name"):
        assert getattr(live, own) != getattr(replay, own)


def test_a_home_of_all_projects_keeps_them_apart_by_name(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path / "home"))
    assert state_folder(project) == tmp_path / "home" / "p"
    assert find_paths(project, Scope.LIVE).root == tmp_path / "home" / "p" / "live"


def test_the_environments_addresses_are_lifes_and_a_replay_never_writes_to_its_store(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_STORE_URL", "postgresql+psycopg://u@h/d")
    monkeypatch.setenv("HOMEOSTAT_LAKE_URI", "s3://bucket/lake/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    live, replay = find_paths(project, Scope.LIVE), find_paths(project, Scope.REPLAY)
    assert (live.store_url, live.lake_uri) == ("postgresql+psycopg://u@h/d", "s3://bucket/lake/p")
    assert (live.tracking_uri, live.prefect_api_url) == ("http://mlflow:5000", "http://prefect:4200/api")
    assert replay.store_url.startswith("sqlite:///") and replay.lake_uri == "s3://bucket/lake/p-replay"
