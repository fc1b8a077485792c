"""A loop uses what an installed package adds: a drift measure that the project names, and a way for alerts."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import worlds
from added_packages import installed_package
from worlds import DAY, PROJECT, START, after, draw, live

from homeostat.errors import ProjectError
from homeostat.flows.loop import forget_open_loops, open_loop
from homeostat.monitoring.alerts import ALERT_ROUTES
from homeostat.monitoring.drift import DRIFT_MEASURES
from homeostat.records import Scope

PACKAGE = """
import json
from pathlib import Path

from homeostat.monitoring.alerts import ALERT_ROUTES
from homeostat.monitoring.drift import DRIFT_MEASURES, ColumnKind, DriftMeasure


def median_shift(reference, current):
    return abs(current.median() - reference.median()) / reference.std()


DRIFT_MEASURES.add("median shift", DriftMeasure("Shift of the median", (ColumnKind.NUMERIC,), median_shift))


@ALERT_ROUTES.register("file")
class File:
    @staticmethod
    def takes(address):
        return address.startswith("file:")

    @staticmethod
    def send(alert, address):
        with Path(address.removeprefix("file:")).open("a") as file:
            file.write(json.dumps([alert.severity, alert.title, alert.body]) + "\\n")
"""
SETTINGS = """
[monitoring]
numeric_drift = "median shift"
drift_threshold = 1.0
min_rows = 50
sample = 400
[retraining]
policy = "never"
[notify.routes]
warning = ["ALERTS"]
"""


def drifting(folder: Path) -> Path:
    """A world whose numbers have moved by three deviations on the first day after the start."""
    made = draw(120, START - 3 * DAY, 5, seed=3)
    moved = pl.when(pl.col("at") >= START).then(3.0).otherwise(0.0)
    made = made.with_columns(x=pl.col("x") + moved, z=pl.col("z") + moved)
    return worlds.write(folder, made, made, PROJECT + SETTINGS)


def test_drift_by_an_added_measure_is_delivered_by_an_added_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = drifting(tmp_path / "world")
    monkeypatch.setenv("ALERTS", f"file:{tmp_path / 'alerts'}")
    with installed_package(tmp_path / "site", PACKAGE):
        for tick in range(2):
            live(folder, after(tick + 0.3))
        [*_, check] = open_loop(folder, Scope.LIVE).store.list_checks()
        DRIFT_MEASURES.remove("median shift")
        ALERT_ROUTES.remove("file")
    assert {c.column: c.method for c in check.drift.columns}["x"] == "median shift"
    assert check.drift.status == "drift"
    assert "the inputs drifted from what version 1 learned" in (tmp_path / "alerts").read_text()


def test_a_project_that_names_a_measure_of_no_package_is_told_its_key(tmp_path: Path) -> None:
    folder = drifting(tmp_path / "world")
    forget_open_loops()
    with pytest.raises(ProjectError, match=r"homeostat.toml: monitoring.numeric_drift: there is no drift measure"):
        open_loop(folder, Scope.LIVE)
