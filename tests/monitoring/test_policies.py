"""Retraining's decision table: every policy, what each waits for, and what overrides it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.decisions import RetrainingKind
from homeostat.errors import ProjectError
from homeostat.monitoring.retraining.evidence import RetrainingEvidence, Verdict
from homeostat.monitoring.retraining.policies import POLICIES, decide_retraining
from homeostat.project import Project
from homeostat.records import Decision, FitCost, ModelRecord

NOW = datetime(2024, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CHAMPION = ModelRecord(2, "k", NOW - 9 * DAY, "xgboost", 1000, {"auc": 0.75}, FitCost())


def alarm(kind: str) -> Decision:
    """What was decided about the alarm."""
    return Decision(NOW, "alarm", kind, (f"the alarm is {kind}",), {}, 2)


CALM = RetrainingEvidence(
    champion=CHAMPION,
    labels=1100,
    fresh_labels=500,
    labels_at_last_attempt=1000,
    last_attempt_at=NOW - 9 * DAY,
    ticks_since_attempt=9,
    alarm=alarm("quiet"),
)
NEWBORN = dataclasses.replace(
    CALM, champion=None, labels_at_last_attempt=0, last_attempt_at=None, ticks_since_attempt=0, fresh_labels=0
)


def project(policy: str = "threshold", **sections: Any) -> Project:
    """A project of daily ticks that asks for 100 fresh labels and for a fifth more to learn from."""
    retraining = {"policy": policy, "every": 4, "growth": 0.2} | sections.pop("retraining", {})
    return Project.model_validate(
        {
            "folder": Path("p"),
            "project": {"name": "p", "task": "binary"},
            "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]},
            "loop": {"tick": "1d", "start": NOW - 30 * DAY},
            "retraining": retraining,
            "gates": {"min_rows": 100},
        }
        | sections
    )


TABLE: dict[str, tuple[str, str, dict[str, Any], dict[str, Any], str]] = {
    "calm": ("wait", "threshold", {}, {}, "no alarm, and 100 of 200 new labels"),
    "an alarm": ("retrain", "threshold", {"alarm": alarm("alarm")}, {}, "the alarm is alarm"),
    "an alarm that stands": ("retrain", "threshold", {"alarm": alarm("standing")}, {}, "the alarm is standing"),
    "an alarm within the cooldown": (
        "wait", "threshold", {"alarm": alarm("alarm"), "last_attempt_at": NOW - DAY}, {}, "cooldown"),
    "an alarm when the cooldown ends": (
        "retrain", "threshold", {"alarm": alarm("alarm"), "last_attempt_at": NOW - 2 * DAY}, {}, "the alarm is"),
    "a cooldown of one's own": (
        "wait", "threshold", {"alarm": alarm("alarm")}, {"retraining": {"cooldown": "10d"}}, "cooldown"),
    "no cooldown": (
        "retrain", "threshold", {"alarm": alarm("alarm"), "last_attempt_at": NOW}, {"retraining": {"cooldown": "0s"}},
        "the alarm is"),
    "labels grew enough": ("retrain", "threshold", {"labels": 1200}, {}, "200 new labels since the last training"),
    "labels grew almost enough": ("wait", "threshold", {"labels": 1199}, {}, "199 of 200 new labels"),
    "labels shrank": ("wait", "threshold", {"labels": 900}, {}, "no alarm"),
    "a first label after none": (
        "retrain", "threshold", {"labels": 1, "labels_at_last_attempt": 0}, {}, "1 new labels"),
    "nothing after nothing": ("wait", "threshold", {"labels": 0, "labels_at_last_attempt": 0}, {}, "no alarm"),
    "too few fresh labels to compare on": (
        "wait", "threshold", {"alarm": alarm("alarm"), "fresh_labels": 99}, {}, "99 of 100 fresh labels"),
    "too few fresh labels, whatever the policy": (
        "wait", "every_tick", {"fresh_labels": 99}, {}, "99 of 100 fresh labels"),
    "never": ("wait", "never", {"alarm": alarm("alarm"), "labels": 10**6}, {}, "never"),
    "every tick": ("retrain", "every_tick", {}, {}, "every tick"),
    "every tick that brought labels": ("wait", "every_tick", {"labels": 1000}, {}, "no new labels"),
    "periodic, too early": ("wait", "periodic", {"ticks_since_attempt": 3}, {}, "3 of 4 ticks"),
    "periodic, in time": ("retrain", "periodic", {"ticks_since_attempt": 4}, {}, "4 ticks have passed"),
    "as many caused labels as may be": ("retrain", "every_tick", {"caused": 0.5}, {}, "every tick"),
    "too many caused labels": ("wait", "every_tick", {"caused": 0.51}, {}, "the model itself caused 51% of the labels"),
    "caused labels, and a limit of one's own": (
        "wait", "every_tick", {"caused": 0.2}, {"labeling": {"max_caused": 0.1}}, "at most 10% may be"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "policy", "evidence", "sections", "reason"), TABLE.values(), ids=TABLE)
def test_what_is_decided_with_a_champion(
    kind: str, policy: str, evidence: dict[str, Any], sections: dict[str, Any], reason: str
) -> None:
    decision = decide_retraining(dataclasses.replace(CALM, **evidence), project(policy, **sections), NOW)
    assert (decision.stage, decision.kind, decision.model_version) == ("retraining", kind, 2)
    assert reason in "; ".join(decision.reasons), decision.reasons
    assert decision.evidence["policy"] == policy


@pytest.mark.parametrize("policy", sorted(POLICIES.names()))
@pytest.mark.parametrize(
    ("kind", "labels", "training", "reason"),
    [
        ("train_first", 50, {}, "50 labels to train one on"),
        ("wait", 49, {}, "49 of 50 labels"),
        ("wait", 0, {}, "0 of 50 labels"),
        ("train_first", 10, {"min_rows": 10}, "10 labels"),
        ("adopt", 0, {"base_model": "models:/other/1"}, "models:/other/1"),
        ("adopt", 10**6, {"base_model": "models:/other/1"}, "models:/other/1"),
    ],
)
def test_the_first_champion_comes_whatever_the_policy(
    policy: str, kind: str, labels: int, training: dict[str, Any], reason: str
) -> None:
    decision = decide_retraining(dataclasses.replace(NEWBORN, labels=labels), project(policy, training=training), NOW)
    assert (decision.kind, decision.model_version) == (kind, None)
    assert reason in decision.reasons[0]


def test_a_policy_nobody_knows_is_one_line_with_file_and_key() -> None:
    with pytest.raises(
        ProjectError, match=r"^p/homeostat\.toml: retraining\.policy: .*'treshold'\. Known: .*threshold"
    ):
        decide_retraining(CALM, project("treshold"), NOW)


NETS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a column has gone": ("fix_data", {"broken": "of batch 7, x is missing"}, "nothing is learned from such rows"),
    "a column has gone, and few labels": (
        "fix_data", {"broken": "of batch 7, x is missing", "fresh_labels": 0}, "of batch 7, x is missing"),
    "a column has gone, and caused labels": (
        "fix_data", {"broken": "of batch 7, x is missing", "caused": 0.9}, "the model itself caused 90%"),
    "what served did harm": ("rollback", {"harm": "it lost more"}, "it lost more"),
    "harm, and a column has gone": ("rollback", {"harm": "it lost more", "broken": "x is missing"}, "it lost more"),
    "few labels, since they never came": (
        "label", {"unlabelled": "only 0% came", "fresh_labels": 99}, "only 0% came; 99 of 100 fresh labels"),
    "caused labels": ("wait", {"caused": 0.51}, "the model itself caused 51% of the labels"),
}  # fmt: skip


@pytest.fixture
def added_policy() -> Iterator[str]:
    """A policy that a package of one's own adds, which retrains whatever is known."""
    POLICIES.add("eager", lambda evidence, project, now: Verdict(RetrainingKind.RETRAIN, ("it is always time",)))
    yield "eager"
    POLICIES.remove("eager")


