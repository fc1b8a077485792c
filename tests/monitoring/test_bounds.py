import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.metrics import compute_metrics
from homeostat.monitoring.performance.bounds import bound_metric
from homeostat.project import Task

SCORE = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.5, 0.7, 0.9, 1.0])
CLASSES = ["a", "b", "c"]


@st.composite
def rows(draw, labels):
    """A row's label, whether it is known by now, and whether it ever comes."""
    return draw(SCORE), draw(st.sampled_from(labels)), draw(st.booleans()), draw(st.booleans())


def binary(scores, labels):
    return pl.DataFrame(
        {
            "prediction": [str(int(s > 0.4)) for s in scores],
            "score": scores,
            "classes": [["0", "1"]] * len(scores),
            "scores": [None] * len(scores),
            "label": labels,
        },
        schema_overrides={"label": pl.String, "score": pl.Float64},
    )


def multiclass(scores, labels):
    return pl.DataFrame(
        {
            "prediction": [CLASSES[int(s > 0.4)] for s in scores],
            "score": [None] * len(scores),
            "classes": [CLASSES] * len(scores),
            "scores": [[s / 2, 1 - s, s / 2] for s in scores],
            "label": labels,
        },
        schema_overrides={"label": pl.String, "score": pl.Float64},
    )


def holds(task, metric, make, drawn):
    scores = [row[0] for row in drawn]
    now = make(scores, [label if known else None for _, label, known, _ in drawn])
    later = make(scores, [label if known or comes else None for _, label, known, comes in drawn])
    low, high = bound_metric(task, metric, now, "1" if task is Task.BINARY else None)
    realized = compute_metrics(task, later["label"], later, "1" if task is Task.BINARY else None).get(metric)
    assert realized is None or low - 1e-9 <= realized <= high + 1e-9
    return low, high, realized


@pytest.mark.parametrize("metric", ["accuracy", "brier", "log_loss", "f1"])
@settings(max_examples=150)
@given(st.lists(rows(["0", "1"]), min_size=1, max_size=9))
def test_whatever_the_missing_labels_turn_out_to_be_the_metric_is_within_its_bounds(metric, drawn):
    holds(Task.BINARY, metric, binary, drawn)


@settings(max_examples=400)
@given(st.lists(rows(["0", "1"]), min_size=2, max_size=9))
def test_so_is_the_area_under_the_curve(drawn):
    both = {label for _, label, _, _ in drawn if label}
    if len(both) == 2:
        low, high, realized = holds(Task.BINARY, "auc", binary, drawn)
        if all(known for _, _, known, _ in drawn):
            assert low == pytest.approx(realized) and high == pytest.approx(realized)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
@settings(max_examples=150)
@given(st.lists(rows([*CLASSES, "new"]), min_size=1, max_size=9))
def test_so_is_a_multiclass_metric_even_of_a_class_nobody_has_seen(metric, drawn):
    holds(Task.MULTICLASS, metric, multiclass, drawn)


@pytest.mark.parametrize("metric", ["accuracy", "brier", "log_loss", "f1", "auc"])
@settings(max_examples=60)
@given(st.lists(st.tuples(SCORE, st.sampled_from(["0", "1"])), min_size=2, max_size=12))
def test_bounds_of_a_whole_window_are_the_metric_itself(metric, drawn):
    scores, labels = [row[0] for row in drawn], [row[1] for row in drawn]
    if len(set(labels)) == 2:
        frame = binary(scores, labels)
        realized = compute_metrics(Task.BINARY, frame["label"], frame, "1")[metric]
        assert bound_metric(Task.BINARY, metric, frame, "1") == pytest.approx((realized, realized))


def test_every_missing_label_may_be_right_or_wrong():
    frame = binary([0.9, 0.9, 0.1, 0.1], ["1", None, "0", None])
    assert bound_metric(Task.BINARY, "accuracy", frame, "1") == (0.5, 1.0)


def test_what_has_no_worst_case_has_no_bounds():
    frame = binary([0.9, 0.1], ["1", None])
    assert bound_metric(Task.REGRESSION, "rmse", frame.with_columns(label=pl.Series([1.0, None]))) is None
    assert bound_metric(Task.MULTICLASS, "f1_macro", multiclass([0.9, 0.1], ["a", None])) is None
    assert bound_metric(Task.BINARY, "brier", frame.with_columns(score=pl.lit(None, pl.Float64)), "1") is None
