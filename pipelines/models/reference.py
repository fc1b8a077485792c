"""The loss that a model had on rows held out from it, which the alarm compares its later life with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from homeostat.losses import describe_losses, has_no_scores, loss_scale, row_losses, segment_values
from homeostat.project import Project, Task

Scorer = Callable[[np.ndarray], pl.DataFrame]


def reference_loss(
    frame: pl.DataFrame, score: Scorer, valid: np.ndarray, holdout: np.ndarray, project: Project, positive: str | None
) -> dict[str, Any]:
    """Describe the losses on the holdout (see `describe_losses`); empty where nothing was held out.

    `frame`: the labelled rows; `score` gives the predictions of those at some positions. What regression losses are
    clipped at comes from `valid`, so that the scale does not depend on the rows that are measured with it.
    """
    if not len(holdout):
        return {}
    labels, scored = frame["label"], score(holdout)
    scale = loss_scale(labels.gather(valid), score(valid)) if project.task is Task.REGRESSION else 1.0
    losses = row_losses(project.task, labels.gather(holdout), scored, positive, scale)
    segments = segment_values(frame[holdout], project.data.segments)
    return describe_losses(losses, segments, scale=scale, zero_one=has_no_scores(project.task, scored))
