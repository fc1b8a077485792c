from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.errors import ProjectError
from homeostat.monitoring.performance.realized import awaits_labels, is_closed, measure_window
from homeostat.project import Project, Task
from homeostat.records import Batch, BatchState, WindowStatus
from homeostat.sections.data import Data

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=7)
BATCH = Batch("2024-01-08T00:00:00Z", START, END, BatchState.SCORED, rows=4, model_version=3)
PROJECT = Project.model_validate(
    {
        "folder": Path(),
        "project": {"name": "p", "task": "binary"},
        "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]},
        "loop": {"tick": "7d", "start": START},
    }
)
HORIZON = PROJECT.data.feedback.horizon


def scored(labels, scores=None):
    scores = scores or [i / max(len(labels), 1) for i in range(len(labels))]
    return pl.DataFrame(
        {
            "event_at": [START + timedelta(days=i % 7) for i in range(len(labels))],
            "prediction": [str(int(s > 0.5)) for s in scores],
            "score": scores,
            "classes": [["0", "1"]] * len(labels),
            "scores": [None] * len(labels),
            "model_version": [3] * len(labels),
            "label": labels,
        },
        schema_overrides={
            "event_at": pl.Datetime("us", "UTC"),
            "label": pl.String,
            "prediction": pl.String,
            "score": pl.Float64,
        },
    )


def measure(labels, now, **more):
    return measure_window(scored(labels), batch=BATCH, project=PROJECT, now=now, positive="1", **more)


def test_a_half_labeled_window_is_provisional_until_the_horizon_has_passed():
    labels = ["0", "1", None, None]
    assert measure(labels, END).status is WindowStatus.PROVISIONAL
    assert measure(labels, START + timedelta(days=3) + HORIZON).status is WindowStatus.FINAL


def test_a_provisional_window_tells_what_its_missing_labels_can_make_of_the_metric():
    window = measure(["0", "1", None, None], END)
    assert (window.realized_low, window.realized, window.realized_high) == (pytest.approx(1 / 3), 1.0, 1.0)
    final = measure(["0", "1", None, None], END + HORIZON)
    assert (final.realized_low, final.realized_high) == (None, None)


def test_a_window_with_every_label_is_final_at_once():
    window = measure(["0", "0", "1", "1"], END)
    assert (window.status, window.coverage, window.realized) == (WindowStatus.FINAL, 1.0, 1.0)


def test_a_window_without_labels_is_unknown_even_after_the_horizon():
    window = measure([None] * 4, END + 10 * HORIZON)
    assert (window.status, window.realized, window.coverage) == (WindowStatus.UNKNOWN, None, 0.0)


def test_a_window_whose_watched_metric_is_undefined_is_unknown():
    window = measure(["1", "1", "1", "1"], END + HORIZON)
    assert window.status is WindowStatus.UNKNOWN and window.metrics["accuracy"] == 0.25


@pytest.mark.parametrize(
    ("labels", "now", "closed"),
    [
        (["0", "0", "0"], END, True),
        (["0", "0", None], END, False),
        (["0", "0", None], END + 2 * HORIZON, True),
        (["0", "1", None], END, False),
        (["0", "1", None], END + HORIZON, True),
        ([None, None, None], END + 2 * HORIZON, False),
    ],
)
def test_a_window_is_closed_by_what_is_waited_for_and_not_by_what_its_labels_say(labels, now, closed):
    assert is_closed(measure(labels, now), PROJECT, now) is closed


def test_an_empty_batch_is_unknown():
    assert measure([], END + HORIZON).status is WindowStatus.UNKNOWN


def test_a_missing_number_is_no_label():
    regression = PROJECT.model_copy(update={"project": PROJECT.project.model_copy(update={"task": Task.REGRESSION})})
    rows = scored(["0", "0"]).with_columns(label=pl.Series([1.0, float("nan")]), prediction=pl.lit(1.5))
    window = measure_window(rows, batch=BATCH, project=regression, now=END)
    assert (window.labels, window.metrics["mae"]) == (1, 0.5)


def test_the_hook_adds_metrics_and_cannot_replace_the_built_in_ones():
    window = measure(["0", "0", "1", "1"], END, evaluate=lambda truth, rows: {"cost": len(truth), "auc": 0.0})
    assert window.metrics["cost"] == 4.0 and window.metrics["auc"] == 1.0


def test_a_hook_that_fails_is_told_in_one_line():
    with pytest.raises(ProjectError, match="evaluate failed: ZeroDivisionError"):
        measure(["0", "1"], END, evaluate=lambda truth, rows: 1 / 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["0", "1", None]), max_size=12), st.integers(0, 30))
def test_what_a_window_says_holds_together(labels, days):
    now = START + timedelta(days=days)
    window = measure(labels, now)
    assert (window.realized is None) == (window.status is WindowStatus.UNKNOWN)
    assert 0 <= window.coverage <= 1 and window.labels == sum(label is not None for label in labels)
    if window.status is WindowStatus.FINAL:
        assert window.coverage == 1 or START + timedelta(days=min(len(labels) - 1, 6)) + HORIZON <= now
    if window.status is WindowStatus.PROVISIONAL:
        later = measure(labels, now + timedelta(days=60))
        assert later.status is WindowStatus.FINAL and later.realized == window.realized


def test_a_label_is_waited_for_from_the_later_of_event_and_arrival_and_never_for_ever() -> None:
    day, start = timedelta(days=1), datetime(2024, 1, 10, tzinfo=UTC)
    data = PROJECT.data.model_dump() | {"feedback": {"horizon": "2d"}}
    project = PROJECT.model_copy(update={"data": Data.model_validate(data)})
    cases = {
        "in time": (start + day / 2, 2.5),
        "late": (start - 9 * day, 3.0),
        "ahead": (start + 1.5 * day, 3.5),
        "mistyped": (start + 9999 * day, 4.0),
        "missing": (None, 3.0),
    }
    for name, (event_at, until) in cases.items():
        scored = pl.DataFrame({"event_at": [event_at]}, schema={"event_at": pl.Datetime("us", "UTC")})
        waits = [awaits_labels(scored, project, start + n * day / 4, start, start + day) for n in range(20)]
        assert waits == [n / 4 < until for n in range(20)], name
