"""Stage 2: score every validated batch that is not scored yet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import polars as pl

from flows.loop import Loop, alert
from homeostat.durations import instant
from homeostat.errors import ModelRefused, RegistryError
from homeostat.records import Batch, BatchState, Role, Severity
from pipelines.features import raw_view


def predict(loop: Loop, at: datetime) -> dict[str, Any]:
    """Score the waiting batches with the champion, a challenger in shadow and a replay's first model.

    Where the champion cannot be loaded or does not reproduce its golden rows, the batches wait and an alert goes out.
    """
    _follow_alias(loop, at)
    champion = loop.version_of("champion")
    waiting = loop.store.list_batches(BatchState.VALIDATED)
    if champion is None:
        return _done(loop, at, {"scored": 0, "waiting": len(waiting)})
    try:
        model = loop.models.load(champion)
    except RegistryError as fault:
        if loop.replaying and not isinstance(fault, ModelRefused):
            raise
        return _wait(loop, at, champion, len(waiting), fault)
    for batch in waiting:
        _score(loop, model, champion, Role.CHAMPION, batch, at)
        for role in (Role.BASELINE, Role.CHALLENGER):
            _score_in_shadow(loop, role, batch, at)
        with loop.store.write("predict") as write:
            scored = Batch(
                batch.id, batch.start_at, batch.end_at, BatchState.SCORED, batch.rows, batch.quarantined, batch.reason,
                champion, at,
            )  # fmt: skip
            write.put_batch(scored)
    return _done(loop, at, {"scored": sum(b.rows for b in waiting), "waiting": 0, "version": champion})


def _done(loop: Loop, at: datetime, outcome: dict[str, Any]) -> dict[str, Any]:
    with loop.store.write("predicted") as write:
        write.put_stage(at, "predict", outcome)
    return outcome


def _wait(loop: Loop, at: datetime, version: int, waiting: int, fault: RegistryError) -> dict[str, Any]:
    outcome = {"scored": 0, "waiting": waiting, "version": version, "problem": str(fault)}
    body = f"{fault} {waiting} batches wait. 'homeostat rollback' puts an earlier version in its place."
    previous = loop.store.last_outcome("predict", at) or {}
    with loop.store.write("predicted") as write:
        if previous.get("problem") != str(fault):
            write.append_alert(alert(at, Severity.CRITICAL, "champion", f"version {version} cannot score", body))
        write.append_journal(at, f"{instant(at)}/champion_refused", "champion_refused", {"problem": str(fault)})
        write.put_stage(at, "predict", outcome)
    return outcome


def _score_in_shadow(loop: Loop, role: Role, batch: Batch, at: datetime) -> None:
    version = loop.version_of(role.value)
    if version is None:
        return
    try:
        model = loop.models.load(version)
    except RegistryError as fault:
        with loop.store.write("shadow") as write:
            body = f"{role} version {version} did not score batch {batch.id}: {fault}"
            write.append_alert(alert(at, Severity.WARNING, f"{role}", f"{role} version {version} cannot score", body))
        return
    _score(loop, model, version, role, batch, at)


def _score(loop: Loop, model: Any, version: int, role: Role, batch: Batch, at: datetime) -> None:
    if batch.rows == 0:
        return
    chosen = (pl.col("_batch") == batch.id) & ~pl.col("_correction")

    def scored() -> Iterator[pl.DataFrame]:
        for rows in loop.lake.stream("inputs", chosen):
            yield (
                rows.select(loop.key, "event_at")
                .hstack(model.score(raw_view(rows, loop.project)))
                .with_columns(
                    batch=pl.lit(batch.id),
                    model_version=pl.lit(version, pl.Int64),
                    role=pl.lit(role.value),
                    reasons=pl.lit(None, pl.String),
                    scored_at=pl.lit(at).cast(pl.Datetime("us", "UTC")),
                )
            )

    loop.lake.append("predictions", scored(), f"predictions.{role.value}", batch.id)


def _follow_alias(loop: Loop, at: datetime) -> None:
    """A person may move the champion alias in MLflow itself; the loop follows, and says so in the journal."""
    known = loop.version_of("champion")
    if known is None:
        return
    try:
        alias = loop.models.get_alias("champion")
    except RegistryError:
        return
    if alias is None or alias == known:
        return
    with loop.store.write("alias") as write:
        write.put_fact("champion", {"version": alias, "since": instant(at)})
        write.append_journal(
            at, f"{instant(at)}/champion_moved", "champion_moved", {"from": known, "to": alias, "by": "MLflow"}
        )
