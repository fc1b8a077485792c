"""The alarm's decision table: which windows of which champion, against its holdout, make one."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.project import Project
from homeostat.records import Decision, FitCost, ModelRecord, Window, WindowStatus
from monitoring.alarms import decide_alarm, is_mature

NOW = datetime(2024, 2, 1, tzinfo=UTC)
FINAL, PROVISIONAL, UNKNOWN = WindowStatus.FINAL, WindowStatus.PROVISIONAL, WindowStatus.UNKNOWN
CHAMPION = ModelRecord(2, "k", NOW, "xgboost", 1000, {"auc": 0.75, "log_loss": 0.5}, FitCost())
FOREIGN = ModelRecord(2, "k", NOW, "adopted", 0, {}, FitCost())


def project(**monitoring: Any) -> Project:
    """A binary project that watches two windows of at least 100 labels, with a tolerance of 0.05."""
    return Project.model_validate(
        {
            "folder": Path("p"),
            "project": {"name": "p", "task": "binary"},
            "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]},
            "loop": {"tick": "1d", "start": NOW},
            "monitoring": {"windows": 2, "tolerance": 0.05, "min_rows": 100, "min_coverage": 0.5} | monitoring,
        }
    )


def window(
    day: int,
    realized: float | None,
    status: WindowStatus = FINAL,
    coverage: float = 1.0,
    labels: int = 500,
    version: int = 2,
) -> Window:
    """The champion's window of one day."""
    end = NOW + timedelta(days=day)
    status = UNKNOWN if realized is None else status
    return Window(
        f"b{day}", end - timedelta(days=1), end, labels, labels, coverage, status, "auc", realized, {}, version, NOW
    )


TABLE: dict[str, tuple[str, ModelRecord | None, list[Window], dict[str, Any], str]] = {
    "both windows are worse": (
        "alarm", CHAMPION, [window(1, 0.65), window(2, 0.6)], {}, "worse than the holdout's 0.75"),
    "only the newest is worse": ("quiet", CHAMPION, [window(1, 0.75), window(2, 0.6)], {}, "within 0.05"),
    "only an older one is worse": ("quiet", CHAMPION, [window(1, 0.6), window(2, 0.75)], {}, "within 0.05"),
    "worse by the tolerance and no more": (
        "quiet", CHAMPION, [window(1, 0.5), window(2, 0.5)], {"tolerance": 0.25}, "within 0.25"),
    "better": ("quiet", CHAMPION, [window(1, 0.9), window(2, 0.9)], {}, "within 0.05"),
    "what lies longer ago is forgotten": (
        "quiet", CHAMPION, [window(1, 0.5), window(2, 0.75), window(3, 0.75)], {}, "within 0.05"),
    "windows in any order": (
        "alarm", CHAMPION, [window(3, 0.6), window(1, 0.8), window(2, 0.6)], {}, "worse than the holdout"),
    "one window where two are asked for": ("quiet", CHAMPION, [window(1, 0.5)], {}, "1 of 2 windows are known"),
    "one window where one is asked for": (
        "alarm", CHAMPION, [window(1, 0.5)], {"windows": 1}, "over the last 1 windows"),
    "no windows": ("quiet", CHAMPION, [], {}, "0 of 2 windows are known"),
    "an unknown window is neither health nor decay": (
        "quiet", CHAMPION, [window(1, 0.5), window(2, None)], {}, "1 of 2 windows are known"),
    "a provisional window with enough labels counts": (
        "alarm", CHAMPION, [window(1, 0.5, PROVISIONAL, 0.5), window(2, 0.5)], {}, "worse"),
    "a provisional window with too few labels waits": (
        "quiet", CHAMPION, [window(1, 0.5, PROVISIONAL, 0.49), window(2, 0.5)], {}, "1 of 2"),
    "a final window counts whatever its coverage": (
        "alarm", CHAMPION, [window(1, 0.5, FINAL, 0.1), window(2, 0.5)], {}, "worse"),
    "a window of few labels says little": (
        "quiet", CHAMPION, [window(1, 0.5, labels=99), window(2, 0.5)], {}, "1 of 2"),
    "an earlier champion's windows are not this one's": (
        "quiet", CHAMPION, [window(1, 0.5, version=1), window(2, 0.5)], {}, "1 of 2"),
    "less is better for a loss": (
        "alarm", CHAMPION, [window(1, 0.6), window(2, 0.6)], {"metric": "log_loss"}, "log_loss was worse"),
    "and more is worse": ("quiet", CHAMPION, [window(1, 0.4), window(2, 0.4)], {"metric": "log_loss"}, "within"),
    "no champion": ("quiet", None, [window(1, 0.5), window(2, 0.5)], {}, "no reference"),
    "a champion without a holdout": ("quiet", FOREIGN, [window(1, 0.5), window(2, 0.5)], {}, "no reference"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "champion", "windows", "settings", "reason"), TABLE.values(), ids=TABLE)