@pytest.mark.parametrize(("kind", "evidence", "reason"), NETS.values(), ids=NETS)
def test_preconditions_hold_for_every_policy_and_one_of_a_package_as_well(
    added_policy: str, kind: str, evidence: dict[str, Any], reason: str
) -> None:
    for policy in sorted(POLICIES.names()):
        decision = decide_retraining(dataclasses.replace(CALM, **evidence), project(policy), NOW)
        assert (policy, decision.kind) == (policy, kind)
        assert reason in "; ".join(decision.reasons), decision.reasons


@pytest.mark.parametrize("policy", ["threshold", "periodic", "never", "every_tick"])
def test_a_policy_that_would_wait_says_that_labels_no_longer_come_and_one_that_would_train_does(policy: str) -> None:
    idle = dataclasses.replace(CALM, labels=1000, ticks_since_attempt=1, stopped="labels no longer come")
    decision = decide_retraining(idle, project(policy), NOW)
    assert decision.kind == "label" and decision.reasons[0] == "labels no longer come" and len(decision.reasons) == 2
    eager = dataclasses.replace(idle, alarm=alarm("alarm"))
    assert decide_retraining(eager, project("threshold"), NOW).kind == "retrain"


def test_the_root_version_does_not_come_back_over_a_persons_rollback() -> None:
    held = dataclasses.replace(CALM, harm="it lost more", held="ann rolled back to version 2")
    decision = decide_retraining(held, project(), NOW)
    assert decision.kind == "wait" and decision.evidence["harm"] == "it lost more"


