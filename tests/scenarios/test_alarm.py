"""The alarm in a whole loop: raised once where the world became worse, and not where it only looks different."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from worlds import DAY, PROJECT, START, after, draw, live, write

from homeostat.flows.alerts import acknowledge
from homeostat.flows.facts import ALARM
from homeostat.flows.held_labels import held_batches
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


def corrected(folder: Path, made: pl.DataFrame, wrong: pl.DataFrame, day: float) -> Path:
    """A world in which some labels came wrong, and were put right so many days after the start."""
    right = made.filter(pl.col("known_at") <= START + TICKS * DAY)
    of = right["id"].is_in(wrong["id"].implode())
    mended = right.filter(of).with_columns(known_at=START + day * DAY)
    return write(folder, made, pl.concat([right.filter(~of), wrong, mended]), PROJECT + NEVER)


def test_drift_is_told_when_it_begins_and_again_when_it_comes_back(tmp_path: Path) -> None:
    day = (pl.col("at") - START).dt.total_days()
    moved = pl.when(day.is_in([1, 2]) | (day >= 7)).then(pl.col("z") + 12).otherwise("z")
    replay(world(tmp_path / "small", rows=260, z=moved))
    loop = opened(tmp_path / "small")
    told = [(alert.at, alert.body) for alert in loop.store.list_alerts() if alert.key.endswith("/drift")]
    assert [at for at, _ in told] == [after(2), after(8)]
    assert all("z" in body and "count alone: z" in body for _, body in told)


@pytest.mark.parametrize(("day", "kinds"), [(6.2, ["alarm", "withdrawn"]), (8.2, ["alarm", "ended", "withdrawn"])])
def test_an_alarm_about_labels_that_are_corrected_later_is_withdrawn(
    tmp_path: Path, day: float, kinds: list[str]
) -> None:
    made = draw(300, START - 6 * DAY, TICKS + 6, seed=5)
    turned = made.filter((pl.col("at") >= START + 4 * DAY) & (pl.col("at") < START + 5 * DAY))
    replay(corrected(tmp_path / "small", made, turned.with_columns(y=1 - pl.col("y")), day))
    loop = opened(tmp_path / "small")
    decisions = loop.store.list_decisions("alarm")
    assert [decision.kind for decision in decisions] == kinds
    assert "with the labels as they have been corrected" in decisions[-1].reasons[0]
    subjects = {alert.key.split("/")[-1]: alert for alert in loop.store.list_alerts()}
    assert "batch 2020-01-12T00:00:00Z: labels go against the scores" in subjects["odd-labels"].body
    assert subjects["labels-mended"].title == "the labels of batch 2020-01-12T00:00:00Z are no longer odd"
    assert "labels were corrected" in subjects["alarm-withdrawn"].title
    assert (loop.store.get_stage(after(10), "decide") or {})["alarm"] == "quiet"


def test_labels_that_are_all_the_same_are_told_and_neither_learned_from_nor_an_alarm(tmp_path: Path) -> None:
    made = draw(300, START - 6 * DAY, TICKS + 6, seed=5)
    constant = pl.when(pl.col("at") >= START + 4 * DAY).then(0).otherwise("y")
    labels = made.with_columns(y=constant).filter(pl.col("known_at") <= START + TICKS * DAY)
    replay(write(tmp_path / "small", made, labels, PROJECT))
    loop = opened(tmp_path / "small")
    told = [alert for alert in loop.store.list_alerts() if alert.key.endswith("/odd-labels")]
    assert len(told) == 1 and "labels are '0'" in told[0].body
    held = {f"2020-01-{day:02}T00:00:00Z" for day in range(12, 17)}
    assert held_batches(loop) == held and not alarms(loop)
    learned = [model.trained_until for model in loop.store.list_models()]
    assert max(until for until in learned if until is not None) <= after(4)
    acknowledge(loop, after(9.5), "ann", told[0].key, "right, a recall")
    assert not held_batches(loop)


def test_where_only_positives_are_reported_that_is_told_and_is_no_alarm(tmp_path: Path) -> None:
    noise = (pl.col("id") * 7919 % 101 - 50) / 20
    made = draw(400, START - 6 * DAY, TICKS + 6, seed=5).with_columns(y=(pl.col("x") + noise > 2.5).cast(pl.Int64))
    reported = (pl.col("at") < START) | (pl.col("y") == 1)
    labels = made.filter(pl.col("known_at") <= START + TICKS * DAY).filter(reported)
    replay(write(tmp_path / "small", made, labels, PROJECT + NEVER))
    loop = opened(tmp_path / "small")
    told = [alert for alert in loop.store.list_alerts() if alert.key.endswith("/odd-labels")]
    assert len(told) == 1 and "labels are '1'" in told[0].body and not alarms(loop)


def test_a_turn_of_the_world_is_learned_from_when_the_next_batch_shows_the_same(tmp_path: Path) -> None:
    turned = pl.when(pl.col("at") >= START + 4 * DAY).then(1 - pl.col("y")).otherwise("y")
    replay(world(tmp_path / "small", y=turned, rows=300))
    loop = opened(tmp_path / "small")
    subjects = [alert.key.split("/")[-1] for alert in loop.store.list_alerts()]
    assert subjects.count("odd-labels") == subjects.count("labels-confirmed") == subjects.count("alarm") == 1
    assert not held_batches(loop)


def test_a_storm_of_a_day_does_not_use_the_alarm_up(tmp_path: Path) -> None:
    made = draw(200, START - 20 * DAY, TICKS + 20, seed=5)
    storm = (pl.col("at") >= START + 1 * DAY) & (pl.col("at") < START + 2 * DAY)
    later = pl.col("at") >= START + 6 * DAY
    turned = (pl.col("z") > 0).cast(pl.Int64)
    made = made.with_columns(y=pl.when(storm).then(pl.col("id") % 2).when(later).then(turned).otherwise("y"))
    replay(write(tmp_path / "small", made, made.filter(pl.col("known_at") <= START + TICKS * DAY), PROJECT + NEVER))
    loop = opened(tmp_path / "small")
    assert [decision.kind for decision in loop.store.list_decisions("alarm")] == ["alarm", "ended", "alarm"]
    assert [stream.episode for stream in watched(loop).streams] == [2]


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
