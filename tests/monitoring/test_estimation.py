from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.metrics import compute_metrics
from homeostat.monitoring.estimation.calibration import likeness
from homeostat.monitoring.estimation.class_scores import expected_metric, read_scores
from homeostat.monitoring.estimation.estimate import ScoredWindow, estimate_window
from homeostat.project import METRICS, Project, Task

START, DAY = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=1)
CLASSES = ["a", "b", "c"]


def project(task=Task.BINARY, metric=None):
    return Project.model_validate(
        {
            "folder": Path(),
            "project": {"name": "p", "task": task.value},
            "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"], "categorical": ["c"]},
            "loop": {"tick": "1d", "start": START},
            "monitoring": {"metric": metric},
        }
    )


def window(day, task=Task.BINARY, rows=400, seed=0, bend=1.0, spread=1.0):
    """Rows whose truth follows their score where `bend` is 1; a lower one makes the scores too sure."""
    chance = np.random.default_rng([seed, day])
    x = spread * chance.normal(size=rows)
    frame = {"input:x": x, "input:c": chance.choice(["u", "v"], rows)}
    if task is Task.REGRESSION:
        noise = np.exp(x / 2) * chance.normal(size=rows)
        frame |= {"prediction": x, "score": None, "classes": None, "scores": None, "label": x + noise}
        return made(day, frame)
    if task is Task.BINARY:
        score, truth = 1 / (1 + np.exp(-2 * x)), chance.random(rows) < 1 / (1 + np.exp(-2 * bend * x))
        frame |= {"prediction": [str(int(s > 0.5)) for s in score], "score": score, "scores": None}
        frame |= {"classes": [["0", "1"]] * rows, "label": [str(int(t)) for t in truth]}
        return made(day, frame)
    scores = chance.dirichlet([0.5] * 3, rows)
    label = [CLASSES[i] for i in (scores.cumsum(axis=1) < chance.random(rows)[:, None]).sum(axis=1).clip(0, 2)]
    frame |= {"prediction": [CLASSES[i] for i in scores.argmax(axis=1)], "score": None, "scores": scores.tolist()}
    return made(day, frame | {"classes": [CLASSES] * rows, "label": label})


def made(day, frame):
    types = {"score": pl.Float64, "scores": pl.List(pl.Float64), "classes": pl.List(pl.String)}
    return ScoredWindow(START + day * DAY, START + (day + 1) * DAY, pl.DataFrame(frame, schema_overrides=types))


def realized(made, task, metric):
    return compute_metrics(task, made.rows["label"], made.rows, "1" if task is Task.BINARY else None)[metric]


def estimate(current, past, task=Task.BINARY, metric=None):
    return estimate_window(current, past, project=project(task, metric), positive="1" if task is Task.BINARY else None)


EVERY = [(task, metric) for task, metrics in METRICS.items() for metric in metrics]


@pytest.mark.parametrize(("task", "metric"), EVERY)
def test_in_a_still_world_every_metric_is_estimated_within_what_chance_explains(task, metric):
    past, current = [window(day, task) for day in range(14)], window(15, task, rows=20_000)
    made = estimate(current, past, task, metric)
    error = abs(made.value - realized(current, task, metric))
    assert error < 3 * made.past_error and made.low <= made.value <= made.high
    assert made.past_windows >= 5


@pytest.mark.parametrize("task", list(Task))
def test_labels_of_the_window_itself_are_never_looked_at(task):
    past, current = [window(day, task) for day in range(8)], window(9, task)
    blind = replace(current, rows=current.rows.with_columns(label=pl.lit(None, current.rows["label"].dtype)))
    assert estimate(current, past, task) == estimate(blind, past, task)


def test_what_ended_after_the_window_began_is_never_looked_at():
    past, current = [window(day) for day in range(8)], window(9)
    later = [window(day, bend=-1.0) for day in range(9, 14)]
    assert estimate(current, past + later) == estimate(current, past)


def test_the_same_frames_give_the_same_bits_whatever_the_order_of_the_windows():
    past, current = [window(day) for day in range(12)], window(13)
    assert estimate(current, past[::-1]) == estimate(current, past)


def test_scores_that_are_too_sure_are_calibrated_on_what_came_of_them():
    past, current = [window(day, bend=0.3) for day in range(14)], window(15, bend=0.3, rows=20_000)
    made = estimate(current, past, metric="log_loss")
    stated = expected_metric("log_loss", scores := read_scores(Task.BINARY, current.rows, "1"), scores.chances)
    truth = realized(current, Task.BINARY, "log_loss")
    assert abs(made.value - truth) < 0.02 < 0.2 < abs(stated - truth)


def test_a_model_that_keeps_getting_worse_is_followed_as_far_as_its_labels_go():
    past = [window(day, bend=1 - day / 10, rows=1000) for day in range(18)]
    current = window(18, bend=1 - 18 / 10, rows=1000)
    made, frozen = (estimate(current, known, metric="accuracy") for known in (past, past[:5]))
    truth = realized(current, Task.BINARY, "accuracy")
    assert abs(made.value - truth) < 0.12 < abs(frozen.value - truth)


