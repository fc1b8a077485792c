"""A challenger that passed its gates waits for a person: approved, rejected, expired or overtaken, once."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import worlds
from worlds import KILLED, after, eventful, live, run_apart

from homeostat.errors import HomeostatError
from homeostat.flows.facts import CHAMPION, Standing
from homeostat.flows.learning.approvals import approve, describe, expire, list_open, reject
from homeostat.flows.learning.live import LoopPort
from homeostat.flows.learning.promotion import settle
from homeostat.flows.learning.proposals import alert_key
from homeostat.flows.learning.step import compare, find_base
from homeostat.flows.locks import exclusive
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.operations import manual
from homeostat.flows.stages.sequence import run_stage
from homeostat.records import Approval, ApprovalState, Decision, Scope
from homeostat.registry.promotion import decide_promotion

PROJECT = worlds.PROJECT.replace('numeric = ["x", "z"]', 'numeric = ["x", "z"]\nsegments = ["c"]')
WEEK = worlds.HUMAN.replace('approval_within = "2d"\n', "")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life of six days, in which version 3 waits, and version 2 did until version 3 came."""
    folder = eventful(tmp_path_factory.mktemp("approvals") / "small", rows=100, project=PROJECT + WEEK)
    live(folder, after(6))
    return folder


@pytest.fixture
def folder(lived: Path, tmp_path: Path) -> Path:
    """A copy of that life of its own."""
    shutil.copytree(lived, tmp_path / "small")
    return tmp_path / "small"


def at_home(folder: Path) -> Loop:
    forget_open_loops()
    return open_loop(folder, Scope.LIVE)


def journaled(loop: Loop, kind: str) -> list[dict[str, Any]]:
    return [dict(entry.body) for entry in loop.store.list_journal() if entry.kind == kind]


def state_of(loop: Loop, version: int) -> Approval:
    return next(each for each in loop.store.list_approvals() if each.version == version)


def test_what_a_person_needs_to_decide_stands_in_the_alert(lived: Path) -> None:
    loop = at_home(lived)
    (waiting,) = list_open(loop)
    assert (waiting.version, waiting.asked_at, waiting.due_at) == (3, after(6), after(13))
    body = next(alert.body for alert in loop.store.list_alerts() if alert.key == alert_key(waiting))
    for part in ("auc 0.6", "of version 1", "fresh rows", "less a row", "Waiting costs about", "segments gets worse",
                 "expires at 2020-01-20 00:00 UTC", "homeostat approve --version 3", "reject --version 3"):  # fmt: skip
        assert part in body, body
    told = describe(loop, waiting)
    assert {each["value"] for each in told["segments"]} <= {"c0", "c1", "c2", "c3"} and told["segments"]
    assert all(gate.passed for gate in told["gates"]) and told["models"]["challenger"].version == 3


def test_an_approved_challenger_is_champion_exactly_as_it_was_compared(folder: Path) -> None:
    loop = at_home(folder)
    verdict = approve(loop, after(6.2), "ann", "looks right")
    assert loop.version_of("champion") == loop.models.get_alias("champion") == verdict.model_version == 3
    assert loop.models.get_alias("previous") == 1 and loop.models.get_alias("challenger") is None
    assert loop.version_of("challenger") is None and list_open(loop) == []
    done = state_of(loop, 3)
    assert (done.state, done.by, done.why, done.decided_at) == (
        ApprovalState.APPROVED,
        "ann",
        "looks right",
        after(6.2),
    )
    assert journaled(loop, "approval_approved")[0]["by"] == "ann"
    assert "approved by ann: looks right" in journaled(loop, "decide_promotion")[-1]["reasons"][0]
    asked = loop.store.get_decision(after(6), "promotion")
    assert asked is not None and verdict.evidence["gain"] == asked.evidence["gain"]
    assert loop.store.list_alert_statuses([alert_key(done)])[alert_key(done)].acknowledged_by == "ann"
    with pytest.raises(HomeostatError, match="version 3 was approved by ann"):
        approve(loop, after(6.3), "ben", version=3)
    live(folder, after(8))
    assert loop.store.list_batches()[-1].model_version == 3 and loop.store.verify_journal().sound


