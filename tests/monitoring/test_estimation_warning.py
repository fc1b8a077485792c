from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from homeostat.monitoring.estimation.warning import warn_of_estimate
from homeostat.project import Project
from homeostat.records import FitCost, ModelRecord, Severity, Window, WindowStatus

NOW = datetime(2024, 1, 8, tzinfo=UTC)
CHAMPION = ModelRecord(3, "k", NOW, "xgboost", 100, {"auc": 0.8, "log_loss": 0.4}, FitCost())
WINDOW = Window(
    "b1", NOW - timedelta(days=7), NOW, 100, 0, 0.0, WindowStatus.UNKNOWN, "auc", None, {}, 3, NOW, 0.7, 0.65, 0.75
)


def project(metric="auc"):
    return Project.model_validate(
        {
            "folder": Path(),
            "project": {"name": "p", "task": "binary"},
            "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]},
            "loop": {"tick": "7d", "start": NOW},
            "monitoring": {"metric": metric, "tolerance": 0.02},
        }
    )


@pytest.mark.parametrize(
    ("changed", "warned"),
    [
        ({}, True),
        ({"estimated_high": 0.79}, False),  # within the tolerance at best
        ({"estimated_low": None, "estimated_high": None}, False),
        ({"estimated": None, "estimated_low": None, "estimated_high": None}, False),
        ({"status": WindowStatus.FINAL, "realized": 0.7}, False),  # the labels speak
        ({"status": WindowStatus.PROVISIONAL, "realized": 0.9, "realized_low": 0.5, "realized_high": 0.95}, True),
        ({"status": WindowStatus.PROVISIONAL, "realized": 0.9, "realized_low": 0.79, "realized_high": 0.95}, False),
        ({"model_version": 2}, False),
    ],
)
def test_an_estimate_warns_only_where_nothing_speaks_for_the_champion(changed, warned):
    alert = warn_of_estimate(CHAMPION, CHAMPION, [replace(WINDOW, **changed)], project(), NOW)
    assert (alert is not None) == warned
    assert alert is None or (alert.severity is Severity.WARNING and "by an estimate" in alert.title)


def test_lower_can_be_better():
    window = replace(WINDOW, metric="log_loss", estimated=0.5, estimated_low=0.45, estimated_high=0.55)
    assert warn_of_estimate(CHAMPION, CHAMPION, [window], project("log_loss"), NOW) is not None
    assert warn_of_estimate(CHAMPION, CHAMPION, [replace(window, estimated_low=0.41)], project("log_loss"), NOW) is None


def test_a_champion_is_warned_of_under_one_key():
    later = replace(WINDOW, batch="b2", end_at=NOW + timedelta(days=7))
    first = warn_of_estimate(CHAMPION, CHAMPION, [WINDOW], project(), NOW)
    again = warn_of_estimate(CHAMPION, CHAMPION, [WINDOW, later], project(), NOW + timedelta(days=7))
    assert first.key == again.key and "b2" in again.body


def test_without_a_champion_or_a_reference_nothing_is_said():
    assert warn_of_estimate(None, None, [WINDOW], project(), NOW) is None
    assert warn_of_estimate(CHAMPION, replace(CHAMPION, reference={}), [WINDOW], project(), NOW) is None
