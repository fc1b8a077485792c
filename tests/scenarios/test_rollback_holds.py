"""A rollback by a person holds: it walks back, and the loop only proposes, until a person or the time ends it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from worlds import BRISK, PROJECT, after, live, quiet

from homeostat.errors import HomeostatError
from homeostat.flows.facts import HOLD
from homeostat.flows.learning.approvals import approve, list_open
from homeostat.flows.learning.holds import lift, previous_champion, standing_hold
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.operations import manual
from homeostat.flows.queries.status import status
from homeostat.records import Scope

TICKS = 10


def opened(folder: Path) -> Loop:
    forget_open_loops()
    return open_loop(folder, Scope.LIVE)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five still days in which every second tick promotes what it trained: versions 1, 2 and 3."""
    folder = quiet(tmp_path_factory.mktemp("holds") / "small", rows=60, ticks=TICKS, project=PROJECT + BRISK)
    live(folder, after(5))
    return folder


@pytest.fixture
def folder(lived: Path, tmp_path: Path) -> Path:
    """A copy of that life of its own."""
    shutil.copytree(lived, tmp_path / "small")
    return tmp_path / "small"


def kinds(loop: Loop) -> list[str]:
    return [entry.kind for entry in loop.store.list_journal()]


def test_a_rollback_holds_and_what_would_have_been_promoted_is_proposed_once(folder: Path) -> None:
    loop = opened(folder)
    assert loop.version_of("champion") == 3
    verdict = manual.rollback(loop, after(5.1), None, "ann", "it looks odd")
    assert verdict.model_version == 2 and "until somebody lifts it" in verdict.reasons[1]
    told = status(loop, after(5.2))["rollback_holds"]
    assert told == "ann rolled back from version 3 to version 2 (it looks odd), which holds until somebody lifts it"
    live(folder, after(9))
    loop = opened(folder)
    assert loop.version_of("champion") == loop.models.get_alias("champion") == 2
    made = [d for d in loop.store.list_decisions("promotion") if d.tick_at > after(5.1)]
    assert [d.kind for d in made] == ["ask", "wait"] and len(loop.store.list_models()) == 5
    assert "ann rolled back from version 3" in made[0].reasons[-1]
    assert [approval.version for approval in list_open(loop)] == [4]
    assert [alert.title for alert in loop.store.list_alerts()].count("version 4 waits for approval") == 1
    lift(loop, after(9.1), "ben", "the feed is mended")
    assert loop.store.get_fact(HOLD) is None and status(loop, after(9.2))["rollback_holds"] is None
    assert "rollback_lifted" in kinds(loop) and loop.store.verify_journal().sound
    with pytest.raises(HomeostatError, match="no rollback holds"):
        lift(loop, after(9.2), "ben")
    live(folder, after(10))
    assert opened(folder).version_of("champion") == 6


def test_a_second_rollback_goes_further_back_and_never_to_what_was_declared_bad(folder: Path) -> None:
    loop = opened(folder)
    assert manual.plan_rollback(loop, None) == (3, 2)
    manual.rollback(loop, after(5.1), None, "ann", "")
    assert manual.plan_rollback(loop, None) == (2, 1)
    manual.rollback(loop, after(5.2), None, "ann", "")
    assert loop.version_of("champion") == loop.models.get_alias("champion") == 1
    with pytest.raises(HomeostatError, match=r"no earlier champion.*Name a version with --to"):
        manual.rollback(loop, after(5.3), None, "ann", "")
    manual.promote_version(loop, after(5.4), 3, "ann", "it was the feed")
    assert (previous_champion(loop), loop.store.get_fact(HOLD)) == (1, None)


def test_a_person_who_approves_or_promotes_lifts_the_rollback(folder: Path) -> None:
    loop = opened(folder)
    manual.rollback(loop, after(5.1), None, "ann", "")
    live(folder, after(6))
    loop = opened(folder)
    approve(loop, after(6.1), "ben", "it is better")
    assert loop.version_of("champion") == 4 and standing_hold(loop, after(6.2)) is None
    assert "rollback_lifted" in kinds(loop)


def test_a_rollback_holds_for_as_long_as_the_setting_says(folder: Path) -> None:
    text = (folder / "homeostat.toml").read_text().replace("[gates]", '[gates]\nrollback_holds = "3d"')
    (folder / "homeostat.toml").write_text(text)
    loop = opened(folder)
    manual.rollback(loop, after(5.1), None, "ann", "")
    live(folder, after(7))
    loop = opened(folder)
    assert loop.version_of("champion") == 2 and status(loop, after(7))["rollback_holds"].endswith(
        "2020-01-15T02:24:00Z"
    )
    live(folder, after(10))
    loop = opened(folder)
    assert loop.version_of("champion") == 6 and "rollback_ended" in kinds(loop)
    assert [alert.title for alert in loop.store.list_alerts()].count("the rollback to version 2 no longer holds") == 1
