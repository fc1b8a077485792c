"""By how much a challenger must be ahead: more than chance explains, less where it is likely, none while alarmed."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.decisions import PromotionEvidence
from homeostat.project import Project
from homeostat.registry.comparison import Comparison, Gain, pool, strongest, track_record
from homeostat.registry.gates import margin
from homeostat.registry.promotion import decide_promotion, list_gates

NOW = datetime(2024, 5, 1, tzinfo=UTC)
AHEAD = Comparison(1, 2, 200, ("b1",), {"auc": 0.7}, {"auc": 0.72}, gain=0.015, gain_error=0.01, rows_a_tick=100)
PAID, SEEN = Gain(0.02, 0.001, 10), Gain(0.015, 0.005)


def project(**gates: Any) -> Project:
    raw: dict[str, Any] = {"folder": Path("p"), "project": {"name": "p", "task": "binary"}}
    raw |= {"data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]}, "gates": gates}
    return Project.model_validate(raw | {"loop": {"tick": "1d", "start": NOW}})


TABLE: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "what may be chance": ("refuse", {}, {}, "it may be chance: 1.5 standard errors, 2 are asked for"),
    "what is more than chance": ("promote", {"gain": 0.021}, {}, "a loss lower by 0.0210 ± 0.0100"),
    "what its predecessors showed counts with it": ("promote", {"earlier": (SEEN, SEEN)}, {}, "0.0150"),
    "what they showed against it does not": (
        "promote", {"gain": 0.021, "earlier": (Gain(-0.05, 0.005),)}, {}, "0.0210"),
    "what it loses now is no gain, whatever they showed": (
        "refuse", {"gain": -0.001, "earlier": (SEEN, SEEN)}, {}, "it is not better"),
    "while an alarm stands any gain is enough": ("promote", {"gain": 0.001, "alarmed": True}, {}, "0.0010"),
    "but a loss is not": ("refuse", {"gain": -0.001, "alarmed": True}, {}, "it is not better"),
    "steps that paid are trusted": ("promote", {"gain": 0.001, "record": PAID}, {}, "0.0010"),
    "steps that did not are not": ("refuse", {"record": Gain(-0.02, 0.001, 10)}, {}, "it may be chance"),
    "one that knows far more rows": ("promote", {"growth": 2.0}, {}, "0.0150"),
    "a price that it is worth": ("promote", {"gain": 0.04}, {"change_price": 10}, "0.0400"),
    "a price that it is not worth": (
        "refuse", {"gain": 0.021}, {"change_price": 10}, "and a change costs 10 (gates.change_price)"),
    "people are asked about what is worth it": ("ask", {"gain": 0.06}, {"approval": "human"}, "a person must approve"),
    "and not about what is little": ("refuse", {"gain": 0.03}, {"approval": "human"}, "and a change costs 25"),
    "unless they said that a change costs nothing": (
        "ask", {"gain": 0.03}, {"approval": "human", "change_price": 0}, "a person must approve"),
    "nor that it may lose": ("ask", {"gain": -0.03}, {"approval": "human", "min_gain": -1.0}, "a person must approve"),
    "nor do they wait for it while an alarm stands": (
        "ask", {"gain": 0.001, "alarmed": True}, {"approval": "human"}, "a person must approve"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "evidence", "gates", "reason"), TABLE.values(), ids=TABLE)
def test_what_is_decided(kind: str, evidence: dict[str, Any], gates: dict[str, Any], reason: str) -> None:
    decision = decide_promotion(dataclasses.replace(AHEAD, **evidence), project(**gates), NOW)
    assert decision.kind == kind, decision.reasons
    assert reason in decision.reasons[0], decision.reasons
    assert all(gate.passed for gate in list_gates(decision.evidence)) == (kind != "refuse")


def test_what_is_promised_is_less_than_what_was_seen() -> None:
    sure, hardly = (
        PromotionEvidence.of(decide_promotion(dataclasses.replace(AHEAD, gain=gain), project(), NOW).evidence).promised
        for gain in (0.1, 0.011)
    )
    assert sure == pytest.approx(0.099) and hardly == pytest.approx(0.011 * (1 - 1 / 1.1**2))


def test_equal_challengers_are_promoted_in_one_of_twenty_comparisons_at_most() -> None:
    chance, promoted, times = np.random.default_rng(5), 0, 3000
    for _ in range(times):
        earlier = tuple(Gain(float(chance.normal(0, 0.006)), 0.006) for _ in range(int(chance.integers(0, 11))))
        compared = dataclasses.replace(AHEAD, gain=float(chance.normal(0, 0.01)), earlier=earlier)
        promoted += decide_promotion(compared, project(), NOW).kind == "promote"
    assert 0.01 < promoted / times <= 0.05


def test_batches_that_differ_by_more_than_their_errors_are_less_sure_together() -> None:
    alike, apart = pool([Gain(0.02, 0.01)] * 4), pool([Gain(0.1, 0.01), Gain(-0.06, 0.01)] * 2)
    assert (alike.mean, apart.mean, alike.batches) == (pytest.approx(0.02), pytest.approx(0.02), 4)
    assert alike.error == pytest.approx(0.005) and apart.error > 8 * alike.error


def test_a_change_a_tick_ago_is_not_drowned_by_what_was_long_before() -> None:
    before, since = [Gain(0.0, 0.002)] * 9, Gain(0.1, 0.02)
    assert strongest(Gain(0.1, 0.04), [*before, since]).errors > 4


@pytest.mark.parametrize(("gains", "known"), [((), False), ((0.1,) * 3, False), ((0.1, 0.2, 0.1, 0.2), True)])
def test_a_record_needs_a_few_steps(gains: tuple[float, ...], known: bool) -> None:
    assert (track_record(gains) is not None) == known


GAINS = st.builds(Gain, st.floats(-1, 1), st.floats(1e-4, 1))


@given(GAINS, st.lists(GAINS, max_size=10))
def test_what_speaks_most_for_a_challenger_is_never_less_than_its_own_comparison(
    now: Gain, earlier: list[Gain]
) -> None:
    found = strongest(now, earlier)
    assert found.errors >= now.errors and 1 <= found.batches <= 1 + len(earlier)
    assert math.copysign(1, found.shrunk) == math.copysign(1, found.mean) or found.shrunk == 0
    assert abs(found.shrunk) <= abs(found.mean)


@given(st.none() | GAINS, st.floats(0.1, 10))
def test_a_margin_is_never_below_nothing_nor_above_two_standard_errors(record: Gain | None, growth: float) -> None:
    assert 0 <= margin(record, growth) <= 2
    assert margin(record, growth) <= margin(record, 1.0) <= margin(None, 1.0)
