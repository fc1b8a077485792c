"""A loop whose labels only people give: asked, answered, settled, learned from, and measured without bias."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import worlds
from worlds import ANNOTATE, ASKED, DAY, KILLED, LABELING, START, assert_same, replay_here, run_apart, snapshot

from homeostat.flows.learning.versions import training_frame
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.records import Purpose, Scope, TaskState, WindowStatus

TICKS = 12
ALONE = LABELING.replace("annotators = 2", "annotators = 1")


def opened(folder: Path) -> Loop:
    forget_open_loops()
    return open_loop(folder, Scope.REPLAY)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    folder = worlds.asked(tmp_path_factory.mktemp("asked") / "small", rows=300, ticks=TICKS)
    replay_here(str(folder))
    return opened(folder)


def truth(loop: Loop) -> pl.DataFrame:
    made = pl.read_parquet(loop.project.folder / "truth.parquet")
    return made.select("id", truth=pl.col("y").cast(pl.String))


def test_it_begins_with_what_people_say_and_becomes_better(lived: Loop) -> None:
    champion = lived.champion()
    assert champion is not None and champion.version > 1
    said, labels = lived.lake.read("predictions"), lived.lake.read("feedback")
    assert said is not None and labels is not None
    assert set(labels["provenance"]) == {"human"} and set(labels["who"]) == {"ann,ben"}
    right = said.join(truth(lived), on="id").with_columns(right=pl.col("prediction") == pl.col("truth"))
    late = right.filter(pl.col("event_at") >= START + (TICKS - 4) * DAY)
    shares = {role: part["right"].mean() for (role,), part in late.group_by("role")}
    assert shares["champion"] > shares["baseline"]


def test_every_task_ends_and_the_budget_holds_in_every_week(lived: Loop) -> None:
    tasks, settings = lived.store.list_tasks(), lived.project.labeling
    assert {purpose for purpose in Purpose if purpose is not Purpose.RELABEL} <= {task.purpose for task in tasks}
    states = Counter(task.state for task in tasks if task.asked_at < max(t.asked_at for t in tasks))
    assert set(states) == {TaskState.SETTLED}
    assert len({task.key for task in tasks if task.purpose is not Purpose.RELABEL}) == len(
        [task for task in tasks if task.purpose is not Purpose.RELABEL]
    )
    for task in tasks:
        week = [t.wanted for t in tasks if task.asked_at - settings.period < t.asked_at <= task.asked_at]
        assert sum(week) <= settings.budget


def test_only_rows_that_were_drawn_have_a_chance_and_only_they_are_measured_on(lived: Loop) -> None:
    tasks = {task.key: task for task in lived.store.list_tasks()}
    labels = lived.lake.read("feedback")
    assert labels is not None
    for key, propensity in labels.select(pl.col("id").cast(pl.String), "propensity").iter_rows():
        assert (propensity is not None and 0 < propensity <= 1) == (tasks[key].purpose is Purpose.MEASURE)
    measured = Counter(w.labels for w in lived.store.list_windows() if w.status is WindowStatus.FINAL)
    assert max(measured) < 300


RIGHT = ANNOTATE.replace("0.95", "1.1").replace('("ben", 0.85)', "")


def test_what_is_measured_is_not_biased_by_the_rows_that_were_chosen_to_learn_from(tmp_path: Path) -> None:
    """Over all windows the measured accuracy is the true one; that of all labels is far below it."""
    folder = worlds.asked(tmp_path / "small", rows=300, ticks=TICKS, project=ASKED + ALONE)
    worlds.annotated(folder, RIGHT)
    replay_here(str(folder))
    loop = opened(folder)
    windows = {w.batch: w for w in loop.store.list_windows() if w.realized is not None and w.labels >= 20}
    said, labels = loop.lake.read("predictions", pl.col("role") == "champion"), loop.lake.read("feedback")
    assert said is not None and labels is not None and len(windows) >= 8
    known = labels.unique("id", keep="last").select("id", "label")
    rows = said.join(truth(loop), on="id").join(known, on="id", how="left")
    rows = rows.filter(pl.col("batch").is_in(list(windows))).with_columns(hit=pl.col("prediction") == pl.col("truth"))
    real = {batch: float(part["hit"].mean()) for (batch,), part in rows.group_by("batch")}  # type: ignore[arg-type]
    off = np.array([float(window.realized or 0) - real[batch] for batch, window in windows.items()])
    error = off.std(ddof=1) / np.sqrt(len(off))
    naive = rows.filter(pl.col("label").is_not_null())["hit"].mean() - rows["hit"].mean()  # type: ignore[operator]
    assert abs(off.mean()) < 3 * error < 0.05
    assert naive < -0.05


def test_a_sampled_window_tells_how_sure_it_is_and_what_share_it_stands_for(lived: Loop) -> None:
    windows = [w for w in lived.store.list_windows() if w.status is WindowStatus.FINAL and w.labels >= 10]
    assert windows
    for window in windows:
        assert 0.5 < window.coverage <= 1 and window.labels < window.rows / 2
        assert window.realized_low is not None and window.realized_high is not None
        assert window.realized_low <= window.realized <= window.realized_high


def test_asked_again_and_again_and_killed_at_every_boundary_it_ends_the_same(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    clean, log = worlds.clean_asked(worlds.shared(tmp_path_factory.getbasetemp()))
    killed = worlds.ruled(tmp_path / "killed")
    mine = [
        name
        for name in dict.fromkeys(log)
        if re.search(r"store\.(answers|collect|asked|ask|labelers):|lake\.feedback", name)
    ]
    assert {"store.asked:after", "store.answers:before", "lake.feedback.labels:after"} <= set(mine)
    for name in mine:
        assert run_apart(replay_here, str(killed), HOMEOSTAT_KILL_AT=f"{name}#1") == KILLED, name
    assert run_apart(replay_here, str(killed)) == 0
    assert_same(snapshot(killed), snapshot(clean))


DOUBTED = ALONE.replace("relabel = 0.2", "relabel = 0.5\nmeasure = 0.2")


def test_a_label_that_looks_wrong_is_looked_at_again_before_it_trains_a_model(tmp_path: Path) -> None:
    """One label in ten of the source is wrong; people, who are right, are asked about those that look so."""
    folder = worlds.asked(tmp_path / "small", rows=300, ticks=6)
    made = worlds.draw(300, START - 2 * DAY, 8, seed=4)
    flipped = made.with_columns(y=pl.when(pl.col("id") % 10 == 3).then(1 - pl.col("y")).otherwise("y"))
    worlds.write(folder, made, flipped, ASKED.replace("[data.feedback]\n", '[data.feedback]\nuri = "feedback.parquet"\n'
                 'known_at = "known_at"\n') + DOUBTED)  # fmt: skip
    worlds.annotated(folder, RIGHT)
    replay_here(str(folder), until=(START + 5 * DAY).isoformat())
    loop = opened(folder)
    again = [task for task in loop.store.list_tasks() if task.purpose is Purpose.RELABEL]
    wrong = [int(task.key) % 10 == 3 for task in again]
    assert len(again) > 50 and np.mean(wrong) > 0.35
    waiting = {int(task.key) for task in again if task.state is TaskState.OPEN}
    frame = training_frame(loop, START + 5 * DAY)
    assert waiting and not waiting & set(frame["id"])
    mended = frame.join(truth(loop), on="id").filter(pl.col("id").is_in([int(t.key) for t in again]))
    assert mended.height and (mended["label"] == mended["truth"]).all()
