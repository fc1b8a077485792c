"""Promotion's decision table: what is promoted, what is asked about, and everything else refused."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.decisions import Gate
from homeostat.metrics import gain
from homeostat.project import METRICS, Project, Task
from homeostat.registry.comparison import Comparison
from homeostat.registry.gates import GATES
from homeostat.registry.promotion import decide_promotion, list_gates
from homeostat.registry.segments import GroupGap, SegmentGain

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
    evidence = decide_promotion(BETTER, project(), NOW).evidence
    assert [gate["name"] for gate in evidence["gates"]] == ["Rows", "Metric"]
    assert {name: value for name, value in evidence.items() if name != "gates"} == {
        "champion": 1,
        "challenger": 2,
        "rows": 500,
        "batches": ["b1", "b2"],
        "champion_metrics": {"auc": 0.70, "log_loss": 0.5},
        "challenger_metrics": {"auc": 0.75, "log_loss": 0.6},
    }


SAVED = dataclasses.replace(BETTER, gain=0.02, gain_error=0.004)
LOSSES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "it loses less": ("promote", {}, {}, "a loss lower by 0.0200 ± 0.0040 a row, and auc better by 0.0500"),
    "it loses less, and a person is to approve": ("ask", {}, {"approval": "human"}, "a person must approve"),
    "it loses as much": ("refuse", {"gain": 0.0}, {}, "it is not better"),
    "it loses more, whatever the metric says": ("refuse", {"gain": -0.001}, {}, "it is not better"),
    "it loses more, and a person is to approve": ("refuse", {"gain": -0.001}, {"approval": "human"}, "not better"),
    "a metric of few rows is mostly noise": ("promote", {"rows": 999, "challenger_metrics": {"auc": 0.6}}, {}, "0.1"),
    "a metric that falls over many rows": (
        "refuse", {"rows": 1000, "challenger_metrics": {"auc": 0.6}}, {}, "auc may fall by 0.01 at most"),
    "a metric that falls within the tolerance": (
        "promote", {"rows": 1000, "challenger_metrics": {"auc": 0.695}}, {}, "auc worse by 0.0050"),
    "many rows are fewer by the project": (
        "refuse", {"challenger_metrics": {"auc": 0.6}}, {"fresh_rows": 500}, "auc may fall by 0.01 at most"),
    "too few rows": ("refuse", {"rows": 99}, {}, "99 fresh rows"),
    "no metric": ("refuse", {"challenger_metrics": {}}, {}, "auc is undefined"),
    "no comparison": ("refuse", {"problem": "version 1 cannot be loaded"}, {}, "version 1 cannot be loaded"),
    "better by what is asked": ("promote", {}, {"min_gain": 0.04}, "auc better by 0.0500"),
    "better by less than is asked": ("refuse", {}, {"min_gain": 0.06}, "a gain of more than 0.06 is asked for"),
    "better in the metric alone": ("refuse", {"gain": -0.1}, {"min_gain": 0.04}, "it is not better"),
    "it may be worse, and is": (
        "promote", {"gain": -0.1, "challenger_metrics": {"auc": 0.65}, "rows": 5000}, {"min_gain": -0.1}, "by 0.0500"),
    "it may be worse, and is by too much": (
        "refuse", {"gain": 0.1, "challenger_metrics": {"auc": 0.5}}, {"min_gain": -0.1}, "more than -0.1 is asked for"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "evidence", "gates", "reason"), LOSSES.values(), ids=LOSSES)
def test_what_is_decided_by_the_losses_of_each_row(
    kind: str, evidence: dict[str, Any], gates: dict[str, Any], reason: str
) -> None:
    compared = dataclasses.replace(SAVED, **evidence)
    decision = decide_promotion(compared, project(**gates), NOW)
    assert (decision.kind, decision.model_version) == (kind, 2)
    assert len(decision.reasons) == 1 and reason in decision.reasons[0], decision.reasons
    if compared.problem is None and compared.rows >= 100 and reason != "auc is undefined":
        assert (decision.evidence["gain"], decision.evidence["gain_error"]) == (compared.gain, compared.gain_error)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.integers(1, 5000), st.floats(0, 0.1))
def test_what_does_not_lose_less_is_never_promoted_unless_that_was_asked_for(
    saved: float, old: float, new: float, rows: int, min_gain: float
) -> None:
    compared = Comparison(1, 2, rows, ("b1",), {"auc": old}, {"auc": new}, gain=saved, gain_error=0.0)
    decision = decide_promotion(compared, project(min_gain=min_gain), NOW)
    fallen = rows >= 1000 and new - old < -0.01
    fit = rows >= 100 and saved > 0 and not fallen and (min_gain == 0 or new - old > min_gain)
    assert decision.kind == ("promote" if fit else "refuse")


WORSE = SegmentGain("sex", "f", 80, 0.7, 0.6, -0.05, 0.01)
FINE = SegmentGain("sex", "m", 80, 0.7, 0.8, 0.05, 0.01)
GROUPS: dict[str, tuple[str, SegmentGain, dict[str, Any], int]] = {
    "a segment that gets worse warns": ("promote", WORSE, {}, 2),
    "a segment that gets worse warns whoever is asked": ("ask", WORSE, {"approval": "human"}, 2),
    "a segment that gets worse refuses where that is set": ("refuse", WORSE, {"segments": "refuse"}, 2),
    "a sensitive group that gets worse refuses": ("refuse", dataclasses.replace(WORSE, sensitive=True), {}, 2),
    "nobody is asked about what harms a sensitive group": (
        "refuse", dataclasses.replace(WORSE, sensitive=True), {"approval": "human"}, 2),
    "what may be noise harms nobody": (
        "promote", dataclasses.replace(WORSE, gain_error=0.03, sensitive=True), {"segments": "refuse"}, 1),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "group", "gates", "reasons"), GROUPS.values(), ids=GROUPS)
def test_what_is_decided_where_a_group_gets_worse(
    kind: str, group: SegmentGain, gates: dict[str, Any], reasons: int
) -> None:
    compared = dataclasses.replace(SAVED, segments=(FINE, group))
    decision = decide_promotion(compared, project(**gates), NOW)
    assert (decision.kind, len(decision.reasons)) == (kind, reasons)
    assert [each["worse"] for each in decision.evidence["segments"]] == [False, group.worse]
    if group.worse:
        assert "worse where sex = f" in decision.reasons[1] and "0.0500 ± 0.0100" in decision.reasons[1]
        assert ("sensitive" in decision.reasons[1]) == group.sensitive
    assert (kind == "refuse") == any(gate.binding and not gate.passed for gate in list_gates(decision.evidence))


def test_gaps_between_sensitive_groups_are_kept_and_decide_nothing() -> None:
    gap = GroupGap("sex", "selection_rate", ("f", "m"), 0.1, 0.4, "f", "m")
    decision = decide_promotion(dataclasses.replace(SAVED, fairness=(gap,)), project(), NOW)
    assert decision.kind == "promote"
    assert decision.evidence["fairness"][0] | {"challenger": 0.4} == decision.evidence["fairness"][0]


@pytest.mark.parametrize(("kind", "evidence", "gates", "reason"), LOSSES.values(), ids=LOSSES)
def test_the_gates_that_are_listed_pass_where_the_decision_does(
    kind: str, evidence: dict[str, Any], gates: dict[str, Any], reason: str
) -> None:
    decision = decide_promotion(dataclasses.replace(SAVED, **evidence), project(**gates), NOW)
    listed = list_gates(decision.evidence)
    assert all(gate.passed for gate in listed) == (kind != "refuse"), listed
    assert kind != "refuse" or any(decision.reasons[0].endswith(gate.reason) for gate in listed if not gate.passed)


def on_time(comparison: Comparison, settings: Project) -> Gate:
    """A gate of somebody else's package."""
    return Gate(name="Weekday", value=None, limit=None, passed=False, binding=True, reason="nobody is there on Sundays")


def test_a_gate_is_added_by_registering_one() -> None:
    GATES.add("weekday", on_time)
    try:
        decision = decide_promotion(SAVED, project(), NOW)
    finally:
        GATES.remove("weekday")
    assert decision.kind == "refuse" and decision.reasons[0].endswith("fresh rows: nobody is there on Sundays")
    assert list_gates(json.loads(json.dumps(decision.evidence)))[-1] == on_time(SAVED, project())
    assert decide_promotion(SAVED, project(), NOW).kind == "promote"


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
