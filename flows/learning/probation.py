"""The probation of a lineage: its newest versions against their root, batch by batch, with the labels as known then."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from homeostat.durations import instant
from homeostat.errors import RegistryError
from homeostat.flows.learning.port import LearningPort, Span
from homeostat.flows.learning.rules import probation_losses, probation_scale
from homeostat.monitoring.retraining.probation import Probation
from homeostat.pipelines.models.features import raw_view
from homeostat.project import Task
from homeostat.records import ModelRecord

MOST_A_TICK = 12


def get_probation(port: LearningPort, champion: ModelRecord) -> Probation:
    """What is remembered of the champion's lineage."""
    stored = port.probation(champion.root_version)
    if stored is not None:
        return stored
    root = port.record(champion.root_version) or champion
    return Probation(champion.root_version, instant(root.promoted_at or root.as_of))


def follow_probation(port: LearningPort, at: datetime) -> Probation | None:
    """The probation after the batches that are mature by `at`; reads, and writes nothing.

    A batch in which a column has gone says nothing of a version and is passed over.
    """
    champion = port.champion()
    if champion is None:
        return None
    probation = get_probation(port, champion)
    spans = [span for span in port.spans(at, datetime.fromisoformat(probation.until)) if span.mature]
    broken = port.broken_batches() if spans else set()
    for span in spans[:MOST_A_TICK]:
        if broken.intersection(span.batches):
            probation = probation.take(np.empty(0), None, instant(span.end_at))
        else:
            probation = _taken(port, probation, span, at)
    return probation


def renewed(probation: Probation, at: datetime) -> Probation:
    """The state after a rollback: nothing is held against anybody, and trust must be earned."""
    return Probation(probation.lineage, instant(at), wary=True)


def _taken(port: LearningPort, probation: Probation, span: Span, at: datetime) -> Probation:
    end, root = instant(span.end_at), probation.lineage
    newest = port.standing_version(span.end_at)
    losses = _losses(port, span, at, root, {root, span.model_version, *(() if newest is None else (newest,))})
    if losses is None:
        return probation.take(np.empty(0), None, end)
    served = span.model_version
    differences = np.empty(0) if served == root else (losses[served] - losses[root]).mean(axis=0)
    if newest is None or newest == root:
        return probation.take(differences, None, end)
    gains = (losses[root] - losses[newest]).mean(axis=1)
    return probation.take(differences, (float(gains[0]), float(gains[1])), end)


def _losses(
    port: LearningPort, span: Span, at: datetime, root: int, versions: set[int]
) -> dict[int, np.ndarray] | None:
    """Of each version both losses of each labelled row of a batch, (2, rows); None where nothing can be compared."""
    rows = port.labelled_rows(span.batches, at) if versions != {root} else None
    if rows is None or rows.is_empty():
        return None
    raw = raw_view(rows, port.project)
    try:
        scored = {version: port.model(version).score(raw) for version in versions}
    except RegistryError:
        return None
    task, labels = port.project.task, rows["label"]
    scale, positive = probation_scale(task, labels, scored[root]), getattr(port.model(root), "positive", None)
    losses = {v: probation_losses(task, labels, frame, positive, scale) for v, frame in scored.items()}
    if all(_gives_chances(task, frame) for frame in scored.values()):
        return losses
    return {version: np.stack([both[1], both[1]]) for version, both in losses.items()}


def _gives_chances(task: Task, scored: pl.DataFrame) -> bool:
    """Whether a version says how sure it is; one that gives classes alone can only be judged by its errors."""
    return task is Task.REGRESSION or scored["score" if task is Task.BINARY else "scores"].null_count() == 0
