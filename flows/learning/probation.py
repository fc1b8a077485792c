"""The probation of a line: its newest versions against their founder, batch by batch, with the labels as known then."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from homeostat.durations import instant
from homeostat.errors import RegistryError
from homeostat.flows.learning.promotion import labelled_rows
from homeostat.flows.learning.rules import trial_losses, trial_scale
from homeostat.flows.loop import Loop
from homeostat.monitoring.alarm.rule import is_mature
from homeostat.monitoring.retraining.probation import Probation, from_plain, to_plain
from homeostat.pipelines.models.features import raw_view
from homeostat.records import ModelRecord, Window

MOST_A_TICK = 12


def fact_name(line: int) -> str:
    """The name of the fact that holds the state of a line's probation."""
    return f"probation/{line}"


def get_probation(loop: Loop, champion: ModelRecord) -> Probation:
    """What is remembered of the champion's line."""
    stored = loop.store.get_fact(fact_name(champion.founder))
    if stored is not None:
        return from_plain(stored)
    founder = loop.store.get_model(champion.founder) or champion
    return Probation(champion.founder, instant(founder.promoted_at or founder.as_of))


def follow_trial(loop: Loop, at: datetime) -> Probation | None:
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


def renewed(probation: Probation, at: datetime) -> dict[str, Any]:
    """The state after a rollback: nothing is held against anybody, and trust must be earned."""
    return to_plain(Probation(probation.line, instant(at), wary=True))


def _taken(loop: Loop, probation: Probation, window: Window, at: datetime) -> Probation:
    end = instant(window.end_at)
    newest = loop.standing_version(window.end_at)
    found = {probation.line, window.model_version, newest}
    rows = labelled_rows(loop, (window.batch,), at)
    if rows is None or rows.is_empty() or found <= {probation.line, None}:
        return probation.take(np.empty(0), None, end)
    try:
        scored = {v: loop.models.load(v).score(raw_view(rows, loop.project)) for v in found if v is not None}
    except RegistryError:
        return probation.take(np.empty(0), None, end)
    task, labels = loop.project.task, rows["label"]
    scale = trial_scale(task, labels, scored[probation.line])
    positive = getattr(loop.models.load(probation.line), "positive", None)
    losses = {v: trial_losses(task, labels, said, positive, scale) for v, said in scored.items()}
    founder, served = losses[probation.line], losses[window.model_version]
    shadow = None if newest is None else losses[newest]
    differences = (served - founder).mean(axis=0)
    if window.model_version == probation.line:
        differences = np.empty(0)
    gains = None if shadow is None or newest == probation.line else (founder - shadow).mean(axis=1)
    return probation.take(differences, None if gains is None else (float(gains[0]), float(gains[1])), end)
