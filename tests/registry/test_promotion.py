"""Promotion's decision table: what is promoted, what is asked about, and everything else refused."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.metrics import gain
from homeostat.project import METRICS, Project, Task
from registry.promotion import Comparison, decide_promotion

NOW = datetime(2024, 2, 1, tzinfo=UTC)
BETTER = Comparison(1, 2, 500, ("b1", "b2"), {"auc": 0.70, "log_loss": 0.5}, {"auc": 0.75, "log_loss": 0.6})


def project(task: str = "binary", metric: str | None = None, **gates: Any) -> Project:
    """A project whose gate asks for 100 fresh rows."""
    return Project.model_validate(
        {
            "folder": Path("p"),
            "project": {"name": "p", "task": task},
            "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]},
            "loop": {"tick": "1d", "start": NOW},
            "monitoring": {"metric": metric},
            "gates": {"min_rows": 100} | gates,
        }
    )


TABLE: dict[str, tuple[str, dict[str, Any], Project, str]] = {
    "better": ("promote", {}, project(), "auc 0.7500 against 0.7000 on the same 500 fresh rows: a gain of 0.0500"),
    "better, and a person is to approve": ("ask", {}, project(approval="human"), "a person must approve"),
    "worse, and a person is to approve": (
        "refuse", {"challenger_metrics": {"auc": 0.6}}, project(approval="human"), "a gain of -0.1000"),
    "equal": ("refuse", {"challenger_metrics": {"auc": 0.7}}, project(), "a gain of 0.0000, more than 0"),
    "better by what is asked and no more": (
        "refuse", {"challenger_metrics": {"auc": 1.2}, "champion_metrics": {"auc": 0.7}}, project(min_gain=0.5),
        "more than 0.5 is asked for"),
    "better by more than is asked": ("promote", {}, project(min_gain=0.04), "a gain of 0.0500"),
    "better by less than is asked": ("refuse", {}, project(min_gain=0.06), "more than 0.06 is asked for"),
    "a loss that rose": ("refuse", {}, project(metric="log_loss"), "a gain of -0.1000"),
    "a loss that fell": (
        "promote", {"challenger_metrics": {"log_loss": 0.4}}, project(metric="log_loss"), "a gain of 0.1000"),
    "too few rows": ("refuse", {"rows": 99}, project(), "99 fresh rows; gates.min_rows asks for 100"),
    "just enough rows": ("promote", {"rows": 100}, project(), "a gain"),
    "no comparison": ("refuse", {"problem": "version 1 cannot be loaded"}, project(), "version 1 cannot be loaded"),
    "no comparison, and a person is to approve": (
        "refuse", {"problem": "no rows"}, project(approval="human"), "the comparison cannot be made"),
    "no metric of the champion": (
        "refuse", {"champion_metrics": {"accuracy": 0.5}}, project(), "auc is undefined on the fresh rows"),
    "no metric of the challenger": (
        "refuse", {"challenger_metrics": {}}, project(), "auc is undefined on the fresh rows"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "evidence", "settings", "reason"), TABLE.values(), ids=TABLE)
def test_what_is_decided(kind: str, evidence: dict[str, Any], settings: Project, reason: str) -> None:
    decision = decide_promotion(dataclasses.replace(BETTER, **evidence), settings, NOW)
    assert (decision.stage, decision.kind, decision.model_version) == ("promotion", kind, 2)
    assert len(decision.reasons) == 1 and reason in decision.reasons[0], decision.reasons


def test_a_decision_keeps_what_was_compared() -> None:
    assert decide_promotion(BETTER, project(), NOW).evidence == {
        "champion": 1,
        "challenger": 2,
        "rows": 500,
        "batches": ["b1", "b2"],
        "champion_metrics": {"auc": 0.70, "log_loss": 0.5},
        "challenger_metrics": {"auc": 0.75, "log_loss": 0.6},
    }


METRIC_OF_TASK = [(task.value, metric) for task in Task for metric in METRICS[task]]


@given(
    st.sampled_from(METRIC_OF_TASK),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 1),
    st.integers(0, 300),
    st.none() | st.just("it broke"),
    st.sampled_from(["auto", "human"]),
    st.floats(-0.1, 0.1),
)
def test_only_what_is_better_on_enough_of_the_same_rows_is_promoted(
    measured: tuple[str, str],
    old: float | None,
    new: float | None,
    rows: int,
    problem: str | None,
    approval: str,
    min_gain: float,
) -> None:
    task, metric = measured
    told = ({} if old is None else {metric: old}, {} if new is None else {metric: new})
    comparison = Comparison(1, 2, rows, ("b1",), *told, problem)
    settings = project(task, metric, approval=approval, min_gain=min_gain)
    decision = decide_promotion(comparison, settings, NOW)
    fit = problem is None and rows >= 100 and old is not None and new is not None and gain(metric, new, old) > min_gain
    assert decision.kind == ({"auto": "promote", "human": "ask"}[approval] if fit else "refuse")
    assert decision == decide_promotion(comparison, settings, NOW)
    assert all(len(reason.split()) > 3 and "\n" not in reason for reason in decision.reasons)