def test_without_history_there_is_no_estimate_and_with_little_no_interval():
    assert estimate(window(5), []) is None
    assert estimate(window(5), [window(4, rows=20)]) is None
    assert estimate(window(5), [window(5)]) is None
    short = estimate(window(5), [window(3), window(4)])
    assert short is not None and (short.low, short.high) == (None, None)


def test_a_model_without_scores_is_estimated_where_its_predictions_suffice():
    def bare(made):
        return replace(made, rows=made.rows.with_columns(score=pl.lit(None, pl.Float64)))

    past, current = [bare(window(day)) for day in range(10)], bare(window(11, rows=4000))
    made = estimate(current, past, metric="accuracy")
    assert abs(made.value - realized(current, Task.BINARY, "accuracy")) < 0.05
    assert estimate(current, past, metric="auc") is None


def test_rows_without_an_answer_do_not_spoil_the_estimate_of_the_others():
    def holed(made):
        hole = pl.int_range(pl.len()) % 50 == 3
        missing = pl.when(hole).then(None).otherwise("prediction").alias("prediction")
        return replace(made, rows=made.rows.with_columns(missing))

    for task in Task:
        made = estimate(holed(window(11, task)), [holed(window(day, task)) for day in range(10)], task)
        assert made is not None and np.isfinite([made.value, made.low, made.high]).all()


def test_rows_like_the_current_ones_weigh_more():
    chance = np.random.default_rng(0)
    before, after = chance.normal(size=(4000, 1)), chance.normal(1, 1, (4000, 1))
    weight = likeness(before, after)
    assert weight.mean() == pytest.approx(1) and (weight * before[:, 0]).mean() == pytest.approx(1, abs=0.15)


def test_intervals_hold_about_as_often_as_they_say():
    held = []
    for seed in range(40):
        past, current = [window(day, seed=seed, rows=200) for day in range(14)], window(15, seed=seed, rows=200)
        made = estimate(current, past, metric="accuracy")
        held.append(made.low <= realized(current, Task.BINARY, "accuracy") <= made.high)
    assert np.mean(held) >= 0.75


SCORED = st.lists(st.tuples(st.floats(0, 1), st.sampled_from("01")), min_size=30, max_size=60)


@settings(max_examples=25)
@given(st.lists(SCORED, min_size=2, max_size=6), SCORED, st.sampled_from(METRICS[Task.BINARY]))
def test_an_estimate_lies_in_the_range_of_its_metric(past, current, metric):
    def drawn(day, rows):
        frame = {"prediction": [str(int(s > 0.5)) for s, _ in rows], "score": [s for s, _ in rows], "scores": None}
        frame |= {"classes": [["0", "1"]] * len(rows), "label": [y for _, y in rows]}
        return made(day, frame)

    found = estimate(drawn(9, current), [drawn(i, rows) for i, rows in enumerate(past)], metric=metric)
    if found is not None:
        most = float("inf") if metric == "log_loss" else 1.0
        ends = [found.low, found.high] if found.low is not None else [found.value, found.value]
        assert 0 <= ends[0] <= found.value <= ends[1] <= most


@settings(max_examples=60)
@given(SCORED, st.sampled_from(METRICS[Task.BINARY]))
def test_where_the_truth_is_certain_the_expected_metric_is_the_metric(rows, metric):
    frame = {"prediction": [str(int(s > 0.5)) for s, _ in rows], "score": [s for s, _ in rows], "scores": None}
    window = made(0, frame | {"classes": [["0", "1"]] * len(rows), "label": [y for _, y in rows]})
    scores = read_scores(Task.BINARY, window.rows, "1")
    known = compute_metrics(Task.BINARY, window.rows["label"], window.rows, "1").get(metric)
    expected = expected_metric(metric, scores, scores.certain())
    assert expected == (None if known is None else pytest.approx(known, abs=1e-9))


def test_with_perfectly_calibrated_scores_the_expectation_is_unbiased():
    chance = np.random.default_rng(1)
    score = chance.random(3000)
    frame = pl.DataFrame({"prediction": [str(int(s > 0.5)) for s in score], "score": score}).with_columns(
        classes=pl.lit(["0", "1"]), label=pl.lit(None, pl.String)
    )
    scores = read_scores(Task.BINARY, frame, "1")
    for metric in METRICS[Task.BINARY]:
        drawn = []
        for _ in range(60):
            labels = pl.Series([str(int(t)) for t in chance.random(3000) < score])
            drawn.append(compute_metrics(Task.BINARY, labels, frame, "1")[metric])
        off = np.mean(drawn) - expected_metric(metric, scores, scores.chances)
        assert abs(off) < 4 * np.std(drawn) / 60**0.5