def test_what_is_decided(
    kind: str, champion: ModelRecord | None, windows: list[Window], settings: dict[str, Any], reason: str
) -> None:
    decision = decide_alarm(champion, windows, standing=False, project=project(**settings), now=NOW)
    assert (decision.stage, decision.kind, decision.tick_at) == ("alarm", kind, NOW)
    assert decision.model_version == (champion.version if champion else None)
    assert len(decision.reasons) == 1 and reason in decision.reasons[0], decision.reasons


@pytest.mark.parametrize("windows", [[], [window(1, 0.9), window(2, 0.9)], [window(1, 0.5), window(2, 0.5)]])
def test_an_alarm_that_stands_stands_until_it_is_acted_on(windows: list[Window]) -> None:
    assert decide_alarm(CHAMPION, windows, standing=True, project=project(), now=NOW).kind == "standing"


def test_an_alarm_says_what_it_saw() -> None:
    decision = decide_alarm(CHAMPION, [window(1, 0.65), window(2, 0.5)], standing=False, project=project(), now=NOW)
    assert decision.evidence["metric"] == "auc" and decision.evidence["reference"] == 0.75
    assert decision.evidence["worse_by"] == {"b1": pytest.approx(0.1), "b2": pytest.approx(0.25)}
    assert "0.1000 or more over the last 2 windows; the tolerance is 0.05" in decision.reasons[0]


STATUSES = st.sampled_from([FINAL, PROVISIONAL])
WINDOWS = st.builds(
    window,
    st.integers(1, 9),
    st.none() | st.floats(0, 1),
    STATUSES,
    st.floats(0, 1),
    st.integers(0, 300),
    st.integers(1, 2),
)
ANY_WINDOWS = st.lists(WINDOWS, max_size=6, unique_by=lambda w: w.batch)


@given(ANY_WINDOWS, st.booleans(), st.randoms())
def test_the_same_evidence_makes_the_same_decision_in_any_order(
    windows: list[Window], standing: bool, chance: Any
) -> None:
    def decide(given: list[Window]) -> Decision:
        return decide_alarm(CHAMPION, given, standing=standing, project=project(), now=NOW)

    shuffled = copy.copy(windows)
    chance.shuffle(shuffled)
    assert decide(windows) == decide(shuffled) == decide(windows)


@given(ANY_WINDOWS)
def test_an_alarm_is_never_raised_on_what_is_not_known(windows: list[Window]) -> None:
    decision = decide_alarm(CHAMPION, windows, standing=False, project=project(), now=NOW)
    known = [w for w in windows if w.realized is not None and w.model_version == 2 and w.labels >= 100]
    if decision.kind == "alarm":
        assert len(known) >= 2
        assert set(decision.evidence["worse_by"]) <= {w.batch for w in known}


@pytest.mark.parametrize(
    ("status", "coverage", "mature"),
    [
        (FINAL, 0.0, True),
        (FINAL, 1.0, True),
        (PROVISIONAL, 0.5, True),
        (PROVISIONAL, 0.49, False),
        (UNKNOWN, 1.0, False),
    ],
)
def test_a_window_is_mature_when_its_labels_are_a_fair_sample(
    status: WindowStatus, coverage: float, mature: bool
) -> None:
    realized = None if status is UNKNOWN else 0.7
    assert is_mature(window(1, realized, status, coverage), project().monitoring) is mature
