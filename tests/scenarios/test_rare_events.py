"""Where an event is rare, days without one count like all others: a sample is never chosen by its labels."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from worlds import DAY, PROJECT, START, after, draw, write

from homeostat.flows.learning.live import LoopPort
from homeostat.flows.learning.versions import training_frame
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.replay.run import replay
from homeostat.flows.stages.alarm_state import get_watch
from homeostat.records import Scope

TICKS, ROWS = 9, 60
END = after(TICKS)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Nine ticks of 60 rows in which two of a hundred are positive; labels come within a day."""
    made = draw(ROWS, START - 20 * DAY, TICKS + 20, seed=4)
    noise = np.random.default_rng(4).logistic(size=made.height)
    made = made.with_columns(y=(2 * pl.col("x") + pl.Series(noise) > 5.5).cast(pl.Int64))
    folder = write(tmp_path_factory.mktemp("rare") / "small", made, made.filter(pl.col("known_at") <= END), PROJECT)
    replay(folder)
    forget_open_loops()
    return open_loop(folder, Scope.REPLAY)


def test_a_day_without_a_positive_is_measured_by_what_can_be(loop: Loop) -> None:
    windows = loop.store.list_windows()
    without = [window for window in windows if window.labels and window.realized is None]
    assert 0 < len(without) < len(windows)
    assert all({"log_loss", "brier"} & window.metrics.keys() for window in without)


def test_every_day_whose_labels_are_there_takes_part_in_learning_and_comparing(loop: Loop) -> None:
    spans = LoopPort(loop).spans(END)
    assert [span.mature for span in spans[:-1]] == [True] * (len(spans) - 1)
    learned = training_frame(loop, END)
    scored = learned.filter(pl.col("event_at").is_between(START, after(TICKS - 2), closed="left")).height
    assert scored == sum(window.rows for window in loop.store.list_windows()[: TICKS - 2])


def test_the_alarm_takes_every_label(loop: Loop) -> None:
    watch = get_watch(loop)
    assert watch is not None and watch.streams[0].e_process is not None
    taken = [w for w in loop.store.list_windows() if w.labels == w.rows]
    assert watch.streams[0].e_process.rows == sum(window.labels for window in taken)
