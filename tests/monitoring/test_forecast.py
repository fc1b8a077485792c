"""What retraining is forecast to bring, and which plan is taken: tables and what must hold in every case."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_policies import CALM, DAY, NOW, alarm, project

from homeostat.monitoring.retraining.evidence import Learning, RetrainingEvidence
from homeostat.monitoring.retraining.forecast import (
    HORIZON_TICKS,
    Outcome,
    Plan,
    choose_plan,
    forecast_plan,
    growth_gain,
)
from homeostat.monitoring.retraining.policies import decide_retraining
from homeostat.sections.steering import Retraining

WEIGHTS = Plan("recalibrate", (), 0)
WINDOWS = Plan("refresh", ("recent", "newest"), 100_000)
WHOLE = Plan("retrain", ("everything", "recent", "newest"), 1_000_000, growth=0.01)
PLANS = (WEIGHTS, WINDOWS, WHOLE)
QUICK = (replace(WEIGHTS, seconds=0.0), replace(WINDOWS, seconds=0.5), replace(WHOLE, seconds=5.0))
AHEAD = 2e6 / HORIZON_TICKS
ROOM: dict[str, Any] = {"rows_a_tick": 500, "spent": 0, "full_cost": 1e8, "full_cost_per_tick": 0}


def left(room: float, full_cost_per_tick: float = 0) -> dict[str, Any]:
    """Accounts in which so much of a budget of 0.2 is left."""
    return {"full_cost": room / 0.2, "full_cost_per_tick": full_cost_per_tick}


def bad(kind: str, gained: float = -0.5, times: int = 10) -> tuple[Outcome, ...]:
    """So many steps of a kind that all gained so much."""
    return (Outcome(kind, 0.01, gained),) * times


def old(outcomes: tuple[Outcome, ...], **more: Any) -> tuple[Outcome, ...]:
    """The same, so many ticks ago, or measured on so many rows."""
    return tuple(replace(outcome, **more) for outcome in outcomes)


TABLE: dict[str, tuple[str | None, tuple[Plan, ...], tuple[Outcome, ...], dict[str, Any], dict[str, Any]]] = {
    "everything pays, so the most thorough": ("retrain", PLANS, (), {}, {}),
    "the labels have not doubled": ("refresh", PLANS[:2], (), {}, {}),
    "the whole costs more than the budget": ("refresh", PLANS, (), left(6e5), {}),
    "the whole may run ahead of the budget": ("retrain", PLANS, (), left(6e5, AHEAD), {}),
    "but not by more": ("refresh", PLANS, (), left(5.99e5, AHEAD), {}),
    "and windows may not at all": ("recalibrate", PLANS[:2], (), left(0, 1e9), {}),
    "what a window costs may not run ahead": ("recalibrate", PLANS[:2], (), left(0.999e5), {}),
    "just enough for a window": ("refresh", PLANS[:2], (), left(1e5), {}),
    "nothing but weights can be paid": ("recalibrate", PLANS, (), left(0), {}),
    "all is spent and more": ("recalibrate", PLANS, (), {"spent": 1e9}, {}),
    "a fit costs more than an error": ("recalibrate", PLANS, (), {}, {"price": 1e6}),
    "errors cost nothing": (None, PLANS, (), {}, {"error_price": 0}),
    "windows are never worth their price": (None, PLANS[1:], (), {}, {"price": 1e6}),
    "there is no plan": (None, (), (), {}, {}),
    "no rows come": (None, PLANS, (), {"rows_a_tick": 0}, {}),
    "the whole made things worse": ("refresh", PLANS, bad("retrain"), {}, {}),
    "windows made things worse": ("recalibrate", PLANS[:2], bad("refresh"), {}, {}),
    "weights made things worse": (None, PLANS[:1], bad("recalibrate"), {}, {}),
    "all made things worse": (
        None, PLANS, bad("recalibrate") + bad("refresh") + bad("retrain"), {}, {}),
    "that was long ago": (
        "refresh", PLANS[:2], bad("refresh", -0.1, 3) + bad("refresh", 0.1, 10), {}, {}),
    "windows made things worse, but that was long ago": (
        "refresh", PLANS[:2], old(bad("refresh", -0.02), age=40), {}, {}),
    "windows made things worse lately": (
        "recalibrate", PLANS[:2], old(bad("refresh", -0.02), age=2), {}, {}),
    "windows made things worse on a handful of rows": (
        "refresh", PLANS[:2], old(bad("refresh", -0.02, 5), rows=10), {}, {}),
    "a doubt alone is no reason to wait": ("refresh", PLANS[:2], bad("refresh", 0.0, 1), {}, {}),
    "what takes seconds is never too dear": ("retrain", QUICK, (), left(0), {}),
    "nor for a price": ("retrain", QUICK, (), left(0), {"price": 1e9}),
    "unless no seconds are free": ("recalibrate", QUICK, (), left(0), {"free_seconds": 0}),
    "or fewer": ("refresh", QUICK, (), left(0), {"free_seconds": 1}),
    "what is free is tried as long as it may pay": ("refresh", QUICK[:2], bad("refresh", -0.02, 3), {}, {}),
    "and not once it plainly does not": ("recalibrate", QUICK[:2], bad("refresh", -0.1, 20), {}, {}),
    "of an alarm nothing is too dear": ("retrain", PLANS, (), left(0) | {"urgent": True}, {}),
    "whatever the last steps were worth": ("retrain", PLANS, bad("retrain"), left(0) | {"urgent": True}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "plans", "outcomes", "accounts", "settings"), TABLE.values(), ids=TABLE)
def test_what_is_chosen(
    kind: str | None,
    plans: tuple[Plan, ...],
    outcomes: tuple[Outcome, ...],
    accounts: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    chosen, found = choose_plan(plans, outcomes, settings=Retraining(**{"budget": 0.2} | settings), **(ROOM | accounts))
    assert (chosen and chosen.plan.kind) == kind
    assert [forecast.plan for forecast in found] == list(plans)


GAINS = st.lists(st.floats(-1, 1), max_size=20)


def forecast(gains: list[float], plan: Plan = WINDOWS) -> float:
    outcomes = [Outcome(plan.kind, 0.01, gain) for gain in gains]
    return forecast_plan(plan, outcomes, rows_a_tick=500, left=1e9, settings=Retraining()).gain


@given(GAINS, st.integers(0, 19), st.floats(0.001, 1))
def test_what_gained_more_is_forecast_to_gain_more_and_the_other_way(gains: list[float], at: int, more: float) -> None:
    if gains:
        at %= len(gains)
        better = [gain + more * (index == at) for index, gain in enumerate(gains)]
        assert forecast(better) > forecast(gains)


@given(GAINS)
def test_the_forecast_lies_among_what_was_gained_and_what_was_thought_before(gains: list[float]) -> None:
    seen = [*gains, forecast([])]
    assert min(seen) - 1e-12 <= forecast(gains) <= max(seen) + 1e-12


def test_what_more_data_teach_is_added_to_what_such_steps_gained() -> None:
    steady = dataclasses.replace(WHOLE, growth=0.0)
    assert forecast([0.1, 0.2], WHOLE) == pytest.approx(forecast([0.1, 0.2], steady) + WHOLE.growth)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_newest_outcome_counts_most_and_that_of_another_kind_not_at_all(sign: int) -> None:
    assert sign * forecast([0.0, sign * 0.2]) > sign * forecast([sign * 0.2, 0.0])
    alone = forecast_plan(WINDOWS, bad("retrain", sign * 1.0), rows_a_tick=500, left=1e9, settings=Retraining())
    assert alone.gain == forecast([])


def test_what_is_seldom_tried_has_a_wider_forecast() -> None:
    spreads = [
        forecast_plan(WINDOWS, bad("refresh", 0.01, n), rows_a_tick=500, left=1e9, settings=Retraining()).spread
        for n in range(10)
    ]
    assert spreads == sorted(spreads, reverse=True) and spreads[-1] < spreads[0] / 2


@given(st.integers(-5, 10**6), st.integers(0, 10**6))
def test_more_rows_gain_and_no_more_gain_nothing(before: int, now: int) -> None:
    found = growth_gain(before, now)
    assert found >= 0
    assert (found > 0) == (0 < before < now)
    assert growth_gain(before, now + 1000) >= found


@given(
    st.lists(
        st.builds(Outcome, st.sampled_from(["recalibrate", "refresh", "retrain"]), st.just(0.0), st.floats(-1, 1))
    ),
    st.floats(0, 1e4),
    st.floats(0, 1e8),
    st.floats(0, 1e8),
    st.floats(0, 1e8),
    st.floats(0, 100),
)
def test_what_is_chosen_pays_is_affordable_and_nothing_more_thorough_does_and_is(
    outcomes: list[Outcome], rows: float, spent: float, full_cost: float, tick: float, price: float
) -> None:
    settings = Retraining(price=price)
    accounts = {"spent": spent, "full_cost": full_cost, "full_cost_per_tick": tick}
    chosen, found = choose_plan(PLANS, outcomes, rows_a_tick=rows, settings=settings, **accounts)
    fit = [each.affordable and each.worth > each.cost for each in found]
    assert chosen == next((each for each, good in zip(found[::-1], fit[::-1], strict=True) if good), None)
    if chosen is not None and chosen.plan.row_rounds:
        ahead = HORIZON_TICKS * tick if chosen.plan.kind == "retrain" else 0
        assert spent + chosen.plan.row_rounds <= settings.budget * (full_cost + ahead) * (1 + 1e-9)


LEARNING = Learning(
    plans=PLANS[:2], outcomes=(), rows_a_tick=500, new_labels=500, spent=0, full_cost=1e8, full_cost_per_tick=0
)
DECISIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "a step pays": ("refresh", {}, {}, "refitting on recent rows is expected to save 0.0100"),
    "the labels have doubled": ("retrain", {"plans": PLANS}, {}, "learning everything anew is expected"),
    "only weights are to be had": ("recalibrate", {"full_cost": 0}, {}, "weighing the members anew"),
    "nothing pays": ("wait", {"rows_a_tick": 0}, {}, "nothing pays: weighing the members anew"),
    "a column has gone": ("fix_data", {}, {"broken": "x is null"}, "x is null; nothing is learned"),
    "what served did harm": ("rollback", {}, {"harm": "it lost more"}, "it lost more"),
    "harm, and a column has gone": ("rollback", {}, {"harm": "it lost more", "broken": "x is null"}, "it lost more"),
    "harm, and nothing to compare on": ("rollback", {}, {"harm": "it lost more", "fresh_labels": 0}, "it lost more"),
    "too few fresh labels": ("wait", {}, {"fresh_labels": 99}, "99 of 100 fresh labels"),
    "too few fresh labels, and a person should see to it": (
        "label", {}, {"unlabelled": "none came", "fresh_labels": 99}, "none came"),
    "labels are wanted elsewhere, and a step can be taken": ("refresh", {}, {"unlabelled": "none came"}, "refitting"),
    "a step may follow a tick later": ("refresh", {}, {"last_attempt_at": NOW - DAY}, "refitting"),
    "and no sooner": ("wait", {}, {"last_attempt_at": NOW - DAY / 2}, "cooldown"),
    "nothing can be refitted in steps, and no alarm": ("wait", {}, {"learning": None}, "no alarm"),
    "nothing can be refitted in steps, and an alarm": (
        "retrain", {}, {"learning": None, "alarm": alarm("alarm")}, "the alarm is alarm"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "learning", "evidence", "reason"), DECISIONS.values(), ids=DECISIONS)
def test_what_the_policy_decides(kind: str, learning: dict[str, Any], evidence: dict[str, Any], reason: str) -> None:
    known = {"learning": dataclasses.replace(LEARNING, **learning)} | evidence
    decision = decide_retraining(dataclasses.replace(CALM, **known), project("forecast"), NOW)
    assert (decision.kind, decision.model_version) == (kind, 2)
    assert reason in decision.reasons[0], decision.reasons
    assert ("members" in decision.evidence) == (kind in {"recalibrate", "refresh"} or "plans" in learning)


def test_a_cooldown_of_ones_own_is_waited_for_and_a_broken_column_is_said_all_the_same() -> None:
    patient, recent = project("forecast", retraining={"cooldown": "2d"}), NOW - DAY
    evidence = dataclasses.replace(CALM, learning=LEARNING, last_attempt_at=recent)
    assert "cooldown" in decide_retraining(evidence, patient, NOW).reasons[0]
    broken = dataclasses.replace(evidence, broken="x is null")
    assert decide_retraining(broken, patient, NOW).kind == "fix_data"


def test_the_evidence_holds_every_forecast_and_the_accounts() -> None:
    decision = decide_retraining(dataclasses.replace(CALM, learning=LEARNING), project("forecast"), NOW)
    told = decision.evidence["forecasts"]
    assert [each["kind"] for each in told] == ["recalibrate", "refresh"]
    assert told[1]["row_rounds"] == 100_000 and told[1]["affordable"] and told[1]["cost"] == pytest.approx(0.1)
    assert told[1]["worth"] == pytest.approx((told[1]["gain"] + told[1]["spread"]) * 500 * 5)
    assert (decision.evidence["spent"], decision.evidence["full_cost"]) == (0, 1e8)
    assert decision.evidence["gain"] == told[1]["gain"] and decision.evidence["members"] == ["recent", "newest"]


LEARNINGS = st.builds(
    Learning,
    plans=st.sampled_from([PLANS, PLANS[:2], PLANS[:1]]),
    outcomes=st.lists(
        st.builds(Outcome, st.sampled_from(["refresh", "retrain"]), st.just(0.01), st.floats(-1, 1)), max_size=5
    ).map(tuple),
    rows_a_tick=st.floats(0, 1000),
    spent=st.floats(0, 1e7),
    full_cost=st.floats(0, 1e8),
    full_cost_per_tick=st.floats(0, 1e7),
)


@given(LEARNINGS, st.integers(0, 300), st.sampled_from([None, NOW - DAY, NOW - 9 * DAY]))
def test_the_same_evidence_gives_the_same_decision_and_is_left_as_it_was(
    learning: Learning, fresh: int, last: Any
) -> None:
    evidence: RetrainingEvidence = dataclasses.replace(
        CALM, learning=learning, fresh_labels=fresh, last_attempt_at=last
    )
    before = dataclasses.asdict(evidence)
    decision = decide_retraining(evidence, project("forecast"), NOW)
    assert decision == decide_retraining(evidence, project("forecast"), NOW)
    assert dataclasses.asdict(evidence) == before
    if decision.kind != "wait":
        assert fresh >= 100
    assert all(len(reason.split()) > 3 and "\n" not in reason for reason in decision.reasons)
