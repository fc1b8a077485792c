import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from homeostat.metrics import better, compute_metrics, gain, order_classes, positive_class
from homeostat.project import METRICS, Task


def frame(prediction, score=None, classes=None, scores=None):
    n = len(prediction)
    return pl.DataFrame(
        {
            "prediction": prediction,
            "score": score or [None] * n,
            "classes": classes or [None] * n,
            "scores": scores or [None] * n,
        },
        schema_overrides={"score": pl.Float64, "classes": pl.List(pl.String), "scores": pl.List(pl.Float64)},
    )


def test_binary_metrics_agree_with_scikit_learn():
    truth, score = ["1", "0", "1", "0", "1"], [0.9, 0.4, 0.3, 0.2, 0.6]
    prediction = ["1" if s > 0.5 else "0" for s in score]
    found = compute_metrics(Task.BINARY, pl.Series(truth), frame(prediction, score), "1")
    y = [int(t) for t in truth]
    assert found == pytest.approx(
        {
            "auc": sk.roc_auc_score(y, score),
            "log_loss": sk.log_loss(y, score),
            "accuracy": 0.8,
            "brier": sk.brier_score_loss(y, score),
            "f1": sk.f1_score(truth, prediction, pos_label="1"),
        }
    )


def test_multiclass_metrics_agree_with_scikit_learn():
    truth, classes = ["a", "b", "c", "a"], ["a", "b", "c"]
    scores = [[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.3, 0.3]]
    prediction = ["a", "a", "c", "a"]
    found = compute_metrics(Task.MULTICLASS, pl.Series(truth), frame(prediction, None, [classes] * 4, scores))
    assert found == pytest.approx(
        {
            "accuracy": 0.75,
            "log_loss": sk.log_loss(truth, scores, labels=classes),
            "f1_macro": sk.f1_score(truth, prediction, average="macro"),
            "auc_macro": sk.roc_auc_score(truth, scores, multi_class="ovr", average="macro"),
        }
    )


def test_regression_metrics_agree_with_scikit_learn():
    truth, prediction = [1.0, 2.0, 4.0], [1.5, 2.0, 3.0]
    found = compute_metrics(Task.REGRESSION, pl.Series(truth), frame(prediction))
    assert found == pytest.approx(
        {
            "rmse": math.sqrt(sk.mean_squared_error(truth, prediction)),
            "mae": 0.5,
            "r2": sk.r2_score(truth, prediction),
        }
    )


def test_auc_is_left_out_where_truth_has_one_class():
    found = compute_metrics(Task.BINARY, pl.Series(["1", "1"]), frame(["1", "0"], [0.9, 0.1]), "1")
    assert "auc" not in found and "log_loss" in found


def test_nothing_is_measured_without_labels():
    empty = compute_metrics(Task.BINARY, pl.Series([None, None], dtype=pl.String), frame(["1", "0"], [0.9, 0.1]))
    assert empty == {}


def test_r2_is_left_out_for_one_row():
    assert set(compute_metrics(Task.REGRESSION, pl.Series([1.0]), frame([2.0]))) == {"rmse", "mae"}


def test_scores_are_not_measured_on_a_part_of_the_rows():
    found = compute_metrics(Task.BINARY, pl.Series(["1", "0"]), frame(["1", "0"], [0.9, None]), "1")
    assert set(found) == {"accuracy", "f1"}


def test_a_truth_the_model_did_not_know_is_an_error():
    known = frame(["a"], None, [["a", "b"]], [[0.9, 0.1]])
    found = compute_metrics(Task.MULTICLASS, pl.Series(["new"]), known)
    assert found["accuracy"] == 0 and found["log_loss"] == pytest.approx(-math.log(1e-6))


def test_versions_with_different_classes_are_read_by_name():
    scored = frame(["b", "c"], None, [["a", "b"], ["c", "b"]], [[0.2, 0.8], [0.7, 0.3]])
    found = compute_metrics(Task.MULTICLASS, pl.Series(["b", "c"]), scored)
    assert found["log_loss"] == pytest.approx(-(math.log(0.8) + math.log(0.7)) / 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["0", "1", None]), st.floats(0, 1)), max_size=12))
def test_no_metric_is_ever_nan_and_all_are_named(rows):
    truth = pl.Series([t for t, _ in rows], dtype=pl.String)
    scored = frame([str(int(s > 0.5)) for _, s in rows], [s for _, s in rows])
    found = compute_metrics(Task.BINARY, truth, scored.cast({"prediction": pl.String}), "1")
    assert set(found) <= set(METRICS[Task.BINARY])
    assert all(math.isfinite(value) for value in found.values())


def test_every_metric_of_every_task_has_a_direction():
    for metric in {m for names in METRICS.values() for m in names}:
        assert better(metric, 1.0, 0.5) is (gain(metric, 1.0, 0.5) > 0)


def test_the_positive_class_is_the_last_unless_named():
    assert positive_class(["2", "10"]) == "10"
    assert positive_class(["true", "false"], False) == "false"
    assert order_classes(["b", "a", "b"]) == ("a", "b")
