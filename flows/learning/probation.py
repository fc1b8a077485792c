"""The probation of a lineage: its newest versions against their root, batch by batch, with the labels as known then."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from homeostat.durations import instant
from homeostat.errors import RegistryError
from homeostat.flows.facts import PROBATION
from homeostat.flows.learning.promotion import labelled_rows
from homeostat.flows.learning.rules import probation_losses, probation_scale
from homeostat.flows.loop import Loop
from homeostat.monitoring.alarm.rule import is_mature
from homeostat.monitoring.retraining.probation import Probation
from homeostat.pipelines.models.features import raw_view
from homeostat.records import ModelRecord, Window

MOST_A_TICK = 12


def get_probation(loop: Loop, champion: ModelRecord) -> Probation:
    """What is remembered of the champion's lineage."""
    kept = loop.store.get_fact(PROBATION.of(champion.root_version))
    if kept is not None:
        return kept
    root = loop.store.get_model(champion.root_version) or champion
    return Probation(champion.root_version, instant(root.promoted_at or root.as_of))


def follow_probation(loop: Loop, at: datetime) -> Probation | None:
    """The probation after the batches that are mature by `at`; reads, and writes nothing."""
    champion = loop.champion()
    if champion is None:
        return None
    probation = get_probation(loop, champion)
    since, settings = datetime.fromisoformat(probation.until), loop.project.monitoring
    windows = [w for w in loop.store.list_windows() if since < w.end_at <= at and w.rows and is_mature(w, settings)]
    for window in windows[:MOST_A_TICK]:
        probation = _taken(loop, probation, window, at)
    return probation


def renewed(probation: Probation, at: datetime) -> Probation:
    """The state after a rollback: nothing is held against anybody, and trust must be earned."""
    return Probation(probation.lineage, instant(at), wary=True)


def _taken(loop: Loop, probation: Probation, window: Window, at: datetime) -> Probation:
    end = instant(window.end_at)
    newest = loop.standing_version(window.end_at)
    found = {probation.lineage, window.model_version, newest}
    rows = labelled_rows(loop, (window.batch,), at)
    if rows is None or rows.is_empty() or found <= {probation.lineage, None}:
        return probation.take(np.empty(0), None, end)
    try:
        scored = {v: loop.models.load(v).score(raw_view(rows, loop.project)) for v in found if v is not None}
    except RegistryError:
        return probation.take(np.empty(0), None, end)
    task, labels = loop.project.task, rows["label"]
    scale = probation_scale(task, labels, scored[probation.lineage])
    positive = getattr(loop.models.load(probation.lineage), "positive", None)
    losses = {v: probation_losses(task, labels, said, positive, scale) for v, said in scored.items()}
    root, served = losses[probation.lineage], losses[window.model_version]
    shadow = None if newest is None else losses[newest]
    differences = (served - root).mean(axis=0)
    if window.model_version == probation.lineage:
        differences = np.empty(0)
    gains = None if shadow is None or newest == probation.lineage else (root - shadow).mean(axis=1)
    return probation.take(differences, None if gains is None else (float(gains[0]), float(gains[1])), end)
