"""Stage 2: score every validated batch that is not scored yet."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from homeostat.durations import instant
from homeostat.errors import ModelRefused, RegistryError
from homeostat.flows.facts import CHAMPION, Standing
from homeostat.flows.learning.proposals import withdraw
from homeostat.flows.loop import Loop, alert
from homeostat.flows.roles import AS_SCORED, RESCORED, scored_as
from homeostat.pipelines.labels.exploration import is_explored
from homeostat.pipelines.models.features import raw_view
from homeostat.records import Batch, BatchState, Document, Role, Severity


def predict(loop: Loop, at: datetime) -> Document:
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
    scored = _count_scores(loop, at) if any(batch.rows for batch in waiting) else 0
    return _done(loop, at, {"scored": scored, "waiting": 0, "version": champion})


def _count_scores(loop: Loop, at: datetime) -> int:
    """How many scores the champion gave at a time; of a batch's rows, corrections get none."""
    given = (pl.col("role") == Role.CHAMPION.value) & (pl.col("scored_at") == at)
    rows = loop.lake.read("predictions", given, [loop.key])
    return 0 if rows is None else rows.height


def _done(loop: Loop, at: datetime, outcome: Document) -> Document:
    with loop.store.write("predicted") as write:
        write.put_stage(at, "predict", outcome)
    return outcome


def _wait(loop: Loop, at: datetime, version: int, waiting: int, fault: RegistryError) -> Document:
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


def rescore(loop: Loop, at: datetime) -> Document:
    """Score corrected inputs, which is done only when a person asks, in a role of their own: they count for nothing.

    The champion may have learned from their labels, so they are in no window, metric or alarm.
    """
    version = loop.version_of("champion")
    rows = loop.lake.latest("inputs", loop.key, at, where=pl.col("_correction"))
    scored = loop.lake.scan("predictions")
    if version is None or rows is None or scored is None:
        return {"rescored": 0}
    mine = scored.filter(scored_as(Role.CHAMPION) | scored_as(Role.CORRECTION))
    last = loop.lake.collect("predictions", mine.group_by(loop.key).agg(pl.col("scored_at").max()))
    rows = rows.join(last, on=loop.key).filter(pl.col("known_at") >= pl.col("scored_at")).drop("scored_at")
    batch = f"{instant(at)}{RESCORED}"
    if not rows.is_empty():
        answer = _answer(loop, loop.models.load(version), rows, version, Role.CORRECTION, batch, at)
        loop.lake.append("predictions", answer, f"predictions.{Role.CORRECTION.value}", batch)
    done = loop.lake.read("predictions", pl.col("batch") == batch, ["model_version"])
    if done is None or done.is_empty():
        return {"rescored": 0}
    return {"rescored": done.height, "version": done["model_version"][0]}


def _score(loop: Loop, model: Any, version: int, role: Role, batch: Batch, at: datetime) -> None:
    if batch.rows == 0:
        return
    chosen = (pl.col("_batch") == batch.id) & AS_SCORED
    frames = (_answer(loop, model, rows, version, role, batch.id, at) for rows in loop.lake.stream("inputs", chosen))
    loop.lake.append("predictions", frames, f"predictions.{role.value}", batch.id)


def _answer(
    loop: Loop, model: Any, rows: pl.DataFrame, version: int, role: Role, batch: str, at: datetime
) -> pl.DataFrame:
    scored = rows.select(loop.key, "event_at").hstack(model.score(raw_view(rows, loop.project)))
    share = loop.project.labeling.explore
    if share:
        scored = scored.with_columns(is_explored(rows[loop.key], share))
    return scored.with_columns(
        batch=pl.lit(batch),
        model_version=pl.lit(version, pl.Int64),
        role=pl.lit(role.value),
        reasons=pl.lit(None, pl.String),
        scored_at=pl.lit(at).cast(pl.Datetime("us", "UTC")),
    )


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
        # Looked at again now that nobody else writes: a person may be promoting it this minute.
        if loop.version_of("champion") != known:
            return
        withdraw(loop, write, at, f"version {alias} became champion", but=alias)
        write.put_fact(CHAMPION, Standing(alias, at))
        write.append_journal(
            at, f"{instant(at)}/champion_moved", "champion_moved", {"from": known, "to": alias, "by": "MLflow"}
        )
