"""Between ticks: what is new is scored at once, and the grid of ticks runs on as if nothing had been."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import small_project

from homeostat.durations import instant
from homeostat.flows.facts import BEGUN, BegunBatch
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.operations import between, manual
from homeostat.flows.stages.ingest import ingest_between
from homeostat.flows.stages.sequence import list_due, run_tick
from homeostat.records import Alert, Post, PostKind, Scope, Severity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """A loop whose first tick is done; its source ends two days after it."""
    forget_open_loops()
    loop = open_loop(small_project(tmp_path / "small"), Scope.LIVE)
    keep(loop, datetime(2020, 1, 7, tzinfo=UTC))
    run_tick(loop.project.folder, "live", instant(loop.project.start_at))
    return loop


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """All rows that the source will ever hold."""
    return pl.read_parquet(small_project(tmp_path_factory.mktemp("whole")) / "inputs.parquet")


def keep(loop: Loop, until: datetime, rows: pl.DataFrame | None = None) -> None:
    """Let the source hold what happened before a time."""
    file = loop.project.folder / "inputs.parquet"
    rows = pl.read_parquet(file) if rows is None else rows
    rows.filter(pl.col("at") < until).write_parquet(file)


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2020, 1, day, hour, tzinfo=UTC)


def scored(loop: Loop) -> dict[str, int]:
    """Rows scored by the champion, by batch."""
    rows = loop.lake.read("predictions", pl.col("role") == "champion")
    return {} if rows is None else dict(rows.group_by("batch").len().sort("batch").iter_rows())


def test_what_comes_between_ticks_is_scored_then_and_the_ticks_run_on(loop: Loop, whole: pl.DataFrame) -> None:
    for hour in (6, 12):
        keep(loop, at(7, hour), whole)
        outcome = between.arrivals(loop, at(7, hour))
        assert outcome["predict"]["scored"] == 18
    assert between.arrivals(loop, at(7, 18))["skipped"] == "nothing is new"
    keep(loop, at(8), whole)
    assert list_due(loop, at(8)) == [instant(at(8))]
    tick = run_tick(loop.project.folder, "live", instant(at(8)))
    assert scored(loop) == {instant(at(7, 6)): 18, instant(at(7, 12)): 18, instant(at(8)): 36}
    windows = {w.batch: (w.start_at, w.end_at, w.rows) for w in loop.store.list_windows()}
    assert windows == {
        instant(at(7, 6)): (at(7), at(7, 6), 18),
        instant(at(7, 12)): (at(7, 6), at(7, 12), 18),
        instant(at(8)): (at(7, 12), at(8), 36),
    }
    # Drift is that of the whole tick, not of the rows that were left for it.
    check = loop.store.list_checks()[-1]
    assert (check.tick_at, check.drift.current_rows) == (at(8), 72)
    assert tick["notify"]["anchored"]
    assert list_due(loop, at(9)) == [instant(at(9))]


def test_batches_between_ticks_wait_for_a_due_tick_and_keep_their_distance(loop: Loop, whole: pl.DataFrame) -> None:
    keep(loop, at(9), whole)
    assert "a tick is due" in between.arrivals(loop, at(8, 1))["skipped"]
    assert "predict" in between.arrivals(loop, at(7, 6))
    assert "less than" in between.arrivals(loop, at(7, 6) + timedelta(minutes=59))["skipped"]
    assert "predict" in between.arrivals(loop, at(7, 7))


def test_before_the_first_tick_nothing_comes_between(tmp_path: Path) -> None:
    loop = open_loop(small_project(tmp_path / "young"), Scope.LIVE)
    assert between.arrivals(loop, at(6)) == {"skipped": "the first tick comes first"}


def test_labels_taken_between_ticks_reopen_windows_at_the_next(loop: Loop, whole: pl.DataFrame) -> None:
    keep(loop, at(8), whole)
    run_tick(loop.project.folder, "live", instant(at(8)))
    before = loop.store.list_windows()[0].labels
    assert between.labels(loop, at(8, 12))["feedback"]["labels"] > 0
    keep(loop, at(9), whole)
    run_tick(loop.project.folder, "live", instant(at(9)))
    assert loop.store.list_windows()[0].labels == 72 > before


def test_a_batch_between_ticks_that_was_killed_is_scored_by_the_next_tick(loop: Loop, whole: pl.DataFrame) -> None:
    keep(loop, at(7, 6), whole)
    killed = at(7, 6)
    ingest_between(loop, killed)
    # As a kill between the lake's commit and the store's leaves it.
    forget(loop, killed)
    keep(loop, at(8), whole)
    run_tick(loop.project.folder, "live", instant(at(8)))
    assert scored(loop) == {instant(killed): 18, instant(at(8)): 54}
    assert loop.store.get_fact(BEGUN) == BegunBatch(killed)


def forget(loop: Loop, when: datetime) -> None:
    """Take back what the store knows of a batch."""
    from sqlalchemy import delete
    from sqlalchemy.orm import Session

    from homeostat.store.schema import BatchRow, StageRow

    with Session(loop.store.engine) as session, session.begin():
        session.execute(delete(BatchRow).where(BatchRow.id == instant(when)))
        session.execute(delete(StageRow).where(StageRow.tick_at == when, StageRow.stage == "ingest"))


def test_delivering_between_ticks_loses_no_slot(loop: Loop) -> None:
    with loop.store.write("test") as write:
        write.append_alert(Alert("k", at(7, 1), Severity.INFO, "t", "b"))
    assert between.deliver(loop, at(7, 2))["sent"] == 1
    assert between.deliver(loop, at(8, 2))["sent"] == 0
    assert list_due(loop, at(8, 3)) == [instant(at(8))]


def test_a_sweep_finds_what_is_due_and_nothing_else(loop: Loop, whole: pl.DataFrame) -> None:
    assert between.find_work(loop, at(7, 1)) == ["labels"]
    between.do_work(loop, at(7, 1), "labels")
    assert between.find_work(loop, at(7, 1) + timedelta(minutes=1)) == []
    keep(loop, at(7, 6), whole)
    with loop.store.write("test") as write:
        write.append_alert(Alert("k", at(7, 1), Severity.INFO, "t", "b"))
    assert between.find_work(loop, at(7, 6)) == ["arrivals", "labels", "deliver"]
    for name in ("arrivals", "labels", "deliver"):
        between.do_work(loop, at(7, 6), name)
    assert between.find_work(loop, at(7, 6)) == []
    assert between.find_work(loop, at(8)) == ["ticks"]


@pytest.mark.parametrize(("arrivals", "found"), [("score", ["arrivals"]), ("wait", [])])
def test_the_project_says_whether_files_are_scored_as_they_come(
    tmp_path: Path, arrivals: str, found: list[str]
) -> None:
    extra = f'[schedule]\narrivals = "{arrivals}"'
    loop = open_loop(small_project(tmp_path / arrivals, extra=extra), Scope.LIVE)
    run_tick(loop.project.folder, "live", instant(loop.project.start_at))
    assert [name for name in between.find_work(loop, at(7, 6)) if name == "arrivals"] == found


def test_what_was_posted_is_work_for_a_sweep(loop: Loop) -> None:
    post(loop, PostKind.INPUTS, {"id": 10_000, "at": "2020-01-07T00:30:00Z", "x": 0.5})
    assert "arrivals" in between.find_work(loop, at(7, 1))


def post(loop: Loop, kind: PostKind, row: dict[str, Any]) -> None:
    """Hold a posted row in the store."""
    with loop.store.write("post") as write:
        write.append_post(Post("p", kind, (row,), "d", at(7), "test"))


def test_a_batch_by_hand_that_was_begun_is_ended_by_the_next(loop: Loop, whole: pl.DataFrame) -> None:
    keep(loop, at(7, 6), whole)
    ingest_between(loop, at(7, 6))
    forget(loop, at(7, 6))
    assert between.has_new_inputs(loop, at(7, 7))
    assert manual.ingest(loop, at(7, 7), "ann")["rows"] == 18
