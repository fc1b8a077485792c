"""How many answers are asked for, and what for: within the budget always, in the shares that are set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.pipelines.labels.labeling import LabelingEvidence, decide_labeling
from homeostat.project import Project
from homeostat.records import Decision

NOW = datetime(2024, 1, 8, tzinfo=UTC)


def project(**labeling: Any) -> Project:
    return Project.model_validate(
        {
            "folder": "/tmp",
            "project": {"name": "p", "task": "binary"},
            "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]},
            "loop": {"tick": "1d", "start": "2024-01-01"},
            "labeling": {"budget": 70, **labeling},
        }
    )


def decided(made: Project | None = None, **evidence: Any) -> Decision:
    known: dict[str, Any] = {
        "champion": 1, "ticks": 1, "asked": 0, "asked_lately": 0, "to_measure": 1000, "unlabelled": 1000, "doubtful": 0,
    }  # fmt: skip
    return decide_labeling(LabelingEvidence(**{**known, **evidence}), made or project(), NOW)


TABLE: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[int, int, int]]] = {
    "a day's share, half to measure": ({}, {}, (5, 5, 0)),
    "what was left of earlier days": ({}, {"ticks": 3, "asked": 10}, (10, 10, 0)),
    "the period is used up": ({}, {"ticks": 30, "asked": 100, "asked_lately": 70}, (0, 0, 0)),
    "the period is nearly used up": ({}, {"ticks": 30, "asked": 100, "asked_lately": 66}, (2, 2, 0)),
    "three people each": ({"annotators": 3}, {}, (2, 1, 0)),
    "more people than answers": ({"annotators": 20}, {}, (0, 0, 0)),
    "no model yet": ({}, {"champion": None}, (10, 0, 0)),
    "no model, and few rows": ({}, {"champion": None, "to_measure": 4}, (4, 0, 0)),
    "labels look wrong": ({"relabel": 0.3}, {"doubtful": 50}, (5, 2, 3)),
    "few labels look wrong": ({"relabel": 0.3}, {"doubtful": 1}, (5, 4, 1)),
    "labels come by themselves": ({}, {"to_measure": 0}, (0, 10, 0)),
    "few rows are left": ({}, {"to_measure": 3, "unlabelled": 5}, (3, 2, 0)),
    "nothing is left": ({}, {"to_measure": 0, "unlabelled": 0}, (0, 0, 0)),
    "everything to measure": ({"measure": 1.0, "relabel": 0.0}, {}, (10, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "evidence", "wanted"), TABLE.values(), ids=TABLE)
def test_what_is_asked_for(settings: dict[str, Any], evidence: dict[str, Any], wanted: tuple[int, int, int]) -> None:
    made = decided(project(**settings), **evidence)
    assert tuple(made.evidence[purpose] for purpose in ("measure", "learn", "relabel")) == wanted
    assert made.kind == ("ask" if sum(wanted) else "wait")
    assert made.reasons[0]


@given(
    st.integers(1, 500),
    st.integers(1, 6),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(["1d", "7d", "30d"]),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 50)), min_size=1, max_size=60),
)
def test_within_any_period_no_more_than_the_budget_is_asked_for(
    budget: int, people: int, measure: float, share: float, period: str, days: list[tuple[int, int, int]]
) -> None:
    made = project(budget=budget, annotators=people, measure=measure, relabel=share * (1 - measure), period=period)
    length, asked = made.labeling.period // timedelta(days=1), []
    for day, (to_measure, others, doubtful) in enumerate(days):
        lately = sum(asked[max(day - length + 1, 0) : day])
        told = decided(
            made,
            ticks=day + 1,
            asked=sum(asked),
            asked_lately=lately,
            to_measure=to_measure,
            unlabelled=to_measure + others,
            doubtful=doubtful,
        ).evidence
        counts = [told[purpose] for purpose in ("measure", "learn", "relabel")]
        assert min(counts) >= 0
        assert told["measure"] <= to_measure and told["measure"] + told["learn"] <= to_measure + others
        assert told["relabel"] <= doubtful
        asked.append(sum(counts) * people)
        assert sum(asked[max(day - length + 1, 0) :]) <= budget