def test_a_rejection_needs_a_reason_and_the_loop_goes_on(folder: Path) -> None:
    loop = at_home(folder)
    with pytest.raises(HomeostatError, match="no reason"):
        reject(loop, after(6.1), "ann", "  ")
    reject(loop, after(6.2), "ann", "the depot moved")
    assert (state_of(loop, 3).state, state_of(loop, 3).why) == (ApprovalState.REJECTED, "the depot moved")
    assert loop.version_of("champion") == 1 and loop.models.get_alias("challenger") is None
    assert journaled(loop, "approval_rejected")[0]["by"] == "ann"
    with pytest.raises(HomeostatError, match="version 3 was rejected by ann"):
        approve(loop, after(6.3), "ben", version=3)
    live(folder, after(9))
    assert [each.version for each in list_open(loop)] == [4]


def test_what_nobody_decides_in_time_expires_at_a_tick_and_may_be_promoted_all_the_same(folder: Path) -> None:
    loop = at_home(folder)
    assert expire(loop, after(12.9)) == []
    with pytest.raises(HomeostatError, match="version 3 expired"):
        approve(loop, after(13), "ann")
    (over,) = expire(loop, after(13))
    assert (over.version, expire(loop, after(13))) == (3, [])
    assert state_of(loop, 3).state is ApprovalState.EXPIRED and loop.models.get_alias("challenger") is None
    assert "not approved in time" in loop.store.list_alerts()[-1].title
    assert len(journaled(loop, "approval_expired")) == 1
    with pytest.raises(HomeostatError, match=r"homeostat promote --version 3"):
        approve(loop, after(13.1), "ann", version=3)
    manual.promote_version(loop, after(13.2), 3, "ann", "late")
    assert loop.version_of("champion") == 3 and state_of(loop, 3).state is ApprovalState.EXPIRED


def test_a_newer_challenger_takes_the_place_of_the_one_that_waits(lived: Path) -> None:
    loop = at_home(lived)
    assert (state_of(loop, 2).state, state_of(loop, 2).decided_at) == (ApprovalState.SUPERSEDED, after(6))
    with pytest.raises(HomeostatError, match="version 2 was superseded"):
        approve(loop, after(6.1), "ann", version=2)
    key = alert_key(state_of(loop, 2))
    assert loop.store.list_alert_statuses([key])[key].acknowledged_by == "homeostat"


def test_another_champion_supersedes_what_waits(folder: Path) -> None:
    loop = at_home(folder)
    manual.promote_version(loop, after(6.1), 2, "ann", "")
    assert state_of(loop, 3).state is ApprovalState.SUPERSEDED and loop.version_of("challenger") is None
    assert state_of(loop, 2).state is ApprovalState.SUPERSEDED
    manual.rollback(loop, after(6.2), 1, "ann", "at once")
    manual.rollback(loop, after(6.3), 3, "ann", "to any version")
    assert loop.version_of("champion") == loop.models.get_alias("champion") == 3


def test_a_challenger_that_was_compared_with_another_champion_is_not_approved(folder: Path) -> None:
    loop = at_home(folder)
    with loop.store.write("elsewhere") as write:
        write.put_fact(CHAMPION, Standing(2, datetime(2020, 1, 13, tzinfo=UTC)))
    with pytest.raises(HomeostatError, match=r"compared with version 1, and version 2 is champion now.*promote"):
        approve(loop, after(6.1), "ann")
    assert loop.models.get_alias("champion") == 1 and [each.version for each in list_open(loop)] == [3]


def test_a_person_approves_while_a_tick_holds_the_lock(folder: Path) -> None:
    loop = at_home(folder)
    with exclusive(loop.paths.root, "a tick"):
        approve(loop, after(6.1), "ann")
    assert loop.version_of("champion") == 3


