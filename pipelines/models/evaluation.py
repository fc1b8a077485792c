"""Evaluation: how good a model is on rows whose truth is known."""

from __future__ import annotations

from typing import Any, Protocol

import polars as pl

from homeostat.metrics import compute_metrics
from homeostat.pipelines.data.canonical import canonical_class
from homeostat.pipelines.models.features import raw_view
from homeostat.project import Project


class Scorer(Protocol):
    """Anything that scores raw rows: `Predictor`, or a model made elsewhere."""

    def score(self, rows: Any, /) -> pl.DataFrame:
        """One row of prediction, score, classes, scores for each row."""
        ...


def score_frame(predictor: Scorer, frame: pl.DataFrame, project: Project | None = None) -> pl.DataFrame:
    """Score an inputs frame: columns prediction, score, classes, scores, one row for each, in the same order.

    A model made elsewhere needs `project`, since it knows the event time by the user's name only.
    """
    return predictor.score(frame if project is None else raw_view(frame, project))


def evaluate(predictor: Scorer, frame: pl.DataFrame, project: Project) -> dict[str, float]:
    """Compute the task's metrics of a model on an inputs frame with `label`, scored afresh.

    The positive class is the project's, else the model's own, so that two models are compared on one question.
    """
    stated = project.data.positive
    own = getattr(predictor, "positive", None)
    positive = own if stated is None else canonical_class(stated)
    return compute_metrics(project.task, frame["label"], score_frame(predictor, frame, project), positive)
