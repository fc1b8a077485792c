"""The probation of a line: its newest versions against their founder, batch by batch, with the labels as known then."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from flows.loop import Loop
from flows.settle import labelled_rows
from homeostat.durations import instant
from homeostat.errors import RegistryError
from homeostat.losses import loss_scale, row_losses
from homeostat.project import Task
from homeostat.records import ModelRecord, Window
from monitoring.alarms import is_mature
from monitoring.probation import Probation, from_plain, to_plain
from pipelines.features import raw_view

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
    rows = labelled_rows(loop, (window.batch,), at)
    if rows is None or rows.is_empty() or {window.model_version, newest} <= {probation.line, None}:
        return probation.take(np.empty(0), None, end)
    try:
        scale = _scale(loop, probation.line, rows)
        founder, served = (_losses(loop, v, rows, scale) for v in (probation.line, window.model_version))
        shadow = None if newest is None else _losses(loop, newest, rows, scale)
    except RegistryError:
        return probation.take(np.empty(0), None, end)
    differences = (served - founder).mean(axis=0)
    if window.model_version == probation.line:
        differences = np.empty(0)
    gains = None if shadow is None or newest == probation.line else (founder - shadow).mean(axis=1)
    return probation.take(differences, None if gains is None else (float(gains[0]), float(gains[1])), end)


def _scale(loop: Loop, founder: int, rows: pl.DataFrame) -> float:
    if loop.project.task is not Task.REGRESSION:
        return 1.0
    return max(loss_scale(rows["label"], loop.models.load(founder).score(raw_view(rows, loop.project))), 1e-12)


def _losses(loop: Loop, version: int, rows: pl.DataFrame, scale: float) -> np.ndarray:
    """Two losses from 0 to 1 of each row, (2, rows): that of the alarm, and whether the prediction is wrong."""
    model, labels, task = loop.models.load(version), rows["label"], loop.project.task
    scored = model.score(raw_view(rows, loop.project))
    losses = row_losses(task, labels, scored, getattr(model, "positive", None), scale)
    if task is Task.REGRESSION:
        return np.stack([losses, losses])
    return np.stack([losses, (scored["prediction"] != labels).fill_null(True).cast(pl.Float64).to_numpy()])