def test_of_two_people_who_decide_at_once_one_is_heard(folder: Path) -> None:
    loop = at_home(folder)
    acts = [lambda: approve(loop, after(6.1), "ann"), lambda: reject(loop, after(6.1), "ben", "no")] * 2

    def heard(act: Any) -> bool:
        try:
            act()
        except HomeostatError:
            return False
        return True

    with ThreadPoolExecutor(4) as people:
        said = list(people.map(heard, acts))
    assert said.count(True) == 1
    approved = state_of(loop, 3).state is ApprovalState.APPROVED
    assert approved == said[0] or approved == said[2]
    assert loop.version_of("champion") == loop.models.get_alias("champion") == (3 if approved else 1)
    assert loop.models.get_alias("challenger") is None and loop.store.verify_journal().sound


def test_a_champion_approved_during_a_comparison_is_not_replaced_by_what_it_was_not_compared_with(folder: Path) -> None:
    loop = at_home(folder)
    batches = tuple(batch.id for batch in loop.store.list_batches()[4:])
    found = compare(LoopPort(loop), 1, 2, batches, after(6.1))
    verdict = decide_promotion(found, loop.project, after(6.1))
    record = loop.store.get_model(2)
    assert verdict.kind == "ask" and record is not None
    approve(loop, after(6.2), "ann")
    outcome = settle(loop, after(6.1), record, verdict, {"did": "retrain", "version": 2, "verdict": "ask"})
    refused = loop.store.get_decision(after(6.1), "promotion")
    assert outcome["verdict"] == "refuse" and isinstance(refused, Decision) and refused.kind == "refuse"
    assert "version 3 became champion in the meantime" in refused.reasons[-1]
    assert loop.version_of("champion") == 3 and list_open(loop) == []


def act_at(folder: str, at: str) -> None:
    run_stage(folder, "live", "act", at)


def test_a_step_that_was_decided_about_the_champion_before_is_not_taken(folder: Path) -> None:
    live(folder, after(8))
    at = worlds.START.replace(day=16)
    for stage in ("ingest", "predict", "collect", "feedback", "check", "decide"):
        run_stage(folder, "live", stage, at.isoformat())
    assert run_apart(act_at, str(folder), at.isoformat(), HOMEOSTAT_KILL_AT="registration:after#1") == KILLED
    loop = at_home(folder)
    approve(loop, datetime.fromisoformat("2020-01-16T00:30:00Z"), "ann")
    assert run_stage(folder, "live", "act", at.isoformat()) == {"did": "wait", "overtaken": "retrain"}
    assert loop.version_of("champion") == loop.models.get_alias("champion") == 3


STILL = """
[gates]
approval = "human"
change_price = 0
margin = 0
min_rows = 40
[monitoring]
min_rows = 100
sample = 400
[retraining]
budget = 0.6
"""


def test_in_a_still_world_a_proposal_stays_and_learning_goes_on_behind_it(tmp_path: Path) -> None:
    folder = worlds.quiet(tmp_path / "small", rows=160, ticks=14, project=worlds.PROJECT + STILL)
    live(folder, after(14))
    loop = at_home(folder)
    asked, made = loop.store.list_approvals(), loop.store.list_decisions("promotion")
    behind = [d for d in made if d.kind == "wait"]
    assert asked and len(behind) > len(asked)
    assert sum(each.state is ApprovalState.SUPERSEDED for each in asked) <= 1
    assert all("goes on waiting for approval: this one is not clearly better" in d.reasons[-1] for d in behind)
    titles = [alert.title for alert in loop.store.list_alerts() if "waits for approval" in alert.title]
    assert len(titles) == len(asked)
    (waiting,) = list_open(loop)
    newest = max(loop.models.list_versions())
    approve(loop, after(14.1), "ann", version=waiting.version)
    base = find_base(LoopPort(loop))
    assert base is not None and base.version == newest > waiting.version == loop.version_of("champion")
