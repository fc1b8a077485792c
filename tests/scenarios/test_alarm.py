"""The alarm in a whole loop: raised once where the world became worse, and not where it only looks different."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from worlds import DAY, PROJECT, START, after, draw, live, write

from homeostat.flows.facts import ALARM
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.operations import manual
from homeostat.flows.replay.run import replay
from homeostat.monitoring.alarm.state import Watch
from homeostat.records import Scope

NEVER = """
[retraining]
policy = "never"
"""
TICKS = 10


def world(
    folder: Path, *, worse: bool = False, project: str = PROJECT + NEVER, rows: int = 150, **columns: pl.Expr
) -> Path:
    """A world of so many rows a day that becomes worse on its fifth day, or not; some columns changed."""
    made = draw(rows, START - 6 * DAY, TICKS + 6, seed=5, drift_after=10 if worse else None)
    moved = made.with_columns(**columns)
    return write(folder, moved, moved.filter(pl.col("known_at") <= START + TICKS * DAY), project)


def opened(folder: Path, scope: Scope = Scope.REPLAY) -> Loop:
    forget_open_loops()
    return open_loop(folder, scope)


def watched(loop: Loop, line: int = 1) -> Watch:
    watch = loop.store.get_fact(ALARM.of(line))
    assert watch is not None
    return watch


def alarms(loop: Loop) -> list[Any]:
    return [alert for alert in loop.store.list_alerts() if alert.key.endswith("/alarm")]


def test_a_world_that_becomes_worse_is_said_once(tmp_path: Path) -> None:
    summary = replay(world(tmp_path / "small", worse=True))
    loop = opened(tmp_path / "small")
    assert summary["alarms"] == len(alarms(loop)) == 1
    (told,) = loop.store.list_decisions("alarm")
    assert after(4) < told.tick_at <= after(7)
    assert told.reasons[0].startswith("all rows: the mean loss was") and "since 2020-01-11" in told.reasons[0]
    outcomes = [loop.store.get_stage(after(day), "decide") or {} for day in range(TICKS)]
    kinds = [outcome["alarm"] for outcome in outcomes]
    assert kinds == sorted(kinds, key=["quiet", "alarm", "standing"].index) and kinds[-1] == "standing"


def test_a_world_that_stays_is_left_in_peace_and_each_label_is_taken_once(tmp_path: Path) -> None:
    summary = replay(world(tmp_path / "small"))
    loop = opened(tmp_path / "small")
    (stream,) = watched(loop).streams
    assert summary["alarms"] == 0 and not alarms(loop)
    final = [w.labels for w in loop.store.list_windows() if w.status == "final"]
    assert (
        stream.e_process is not None and stream.e_process.rows == sum(final) and stream.e_process.batches == len(final)
    )
    assert stream.held_out and stream.reference_rows > 100


def test_benign_drift_is_no_alarm(tmp_path: Path) -> None:
    late = pl.col("at") >= START + 4 * DAY
    turned = pl.when(late).then(pl.col("z") + 5).otherwise("z")
    renamed = pl.when(late).then(pl.lit("c9")).otherwise("c")
    summary = replay(world(tmp_path / "small", rows=240, z=turned, c=renamed))
    loop = opened(tmp_path / "small")
    assert summary["alarms"] == 0
    assert "drift" in {check.drift.status for check in loop.store.list_checks()}


def test_a_correction_changes_a_metric_and_never_the_wager(tmp_path: Path) -> None:
    made = draw(150, START - 6 * DAY, TICKS + 6, seed=5)
    labels = made.filter(pl.col("known_at") <= START + TICKS * DAY)
    wrong = labels.filter(pl.col("at") >= START).with_columns(y=1 - pl.col("y"), known_at=START + 8 * DAY)
    wrong = wrong.filter(pl.col("at") < START + 4 * DAY)
    states, metrics = [], []
    for name, told in (("plain", labels), ("corrected", pl.concat([labels, wrong]))):
        replay(write(tmp_path / name, made, told, PROJECT + NEVER))
        loop = opened(tmp_path / name)
        states.append(watched(loop))
        metrics.append([w.realized for w in loop.store.list_windows()])
    assert states[0] == states[1]
    assert metrics[0] != metrics[1]


def test_a_batch_that_still_waits_for_a_label_makes_the_later_ones_wait(tmp_path: Path) -> None:
    made = draw(150, START - 6 * DAY, TICKS + 6, seed=5)
    first = made.filter(pl.col("at") >= START)["id"][0]
    labels = made.filter((pl.col("known_at") <= START + TICKS * DAY) & (pl.col("id") != first))
    replay(write(tmp_path / "small", made, labels, PROJECT + NEVER), until=after(3))
    waiting = watched(opened(tmp_path / "small"))
    assert waiting.waits_for == "2020-01-08T00:00:00Z"
    assert [s.e_process.batches for s in waiting.streams if s.e_process] == [0]
    replay(tmp_path / "small", until=after(4))
    (stream,) = watched(opened(tmp_path / "small")).streams
    assert stream.e_process is not None and stream.e_process.batches == 3


def test_segments_are_watched_by_name_and_share_alpha(tmp_path: Path) -> None:
    project = PROJECT.replace('categorical = ["c"]', 'categorical = ["c"]\nsegments = ["c"]') + NEVER
    hard = pl.when((pl.col("c") == "c1") & (pl.col("at") >= START + 4 * DAY)).then(1 - pl.col("y")).otherwise("y")
    summary = replay(world(tmp_path / "small", project=project, rows=400, y=hard))
    loop = opened(tmp_path / "small")
    assert summary["alarms"] == len(alarms(loop)) == 1
    reached = {s.name: s.reached_at is not None for s in watched(loop).streams}
    assert {name: hit for name, hit in reached.items() if name} == {
        "c=c0": False,
        "c=c1": True,
        "c=c2": False,
        "c=c3": False,
    }


def test_a_new_alpha_begins_a_new_wager_and_old_labels_are_not_taken_again(tmp_path: Path) -> None:
    folder = world(tmp_path / "small")
    live(folder, after(5))
    before = watched(opened(folder, Scope.LIVE))
    text = (folder / "homeostat.toml").read_text()
    (folder / "homeostat.toml").write_text(text + "[monitoring]\nalpha = 0.01\n")
    live(folder, after(7))
    now = watched(opened(folder, Scope.LIVE))
    assert (before.alpha, now.alpha) == (0.05, 0.01) and now.began > before.began
    taken = [s.e_process.rows for watch in (before, now) for s in watch.streams if s.e_process]
    windows = [w.labels for w in opened(folder, Scope.LIVE).store.list_windows() if w.status == "final"]
    assert sum(taken) == sum(windows)


def regression(folder: Path, *, worse: bool) -> Path:
    """A world whose target is a number, the noise of which grows on the fifth day or does not."""
    noise = pl.when((pl.col("at") >= START + 4 * DAY) & pl.lit(worse)).then(2.0).otherwise(0.2)
    target = pl.col("x") + noise * (pl.col("id") * 7919 % 101 - 50) / 29
    project = (PROJECT + NEVER).replace('"binary"', '"regression"')
    return world(folder, project=project, y=target)


def test_a_number_that_is_missed_by_more_than_it_was_is_an_alarm(tmp_path: Path) -> None:
    for name, worse in (("stays", False), ("worsens", True)):
        summary = replay(regression(tmp_path / name, worse=worse))
        assert summary["alarms"] == int(worse), name
        watch = watched(opened(tmp_path / name))
        assert watch.scale is not None and 0 < watch.scale < 1


def test_without_a_holdout_the_first_batches_say_how_errors_are_measured_and_what_is_usual(tmp_path: Path) -> None:
    folder = regression(tmp_path / "small", worse=False)
    live(folder, START)
    loop = opened(folder, Scope.LIVE)
    champion = loop.champion()
    assert champion is not None and champion.loss["scale"] > 0
    with loop.store.write("test") as writing:
        writing.put_model(replace(champion, loss={}))
    live(folder, after(9))
    watch = watched(opened(folder, Scope.LIVE))
    (stream,) = watch.streams
    final = [w.labels for w in loop.store.list_windows() if w.status == "final"]
    assert watch.scale is not None and watch.scale > 0
    assert not stream.held_out and stream.reference_rows == sum(final[1:8]) and stream.e_process is not None


def test_a_version_of_the_same_line_goes_on_with_its_wager_and_one_of_another_begins_its_own(tmp_path: Path) -> None:
    folder = world(tmp_path / "small")
    live(folder, after(3))
    for day, line in ((3.1, 1), (6.1, None)):
        loop = opened(folder, Scope.LIVE)
        made = manual.train(loop, after(day), "ann")["version"]
        record = loop.store.get_model(made)
        assert record is not None
        with loop.store.write("test") as writing:
            writing.put_model(replace(record, lineage=line))
        manual.promote_version(loop, after(day), made, "ann", "")
        live(folder, after(day + 2.9))
    loop = opened(folder, Scope.LIVE)
    scored = [b.model_version for b in loop.store.list_batches() if b.state == "scored"]
    assert scored == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    watches = {line: watch for line in (1, 2, 3) if (watch := loop.store.get_fact(ALARM.of(line)))}
    assert set(watches) == {1, 3}
    taken = {line: watch.streams[0].e_process for line, watch in watches.items()}
    assert {line: e_process and e_process.batches for line, e_process in taken.items()} == {1: 5, 3: 2}
