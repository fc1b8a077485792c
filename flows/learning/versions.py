"""Making a version: the point-in-time frame, the training, the registration."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from homeostat.errors import DataError
from homeostat.flows.held_labels import held_batches
from homeostat.flows.labels import find_delays, row_tick, sample_of
from homeostat.flows.loop import Loop, end_of_tick, tick_index
from homeostat.flows.roles import AS_SCORED
from homeostat.monitoring.novelty import gone_columns
from homeostat.pipelines.labels.delays import LabelDelays
from homeostat.pipelines.labels.sampling import fair_share
from homeostat.pipelines.models.training import train_model
from homeostat.records import BatchState, FitCost, ModelRecord, Purpose, TaskState
from homeostat.registry.registration import Registration

RECORD = "record.json"
OBSERVED, PROGRAMMATIC, SOURCES = "observed", "programmatic", "labels"
MOST_WEIGHT = 20.0
"""For how many rows one that was left alone by chance counts at most; more would make a model of a few rows."""


def training_frame(
    loop: Loop,
    at: datetime,
    *,
    until: datetime | None = None,
    since: datetime | None = None,
    without: pl.Series | None = None,
    delays: LabelDelays | None = None,
) -> pl.DataFrame:
    """Inputs and labels that count at `at`, one row a key, sorted by event and key.

    Inputs are as they were when they were scored or first known; with `data.inputs.corrections = "newest"` as they were
    corrected last.
    Only rows that were scored, or came before the first champion; of batches that ended by `until` and events after
    `since`, where these are given; no row whose key is in `without`, none whose label people are to look at again, and
    none of a batch in which a column has gone, or whose labels are odd. No label that an action on the model's score
    caused, and no row whose labels are not a fair sample yet (see `homeostat.pipelines.labels.delays`; `delays` are
    estimated where they are not given). `_provenance` says where each label comes from, `_weight` how much each counts
    where they differ, and `_measured` whether a model may be measured on it where not every row had the same chance.
    Raises DataError where there is no row.
    """
    learned = {BatchState.SCORED, BatchState.HISTORY}
    if loop.version_of("champion") is None:
        learned |= {BatchState.VALIDATED}
    batches, broken = loop.store.list_batches(), broken_batches(loop) | held_batches(loop)
    usable = [b.id for b in batches if b.state in learned and b.end_at <= (until or at) and b.id not in broken]
    where = pl.col("_batch").is_in(usable)
    if loop.project.data.inputs.corrections == "first":
        where &= AS_SCORED
    if since is not None:
        where &= pl.col("event_at") >= since
    inputs = loop.lake.latest("inputs", loop.key, at, where=where)
    keys = None if inputs is None or since is None else inputs[loop.key]
    labels = loop.lake.latest("feedback", loop.key, at, keys=keys)
    if inputs is None or labels is None:
        raise DataError(f"no labelled rows are known at {at:%Y-%m-%d %H:%M}.", "Labels come with [data.feedback].")
    if without is not None:
        inputs = inputs.join(without.to_frame(), on=loop.key, how="anti")
    doubtful = [task.key for task in loop.store.list_tasks(TaskState.OPEN) if task.purpose is Purpose.RELABEL]
    if doubtful:
        inputs = inputs.filter(~pl.col(loop.key).cast(pl.String).is_in(doubtful))
    if "caused" in labels.columns:
        labels = labels.filter(~pl.col("caused").fill_null(False))
    labels = labels.select(loop.key, "label", "propensity", _provenance="provenance")
    frame = inputs.join(labels, on=loop.key, how="inner").sort("event_at", loop.key)
    if loop.project.data.inputs.corrections == "newest":
        frame = _as_they_came(loop, frame, at)
    known = find_delays(loop, at) if delays is None else delays
    return _weighed(loop, _settled(loop, frame, at, known))


def broken_batches(loop: Loop) -> set[str]:
    """The batches in which a column that was there has gone: of a tick, and those that came since the tick before."""
    ticks = {check.tick_at for check in loop.store.list_checks() if gone_columns(check.facts)}
    batches = loop.store.list_batches() if ticks else []
    return {batch.id for batch in batches if end_of_tick(loop.project, batch.end_at) in ticks}


def _as_they_came(loop: Loop, frame: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Corrected rows with the time at which they were first known, which their labels are waited for from."""
    first = loop.lake.latest("inputs", loop.key, at, AS_SCORED, keys=frame[loop.key])
    if first is None:
        return frame
    came = first.select(loop.key, _first="known_at")
    joined = frame.join(came, on=loop.key, how="left", maintain_order="left")
    return joined.with_columns(known_at=pl.coalesce("_first", "known_at")).drop("_first")


