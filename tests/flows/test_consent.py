"""What people have said is heeded: a rollback walks back and never forth, and nobody is asked the same thing twice."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.flows.learning.consent import heed
from homeostat.flows.learning.holds import walk
from homeostat.flows.learning.port import Word
from homeostat.project import Project
from homeostat.records import Decision
from homeostat.registry.comparison import Comparison

NOW = datetime(2024, 2, 1, tzinfo=UTC)
PROJECT = Project.model_validate(
    {
        "folder": Path("p"),
        "project": {"name": "p", "task": "binary"},
        "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]},
        "loop": {"tick": "1d", "start": NOW},
    }
)
CLEAR, CLOSE, FEW = (0.021, 0.01, 100), (0.02, 0.01, 100), (0.5, 0.01, 99)
HELD = Word(held="ann rolled back to version 2")
WAITS = Word(waiting=5)
COOLS = Word(declined=4, cooling="version 4 was rejected by ann")


def against(gain: float, error: float, rows: int) -> Any:
    """The comparison with whatever version, with such a gain."""
    return lambda version: Comparison(version, 7, rows, (), {}, {}, None, gain, error)


TABLE: dict[str, tuple[str, str, Word, bool, tuple[float, float, int], str]] = {
    "nobody said anything": ("promote", "promote", Word(), False, CLEAR, "it is better"),
    "a rollback holds": ("ask", "promote", HELD, False, CLEAR, "ann rolled back to version 2; a person must approve"),
    "a refusal stays one": ("refuse", "refuse", HELD, False, CLEAR, "it is better"),
    "the first to be asked about": ("ask", "ask", Word(), False, CLOSE, "it is better"),
    "another waits, and it is not clear": ("wait", "ask", WAITS, False, CLOSE, "version 5 goes on waiting"),
    "another waits, and rows are few": ("wait", "ask", WAITS, False, FEW, "version 5 goes on waiting"),
    "another waits, and it is clearly better": ("ask", "ask", WAITS, False, CLEAR, "clearly better than version 5"),
    "another waits, and an alarm stands": ("wait", "ask", WAITS, True, CLOSE, "version 5 goes on waiting"),
    "it was asked about before a kill": ("ask", "ask", Word(waiting=7), False, CLOSE, "it is better"),
    "one was rejected": ("wait", "ask", COOLS, False, CLOSE, "version 4 was rejected by ann, and this one is not"),
    "one was rejected, and it is clearly better": ("ask", "ask", COOLS, False, CLEAR, "clearly better than version 4"),
    "one was rejected, and an alarm stands": ("ask", "ask", COOLS, True, CLOSE, "it is better"),
    "a rollback holds, and another waits": (
        "wait", "promote", Word(held="ann rolled back", waiting=5), False, CLOSE, "version 5 goes on waiting"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "found", "word", "alarmed", "gain", "reason"), TABLE.values(), ids=TABLE)
def test_what_is_made_of_a_verdict(
    kind: str, found: str, word: Word, alarmed: bool, gain: tuple[float, float, int], reason: str
) -> None:
    verdict = Decision(NOW, "promotion", found, ("it is better",), {}, 7)
    heeded = heed(verdict, word, PROJECT, alarmed=alarmed, against=against(*gain))
    assert heeded.kind == kind and heeded.reasons[0] == "it is better"
    assert reason in heeded.reasons[-1]


def promoted(version: int) -> Decision:
    return Decision(NOW, "promotion", "promote", (), {}, version)


def returned(replaced: int, version: int) -> Decision:
    return Decision(NOW, "rollback", "rollback", (), {"from": replaced}, version)


def target_of(*made: Decision) -> int | None:
    """What a rollback goes back to after these."""
    champion = made[-1].model_version
    line, bad = walk(made, champion)
    assert line[-1] == champion
    return next((v for v in reversed(line[:-1]) if v not in bad and v != champion), None)


ONE, TWO, THREE = promoted(1), promoted(2), promoted(3)


@pytest.mark.parametrize(
    ("made", "target"),
    [
        ((ONE,), None),
        ((ONE, TWO, THREE), 2),
        ((ONE, TWO, THREE, returned(3, 2)), 1),
        ((ONE, TWO, THREE, returned(3, 2), returned(2, 1)), None),
        ((ONE, TWO, THREE, returned(3, 1)), None),
        ((ONE, TWO, returned(2, 1), THREE), 1),
        ((ONE, TWO, THREE, promoted(1)), 3),
        ((ONE, TWO, returned(2, 1), TWO), 1),
        ((ONE, TWO, returned(2, 1), TWO, THREE), 2),
        ((ONE, TWO, returned(2, 1), returned(1, 2)), None),
    ],
)
def test_a_rollback_walks_the_promotions_backwards(made: tuple[Decision, ...], target: int | None) -> None:
    assert target_of(*made) == target


@given(st.lists(st.none() | st.integers(1, 6), max_size=12))
def test_rollbacks_in_a_row_never_come_to_a_version_twice_nor_to_one_declared_bad(acts: list[int | None]) -> None:
    made, declared = [promoted(1)], set[int]()
    for act in acts:
        champion = made[-1].model_version
        assert champion is not None
        if act is not None:
            made.append(promoted(act))
            declared.discard(act)
        elif (target := target_of(*made)) is not None:
            declared.add(champion)
            assert target not in declared
            made.append(returned(champion, target))


def test_a_version_that_came_to_serve_by_mlflow_alone_is_the_end_of_the_line() -> None:
    assert walk([ONE, TWO], 9) == ([1, 2, 9], set())
