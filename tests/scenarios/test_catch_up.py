"""Catching up: empty slots are passed together and nothing comes out differently; nobody is told as of the past."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import worlds
from worlds import DAY, PROJECT, START, after, caught_up, draw, live, write

from homeostat.durations import instant
from homeostat.flows.learning.proposals import propose
from homeostat.flows.loop import open_loop
from homeostat.flows.stages.sequence import list_due, run_stage
from homeostat.records import Alert, BatchState, Decision, Scope, Severity

SHORT = PROJECT.replace('horizon = "3d"', 'horizon = "1d"')
LIGHT = """
[gates]
min_rows = 20
[monitoring]
min_rows = 1000
[retraining]
policy = "{policy}"
every = 7
"""
GAP = 14
"""Days without rows, after three with them."""


def interrupted(folder: Path, policy: str) -> Path:
    """Rows until day 3, none for GAP days, and two days of rows again."""
    made = draw(40, START - 3 * DAY, GAP + 8, seed=3)
    made = made.filter((pl.col("at") < after(3)) | (pl.col("at") >= after(3 + GAP)))
    return write(folder, made, made, SHORT + LIGHT.format(policy=policy))


def told(folder: Path) -> dict[str, object]:
    """What came out: scores, windows, what was decided but waiting, and which version serves."""
    loop = open_loop(folder, Scope.LIVE)
    scores = loop.lake.read("predictions", None, ["id", "model_version", "role", "score", "scored_at"])
    assert scores is not None and loop.store.verify_journal().sound
    return {
        "scores": scores.sort("id", "role").to_dicts(),
        "windows": [(w.batch, w.rows, w.labels, w.realized, w.status, w.start_at) for w in loop.store.list_windows()],
        "decided": [(d.tick_at, d.stage, d.kind) for d in loop.store.list_decisions() if d.kind != "wait"],
        "champion": loop.version_of("champion"),
    }


@pytest.mark.parametrize("policy", ["never", "forecast", "periodic"])
def test_a_gap_is_passed_and_everything_comes_out_as_tick_by_tick(tmp_path: Path, policy: str) -> None:
    one, other = interrupted(tmp_path / "one", policy), interrupted(tmp_path / "other", policy)
    slots = len(live(one, after(GAP + 5)))
    live(other, after(2))
    ran, passed = caught_up(other, after(GAP + 5))
    assert told(other) == told(one)
    assert len(ran) + sum(run.slots for run in passed) == slots - 3
    assert len(ran) < slots / 2 and list_due(open_loop(other, Scope.LIVE), after(GAP + 5)) == []
    batch = open_loop(other, Scope.LIVE).store.get_batch(instant(after(GAP + 4)))
    assert batch is not None and batch.rows and batch.start_at == after(GAP + 3)


def test_only_scoring_gives_each_slot_its_batch_and_learns_once(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "small", "every_tick")
    live(folder, after(1))
    ran, (run,) = caught_up(folder, after(GAP + 5), "scores")
    loop = open_loop(folder, Scope.LIVE)
    assert (ran, run.slots) == ([instant(after(GAP + 5))], GAP + 3)
    batches = [b for b in loop.store.list_batches(BatchState.SCORED, after=after(1)) if b.rows]
    assert [b.end_at for b in batches] == [after(day) for day in (2, 3, GAP + 4, GAP + 5)]
    assert [d.tick_at for d in loop.store.list_decisions("retraining", after=after(1))] == [after(GAP + 5)]
    assert f"the {sum(batch.rows for batch in batches[:-1])} rows that came in them were scored" in run.message


def test_skipping_leaves_rows_unscored_and_says_so(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "small", "never")
    live(folder, after(1))
    ran, (run,) = caught_up(folder, after(GAP + 5), "skip")
    loop = open_loop(folder, Scope.LIVE)
    assert ran == [instant(after(GAP + 5))]
    skipped = loop.store.get_batch(run.last)
    assert skipped is not None and skipped.state is BatchState.HISTORY and skipped.rows > 100
    assert f"the {skipped.rows} rows that came in them are not scored" in run.message
    assert [a.title for a in loop.store.list_alerts() if a.key.endswith("/skipped")] == [
        f"{skipped.rows} rows are not scored: their slots were skipped"
    ]
    scored = loop.store.list_batches(BatchState.SCORED)
    assert len(told(folder)["scores"]) == sum(batch.rows for batch in scored)  # type: ignore[arg-type]


def test_one_tick_that_is_due_is_run_whatever_is_said_of_catching_up(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "small", "never")
    live(folder, after(1))
    assert caught_up(folder, after(2), "skip") == ([instant(after(2))], [])


def test_questions_are_asked_at_the_newest_tick_alone_and_may_be_answered_from_now_on(tmp_path: Path) -> None:
    folder = worlds.asked(tmp_path / "asked", rows=20, ticks=6)
    now = after(5) + timedelta(hours=7)
    caught_up(folder, now)
    tasks = open_loop(folder, Scope.LIVE).store.list_tasks()
    assert tasks and {task.asked_at for task in tasks} == {after(5)}
    assert {task.due_at for task in tasks} == {now + timedelta(days=7)}


def test_an_approval_asked_for_in_a_past_tick_may_be_given_from_now_on(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "small", "never")
    live(folder, after(1))
    loop, now = open_loop(folder, Scope.LIVE), after(30)
    record = loop.store.get_model(1)
    assert record is not None
    figures = {"champion": 1, "rows": 9, "champion_metrics": {"auc": 0.5}, "challenger_metrics": {"auc": 0.6}}
    import dataclasses

    with loop.store.write("test") as write_:
        verdict = Decision(after(2), "promotion", "ask", (), figures, 1)
        propose(dataclasses.replace(loop, clock=now), write_, after(2), record, verdict)
    (approval,) = loop.store.list_approvals()
    assert (approval.asked_at, approval.due_at) == (after(2), now + loop.project.gates.approval_within)


def test_the_newest_of_the_ticks_that_were_due_tells_though_more_fell_due_meanwhile(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "small", "never")
    live(folder, after(1))
    loop = open_loop(folder, Scope.LIVE)
    with loop.store.write("test") as write_:
        write_.append_alert(Alert("3/x", after(3), Severity.WARNING, "trouble", "see"))
    run_stage(folder, "live", "notify", instant(after(4)), clock=after(9), begun_at=after(5))
    assert len(loop.store.list_alerts(undelivered=True)) == 1
    run_stage(folder, "live", "notify", instant(after(5)), clock=after(9), begun_at=after(5))
    assert loop.store.list_alerts(undelivered=True) == []


def test_alerts_of_past_ticks_are_told_by_the_newest_in_one_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = interrupted(tmp_path / "small", "never")
    live(folder, after(1))
    loop, now = open_loop(folder, Scope.LIVE), after(30)
    with loop.store.write("test") as write_:
        for day in (3, 5, 7):
            write_.append_alert(Alert(f"{day}/x", after(day), Severity.WARNING, f"trouble {day}", "see"))
    with caplog.at_level("INFO", logger="homeostat.alerts"):
        run_stage(folder, "live", "notify", instant(after(8)), now)
        assert len(loop.store.list_alerts(undelivered=True)) == 3 and not caplog.messages
        run_stage(folder, "live", "notify", instant(now), now)
    assert loop.store.list_alerts(undelivered=True) == []
    (message,) = caplog.messages
    assert message.startswith("3 alerts from 2020-01-10 to 2020-01-14") and "warning: trouble 7" in message
