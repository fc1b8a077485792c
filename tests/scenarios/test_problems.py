"""Each thing that can be wrong with a loop is a problem, with since when and what to do; healthy is none of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import worlds
from worlds import DAY, PROJECT, START, after

from homeostat.durations import instant
from homeostat.flows.facts import CHAMPION, TRAINING, Standing
from homeostat.flows.health.problems import Problem, ProblemCode, find_problems
from homeostat.flows.learning.port import Training
from homeostat.flows.stages.supply import Feed, find_shortages
from homeostat.project import Project, load_project
from homeostat.records import Alert, Batch, BatchState, Decision, FitCost, ModelRecord, Severity
from homeostat.store import Store, Writer

NOW = after(20) + timedelta(hours=1)
DAYS = range(21)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("small")
    (folder / "homeostat.toml").write_text(PROJECT, encoding="utf-8")
    return load_project(folder)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'store.db'}", "small")


def tick(write: Writer, day: int, *, rows: int = 30, labels: int = 30, decided: str = "wait", **more: object) -> None:
    """A tick at which all is well, unless it is said otherwise."""
    at = after(day)
    event = {"newest": instant(after(day) - timedelta(hours=1))} if rows else {}
    write.put_batch(Batch(instant(at), at - DAY, at, BatchState.SCORED, rows, model_version=1, scored_at=at))
    write.put_stage(at, "ingest", {"rows": rows, **event})
    write.put_stage(at, "feedback", {"labels": labels})
    write.append_decision(Decision(at, "retraining", decided, ("because of x",), {}, 1))
    write.put_stage(at, "decide", {"alarm": "quiet", "decision": decided, **more})
    write.put_stage(at, "notify", {})


def champion(write: Writer) -> None:
    write.put_model(ModelRecord(1, "first", START, "xgboost", 99, {}, FitCost(), promoted_at=START))
    write.put_fact(CHAMPION, Standing(1, START))
    write.put_fact(TRAINING, Training(at=START, labels=99))


def lived(store: Store, bad: Callable[[Writer], None] = lambda write: None, **days: range) -> None:
    """Twenty days; rows and labels come in those named."""
    with store.write("test") as write:
        champion(write)
        for day in DAYS:
            rows, labels = (30 if day in days.get(name, DAYS) else 0 for name in ("rows", "labels"))
            tick(write, day, rows=rows, labels=labels)
        bad(write)


def found(project: Project, store: Store, now: datetime = NOW) -> list[Problem]:
    return find_problems(project, store, now, replaying=False)


def only(project: Project, store: Store, now: datetime = NOW) -> Problem:
    (problem,) = found(project, store, now)
    assert problem.advice
    return problem


def test_a_loop_that_does_all_it_should_has_no_problem(project: Project, store: Store) -> None:
    lived(store)
    assert found(project, store) == []


def test_rows_and_labels_that_stop_are_problems_since_the_last_that_came(project: Project, store: Store) -> None:
    lived(store, rows=range(15))
    problem = only(project, store)
    assert (problem.code, problem.since) == (ProblemCode.ROWS_STOPPED, after(14))
    assert "no rows have come for 6 days; the longest gap before was 1 day" in problem.message


def test_how_often_a_machine_looks_for_rows_says_nothing_of_weekends(project: Project, store: Store) -> None:
    hourly = project.model_copy(update={"loop": project.loop.model_copy(update={"tick": timedelta(hours=1)})})
    last = START + timedelta(days=31, hours=17)
    with store.write("test") as write:
        champion(write)
        for quarter in range(33 * 96):
            at = START + quarter * timedelta(minutes=15)
            if at.weekday() < 5 and 9 <= at.hour <= 17 and at <= last:
                write.put_batch(Batch(instant(at), at, at, BatchState.SCORED, 3, model_version=1, scored_at=at))
        write.put_stage(last, "ingest", {"rows": 3})
    assert last.weekday() == 4  # a Friday
    sunday = last + timedelta(hours=40)
    assert Feed.ROWS not in {found.feed for found in find_shortages(hourly, store, sunday, replaying=False)}
    later = last + timedelta(days=8)
    assert Feed.ROWS in {found.feed for found in find_shortages(hourly, store, later, replaying=False)}


def test_an_alarm_of_this_lineage_stands_though_another_one_was_raised_later(project: Project, store: Store) -> None:
    def another(write: Writer) -> None:
        write.append_decision(Decision(after(16), "alarm", "alarm", ("worse",), {"lineage": 1}, 1))
        write.append_decision(Decision(after(18), "alarm", "alarm", ("worse",), {"lineage": 2}, 2))
        tick(write, 20, alarm="standing")

    lived(store, another)
    problem = only(project, store)
    assert (problem.code, problem.since) == (ProblemCode.ALARM, after(16))


def test_labels_that_stop_are_missed_while_rows_come(project: Project, store: Store) -> None:
    lived(store, labels=range(12))
    problem = only(project, store)
    assert (problem.code, problem.since) == (ProblemCode.LABELS_STOPPED, after(11))


def test_labels_are_not_missed_where_the_rows_ended(project: Project, store: Store) -> None:
    lived(store, rows=range(13), labels=range(15))
    assert only(project, store).code is ProblemCode.ROWS_STOPPED
    assert find_problems(project, store, NOW, replaying=True) == []


def test_a_clock_behind_the_newest_tick_and_ticks_that_are_overdue(project: Project, store: Store) -> None:
    lived(store)
    behind = only(project, store, after(2))
    assert behind.code is ProblemCode.CLOCK_BEHIND and "Set the clock right" in behind.advice
    late = only(project, store, after(25))
    assert (late.code, late.since) == (ProblemCode.OVERDUE, after(21)) and "3 ticks" in late.message


def alarm(write: Writer) -> None:
    write.append_decision(Decision(after(18), "alarm", "alarm", ("worse",), {"lineage": 1}, 1))
    tick(write, 20, alarm="standing")


def fix_data(write: Writer) -> None:
    for day in (18, 19, 20):
        tick(write, day, decided="fix_data")


def label(write: Writer) -> None:
    for day in (18, 19, 20):
        tick(write, day, decided="label")


def starved(write: Writer) -> None:
    facts = {"labels": 9999, "fresh_labels": 40, "labels_at_last_attempt": 99}
    write.append_decision(Decision(after(20), "retraining", "wait", ("few",), facts, 1))


def failed(write: Writer) -> None:
    for day in (18, 19):
        write.append_journal(after(day), f"{day}/act_failed", "act_failed", {"problem": "no room on the disk"})


def unscored(write: Writer) -> None:
    write.put_batch(Batch("x", after(17), after(18), BatchState.VALIDATED, 9))


def held(write: Writer) -> None:
    write.put_batch(Batch("x", after(17), after(18), BatchState.HELD, 0, 9))
    write.append_alert(Alert("x/validation", after(18), Severity.CRITICAL, "held", ""))
    write.put_delivery("x/validation", after(18), None)


def undelivered(write: Writer) -> None:
    write.append_alert(Alert("x", after(18), Severity.INFO, "x", ""))
    write.put_delivery("x", None, "CALL: its server refused the alert or cannot be reached.")


@pytest.mark.parametrize(
    ("bad", "code", "words"),
    [
        (alarm, ProblemCode.ALARM, "an alarm stands"),
        (fix_data, ProblemCode.FIX_DATA, "because of x"),
        (label, ProblemCode.LABEL, "labels are wanted: because of x"),
        (failed, ProblemCode.TRAINING_FAILED, "failed 2 times: no room on the disk"),
        (unscored, ProblemCode.UNSCORED, "1 batch waits to be scored"),
        (held, ProblemCode.HELD, "1 batch is held"),
        (undelivered, ProblemCode.UNDELIVERED, "1 alert was not delivered: CALL"),
    ],
)
def test_what_is_wrong_is_a_problem_since_it_began(
    project: Project, store: Store, bad: Callable[[Writer], None], code: ProblemCode, words: str
) -> None:
    lived(store, bad)
    problem = only(project, store)
    assert (problem.code, problem.since) == (code, after(18)) and words in problem.message


def test_learning_that_is_due_and_cannot_be_is_a_problem_but_not_where_it_is_never_due(
    project: Project, store: Store
) -> None:
    lived(store, starved)
    problem = only(project, store)
    assert (problem.code, problem.since) == (ProblemCode.NOT_LEARNING, START) and "9900 labels" in problem.message
    never = project.model_copy(update={"retraining": project.retraining.model_copy(update={"policy": "never"})})
    assert found(never, store) == []


def test_a_problem_ends_with_what_makes_it_good(project: Project, store: Store) -> None:
    lived(store, lambda write: (failed(write), held(write), undelivered(write), None)[-1])
    assert len(found(project, store)) == 3
    with store.write("test") as write:
        write.put_model(ModelRecord(2, "second", after(20), "xgboost", 99, {}, FitCost(), lineage=1))
        write.put_acknowledgement("x/validation", after(20), "ann", None)
        write.put_delivery("x", after(20), None)
    assert found(project, store) == []


def test_labels_that_stop_are_told_once_in_a_replay_though_its_policy_never_learns(tmp_path: Path) -> None:
    import polars as pl

    from homeostat.flows.loop import open_loop
    from homeostat.flows.queries.status import status
    from homeostat.records import Scope

    made = worlds.draw(12, START - 6 * DAY, 24, seed=3)
    text = PROJECT.replace('horizon = "3d"', 'horizon = "1d"') + '[retraining]\npolicy = "never"\n'
    folder = worlds.write(tmp_path / "small", made, made.filter(pl.col("known_at") < after(11)), text)
    worlds.replay_here(str(folder))
    loop = open_loop(folder, Scope.REPLAY)
    told = [alert for alert in loop.store.list_alerts() if alert.key.endswith("/labels_stopped")]
    assert [alert.at for alert in told] == [after(14)]
    (problem,) = status(loop)["problem_details"]
    assert (problem["code"], problem["since"]) == ("labels_stopped", after(11))
