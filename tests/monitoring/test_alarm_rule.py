"""The alarm's decision table: which state of which e-processes makes one, and what it says of it."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.batch_test import gather
from homeostat.decisions import AlarmKind
from homeostat.losses import describe_losses
from homeostat.monitoring.alarm.rule import decide_alarm, is_news
from homeostat.monitoring.alarm.state import REFERENCE_ROWS, Watch, begin, take
from homeostat.project import Project
from homeostat.records import FitCost, ModelRecord, WindowStatus

NOW = datetime(2024, 2, 1, tzinfo=UTC)
FINAL, PROVISIONAL, UNKNOWN = WindowStatus.FINAL, WindowStatus.PROVISIONAL, WindowStatus.UNKNOWN
CHAMPION = ModelRecord(2, "k", NOW, "xgboost", 1000, {"auc": 0.75}, FitCost())
ROWS = 2000


def losses(mean: float, rows: int = ROWS) -> np.ndarray:
    """Losses of a mean from 0.1 to 0.9, evenly spread."""
    return mean + np.linspace(-0.1, 0.1, rows)[np.random.default_rng(0).permutation(rows)]


def held_out(values: list[str], days: int = 10) -> dict[str, Any]:
    """A root version's loss of 0.2, half of its rows of each of two segments."""
    told = describe_losses(losses(0.2), {"c": values * (ROWS // len(values))}, scale=1.0, zero_one=False)
    return told | {"batches": {"": dataclasses.asdict(gather(losses(0.2), np.arange(ROWS) % days))}}


def watched(*means: float, loss: dict[str, Any] | None = None, **settings: float) -> Watch:
    """A watch after batches of such mean losses."""
    given = {"alpha": 0.05, "tolerance": 0.01} | settings
    state = begin(1, held_out(["a"]) if loss is None else loss, columns=(), at="d0", **given)  # type: ignore[arg-type]
    for day, mean in enumerate(means):
        state = take(state, losses(mean), {}, start=f"d{day}", end=f"d{day + 1}")
    return state


def segmented(*means: float) -> Watch:
    """A watch after a batch whose segments a and b have such mean losses."""
    state = begin(1, held_out(["a", "b"]), alpha=0.05, tolerance=0.01, columns=("c",), at="d0")
    batch = np.concatenate([losses(mean) for mean in means])
    values = [name for name in "ab"[: len(means)] for _ in range(ROWS)]
    return take(state, batch, {"c": values}, start="d0", end="d1")


TABLE: dict[str, tuple[str, Watch | None, int, str]] = {
    "worse": ("alarm", watched(0.3), False, "all rows: the mean loss was 0.3000 over the 2000 labels since d0"),
    "worse, and said before": ("standing", watched(0.3), True, "all rows: the mean loss was"),
    "worse at last": ("alarm", watched(0.2, 0.2, 0.3), False, "over the 2000 labels since d2"),
    "an alarm stands while health is not sure": ("standing", watched(0.3, 0.21), True, "reached by d1"),
    "an alarm ends where it is well again": ("ended", watched(0.3, 0.1), True, "since d0, reached by d1, is over"),
    "an end is told once": ("quiet", watched(0.3, 0.1), 2, "all rows came nearest"),
    "an alarm speaks again": ("alarm", watched(0.3, 0.1, 0.1, 0.3), 2, "over the 2000 labels since d3"),
    "as good": ("quiet", watched(0.2, 0.2, 0.2), False, "all rows came nearest to an alarm"),
    "better": ("quiet", watched(0.1, 0.15), False, "and 65.8 would be one, over 4000 labels"),
    "worse by the tolerance": ("quiet", watched(0.25, tolerance=0.05), False, "0.2000 on 2000 rows held out"),
    "worse by more than the tolerance": ("alarm", watched(0.3, tolerance=0.05), False, "a tolerance of 0.05"),
    "a smaller alpha asks for more": ("alarm", watched(0.3, 0.3, alpha=0.001), False, "and 3290 is an alarm"),
    "one segment is worse": ("alarm", segmented(0.13, 0.3), False, "c=b: the mean loss was 0.3000"),
    "no segment is worse": ("quiet", segmented(0.2, 0.2), False, "of 3 e-processes"),
    "one day of reference": ("quiet", watched(0.3, loss=held_out(["a"], days=1)), 0, "too few batches are known"),
    "nothing has matured": ("quiet", watched(), False, "over 0 labels"),
    "no reference yet": ("quiet", watched(loss={}), False, f"made from the first {REFERENCE_ROWS} labels"),
    "its first labels are its reference": (
        "alarm", watched(*[0.2] * 3, *[0.4] * 4, loss={}), 0, "that the lineage scored first"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "state", "said", "reason"), TABLE.values(), ids=TABLE)
def test_what_is_decided(kind: str, state: Watch | None, said: int, reason: str) -> None:
    decision = decide_alarm(CHAMPION, state, told=int(said), now=NOW)
    assert (decision.stage, decision.kind, decision.tick_at, decision.model_version) == ("alarm", kind, NOW, 2)
    assert reason in "; ".join(decision.reasons), decision.reasons
    assert json.loads(json.dumps(decision.evidence, allow_nan=False)) == decision.evidence


@pytest.mark.parametrize(
    ("champion", "state", "reason"),
    [
        (None, None, "no champion yet"),
        (None, watched(0.3), "no champion yet"),
        (CHAMPION, None, "has not been checked yet"),
    ],
)
def test_without_a_champion_or_its_state_nothing_is_said(
    champion: ModelRecord | None, state: Watch | None, reason: str
) -> None:
    decision = decide_alarm(champion, state, told=0, now=NOW)
    assert decision.kind == "quiet" and reason in decision.reasons[0]


def test_of_many_segments_that_became_worse_a_few_are_told_and_all_are_evidence() -> None:
    state = begin(1, {}, alpha=0.05, tolerance=0.01, columns=("c",), at="d0")
    values = {"c": [f"v{place % 12}" for place in range(12 * REFERENCE_ROWS)]}
    for mean in (*[0.2] * 3, *[0.5] * 4):
        state = take(state, losses(mean, 12 * REFERENCE_ROWS), values, start="d0", end="d1")
    decision = decide_alarm(CHAMPION, state, told=0, now=NOW)
    assert len(decision.reasons) == 7 and decision.reasons[5] == "and 8 more segments"
    assert sum(e_process["reached_at"] == "d1" for e_process in decision.evidence["e_processes"]) == 13


def test_an_alarm_says_what_it_saw_and_what_is_assumed() -> None:
    decision = decide_alarm(CHAMPION, segmented(0.3, 0.31), told=0, now=NOW)
    assert sorted(reason.split(":")[0] for reason in decision.reasons[:3]) == ["all rows", "c=a", "c=b"]
    assert "false for at most 5.00% of lineages" in decision.reasons[3] and "missing by chance" in decision.reasons[3]
    assert (decision.evidence["lineage"], decision.evidence["alpha"], decision.evidence["until"]) == (1, 0.05, "d1")
    whole = decision.evidence["e_processes"][0]
    assert whole["mean"] == pytest.approx(0.305) and whole["reference"] == pytest.approx(0.2)
    assert whole["limit"] > whole["reference"] + 0.01 and whole["reached_at"] == "d1"
    assert whole["log_e_value_max"] >= whole["log_threshold"]


def test_a_large_e_value_can_be_told() -> None:
    state = watched(0.9)
    (stream,) = state.streams
    assert stream.e_process is not None and stream.batches is not None
    large = [dataclasses.replace(test, peak=800.0) for test in (stream.e_process, stream.batches)]
    stream = dataclasses.replace(stream, e_process=large[0], batches=large[1])  # type: ignore[arg-type]
    state = dataclasses.replace(state, streams=(stream,))
    assert "the e-value was 10^347" in decide_alarm(CHAMPION, state, told=0, now=NOW).reasons[0]


@given(st.lists(st.floats(0.1, 0.9), max_size=4), st.integers(0, 4))
def test_an_alarm_stands_where_a_threshold_was_reached_and_nowhere_else(means: list[float], told: int) -> None:
    state = watched(*means)
    decision = decide_alarm(CHAMPION, state, told=told, now=NOW)
    reached = any(stream.reached_at is not None for stream in state.streams)
    assert AlarmKind(decision.kind).stands == reached
    assert (decision.kind in ("alarm", "ended", "withdrawn")) == is_news(state, told)
    assert decision == decide_alarm(CHAMPION, state, told=told, now=NOW)


def project() -> Project:
    """A binary project that asks for labels of half of the rows."""
    return Project.model_validate(
        {
            "folder": Path("p"),
            "project": {"name": "p", "task": "binary"},
            "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]},
            "loop": {"tick": "1d", "start": NOW},
            "monitoring": {"min_coverage": 0.5},
        }
    )