def _settled(loop: Loop, frame: pl.DataFrame, at: datetime, delays: LabelDelays) -> pl.DataFrame:
    """The rows that are old enough, with the chance (`_chance`) that such a label had to have come by now.

    For a first model all that there is must do where that would be too little.
    """
    aged = frame.with_columns(_age=(tick_index(loop.project, at) - row_tick(loop)).clip(0))
    observed = aged["_provenance"] == OBSERVED
    old = aged.filter((pl.col("_age") >= delays.settled_after) | ~observed)
    if loop.version_of("champion") is None and old.height < loop.project.training.min_rows:
        return aged.with_columns(_chance=pl.lit(1.0)).drop("_age")
    chances = delays.chances(old["label"], old["_age"].to_numpy().astype(np.int64))
    chance = pl.when(old["_provenance"] == OBSERVED).then(pl.Series(chances)).otherwise(1.0)
    return old.with_columns(_chance=chance)


def _weighed(loop: Loop, frame: pl.DataFrame) -> pl.DataFrame:
    drawn = frame.select(
        loop.key, sample_of(loop).alias("_sample"), propensity=pl.col("propensity") * pl.col("_chance")
    )
    fair = fair_share(drawn, loop.key, "_sample")
    if not fair.all():
        frame = frame.with_columns(_measured=pl.Series(fair))
    ruled, observed = (pl.col("_provenance") == origin for origin in (PROGRAMMATIC, OBSERVED))
    left_alone = (1 / pl.col("propensity")).clip(upper_bound=MOST_WEIGHT).fill_null(1.0)
    weight = pl.when(ruled).then(loop.project.labeling.label_weight).when(observed).then(left_alone).otherwise(1.0)
    weights = frame.select(weight / pl.col("_chance")).to_series()
    if (weights != 1).any():
        frame = frame.with_columns(_weight=weights)
    return frame.drop("propensity", "_chance", "_age", strict=False)


def key_of(loop: Loop, at: datetime) -> str:
    """The key under which the version of a tick is registered."""
    return f"{loop.paths.model_name}/{at.astimezone(UTC).isoformat()}"


def make_version(loop: Loop, at: datetime, without: Collection[str] = ()) -> ModelRecord:
    """Train and register what was asked for at `at`; once, however often this is called for the same tick."""
    key = key_of(loop, at)
    version = loop.models.find(key)
    if version is None:
        with tempfile.TemporaryDirectory() as scratch:
            version = _train_and_register(loop, at, key, without, Path(scratch) / "model")
    return read_record(loop, version)


def read_record(loop: Loop, version: int) -> ModelRecord:
    """The record that was packed with a version."""
    raw = json.loads((loop.models.folder(version) / RECORD).read_text())
    raw.pop(SOURCES, None)
    times = {name: datetime.fromisoformat(raw[name]) for name in ("as_of", "trained_until") if raw[name]}
    run_id = loop.models.describe(version).run_id
    return ModelRecord(**raw | times | {"version": version, "cost": FitCost(**raw["cost"]), "run_id": run_id})


def count_sources(frame: pl.DataFrame) -> dict[str, int]:
    """How many labels of a training frame came from each provenance."""
    return dict(frame.group_by("_provenance").len().sort("_provenance").iter_rows())


def read_sources(loop: Loop, version: int) -> dict[str, int] | None:
    """How many labels of each provenance a version learned from; None where nobody wrote it down."""
    file = loop.models.folder(version) / RECORD
    return json.loads(file.read_text()).get(SOURCES) if file.exists() else None


def _train_and_register(loop: Loop, at: datetime, key: str, without: Collection[str], folder: Path) -> int:
    frame = training_frame(loop, at, without=_keys_of(loop, without))
    trained = train_model(frame, loop.project, loop.hooks)
    trained.save(folder)
    record = {
        "key": key,
        "as_of": at.isoformat(),
        "family": trained.family,
        "rows": trained.rows,
        "reference": trained.reference,
        "cost": dataclasses.asdict(trained.cost),
        "trained_until": frame["event_at"].max().isoformat(),  # type: ignore[union-attr]
        "loss": trained.loss,
        SOURCES: count_sources(frame),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1))
    made = Registration(
        key,
        at,
        trained.family,
        trained.rows,
        trained.reference,
        trained.cost,
        trained.params,
        trained.candidates,
        loop.paths.lake_uri,
        loop.lake.versions(),
    )
    return loop.models.register(folder, made)


def _keys_of(loop: Loop, batches: Collection[str]) -> pl.Series | None:
    if not batches:
        return None
    rows = loop.lake.read("inputs", pl.col("_batch").is_in(list(batches)), [loop.key])
    return None if rows is None else rows[loop.key].unique()
