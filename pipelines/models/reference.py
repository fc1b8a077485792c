"""The loss that a model had on rows held out from it, which the alarm compares its later life with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from homeostat.batch_test import Group, at_level
from homeostat.losses import (
    describe_losses,
    gather_batches,
    has_no_scores,
    loss_scale,
    row_losses,
    segment_values,
)
from homeostat.project import Project, Task

Scorer = Callable[[np.ndarray], pl.DataFrame]


def reference_loss(
    frame: pl.DataFrame,
    score: Scorer,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray],
    project: Project,
    positive: str | None,
) -> dict[str, Any]:
    """Describe the losses on the holdout (see `describe_losses`); empty where nothing was held out.

    `frame`: the labelled rows; `score` gives the predictions of those at some positions; `parts` are the positions of
    train, valid and holdout. What regression losses are clipped at comes from `valid`, so that the scale does not
    depend on the rows that are measured with it. `batches` says how far ticks differ within the holdout,
    `other_batches` within the rows before it (see `describe_batches`). Losses of rows that were learned from are too
    small; they are brought to the mean of the holdout first.
    """
    train, valid, holdout = parts
    if not len(holdout):
        return {}
    labels, scored = frame["label"], score(holdout)
    scale = loss_scale(labels.gather(valid), score(valid)) if project.task is Task.REGRESSION else 1.0
    told = describe_losses(
        row_losses(project.task, labels.gather(holdout), scored, positive, scale),
        segment_values(frame[holdout], project.data.segments),
        scale=scale,
        zero_one=has_no_scores(project.task, scored),
    )
    if not told:
        return {}

    def batches(part: np.ndarray) -> dict[str, Group]:
        rows, losses = frame[part], row_losses(project.task, labels.gather(part), score(part), positive, scale)
        return gather_batches(losses, segment_values(rows, project.data.segments), _ticks(rows, project), told)

    others = [batches(part) for part in (train, *(() if valid is holdout else (valid,)))]
    held_out = batches(holdout)
    told["batches"] = {name: asdict(group) for name, group in held_out.items()}
    told["other_batches"] = {
        name: [asdict(at_level(part[name], group.mean)) for part in others if part[name].rows]
        for name, group in held_out.items()
    }
    return told


def _ticks(rows: pl.DataFrame, project: Project) -> np.ndarray:
    """The slot of the tick grid that each row's event lies in: the batch that it would have been scored in."""
    elapsed = (rows["event_at"] - project.start_at).dt.total_microseconds()
    return np.asarray(elapsed.to_numpy() // round(project.loop.tick.total_seconds() * 1e6), dtype=np.int64)