SENTENCE = st.none() | st.just("this is how it is")
EVIDENCE = st.builds(
    RetrainingEvidence,
    champion=st.sampled_from([None, CHAMPION]),
    labels=st.integers(0, 2000),
    fresh_labels=st.integers(0, 300),
    labels_at_last_attempt=st.integers(0, 2000),
    last_attempt_at=st.none() | st.integers(0, 10).map(lambda days: NOW - days * DAY),
    ticks_since_attempt=st.integers(0, 10),
    alarm=st.sampled_from(["alarm", "standing", "quiet"]).map(alarm),
    caused=st.sampled_from([0.0, 0.9]),
    broken=SENTENCE,
    harm=SENTENCE,
    held=SENTENCE,
    unlabelled=SENTENCE,
    stopped=SENTENCE,
)


@given(EVIDENCE, st.sampled_from(sorted(POLICIES.names())))
def test_every_decision_is_pure_and_says_why(evidence: RetrainingEvidence, policy: str) -> None:
    before = dataclasses.asdict(evidence)
    decision = decide_retraining(evidence, project(policy), NOW)
    assert decision == decide_retraining(evidence, project(policy), NOW)
    assert dataclasses.asdict(evidence) == before
    kinds = {"train_first", "adopt"} if evidence.champion is None else {"retrain", "rollback", "fix_data", "label"}
    assert decision.kind in {"wait", *kinds}
    assert decision.reasons and all(len(reason.split()) > 3 and "\n" not in reason for reason in decision.reasons)


@given(EVIDENCE, st.sampled_from(sorted(POLICIES.names())))
def test_nothing_is_trained_that_could_not_be_compared(evidence: RetrainingEvidence, policy: str) -> None:
    decision = decide_retraining(evidence, project(policy), NOW)
    if decision.kind == "retrain":
        assert evidence.champion is not None and evidence.fresh_labels >= 100
        assert evidence.broken is None and evidence.caused <= 0.5
        assert evidence.harm is None or evidence.held is not None
    if decision.kind == "train_first":
        assert evidence.champion is None and evidence.labels >= 50
