"""What a step of learning goes by in the loop: the store, the lake and MLflow."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from homeostat.durations import instant
from homeostat.flows.facts import ATTEMPTS, ENSEMBLE, OUTCOMES, PROBATION, TRAINING
from homeostat.flows.held_labels import held_batches
from homeostat.flows.labels import count_labels, find_delays, measured_labels, row_tick, with_chances
from homeostat.flows.learning.holds import list_champions, word_of
from homeostat.flows.learning.port import Accounts, Attempt, Measured, Progress, Rows, Span, Training, Word
from homeostat.flows.learning.versions import (
    RECORD,
    SOURCES,
    broken_batches,
    count_sources,
    key_of,
    make_version,
    read_record,
    training_frame,
)
from homeostat.flows.loop import Loop, end_of_tick, group_by_tick, tick_index
from homeostat.flows.roles import AS_SCORED
from homeostat.hooks import Hooks
from homeostat.monitoring.estimation.warning import warn_of_estimate
from homeostat.monitoring.novelty import describe as describe_fact
from homeostat.monitoring.novelty import gone_columns
from homeostat.monitoring.retraining.evidence import describe_fall
from homeostat.monitoring.retraining.probation import Probation
from homeostat.pipelines.inference import ENSEMBLE as ENSEMBLE_FAMILY
from homeostat.pipelines.labels.delays import LabelDelays
from homeostat.pipelines.labels.sampling import fair_share
from homeostat.pipelines.models.ensemble import Ensemble, refresh_ensemble
from homeostat.pipelines.models.members import MemberSpec
from homeostat.project import Project
from homeostat.records import CheckResult, ModelRecord, Window, WindowStatus
from homeostat.registry.packing import read_manifest
from homeostat.registry.registration import Registration


@dataclass(frozen=True)
class LoopPort:
    """A `LearningPort` over a loop's memory, for one stage of one tick: drift checks are read once."""

    loop: Loop

    @property
    def project(self) -> Project:
        """The project."""
        return self.loop.project

    @property
    def hooks(self) -> Hooks:
        """Its hooks."""
        return self.loop.hooks

    def champion(self) -> ModelRecord | None:
        """The champion's record; None before the first."""
        return self.loop.champion()

    def record(self, version: int) -> ModelRecord | None:
        """The record of a version."""
        return self.loop.store.get_model(version)

    def standing_version(self, before: datetime) -> int | None:
        """The newest version that was made before a time, champion or not."""
        return self.loop.standing_version(before)

    def manifest(self, version: int) -> Mapping[str, Any]:
        """What a version is made of. Raises RegistryError where it is gone, or was made elsewhere."""
        return read_manifest(self.loop.models.folder(version))

    def model(self, version: int) -> Any:
        """A version, its golden rows verified. Raises RegistryError where it is gone or damaged."""
        return self.loop.models.load(version)

    def spent(self) -> int:
        """Rows x rounds of every fit after the first model."""
        return sum(record.cost.row_rounds for record in self.loop.store.list_models()[1:])

    def progress(self) -> Progress | None:
        """How far learning has come; None before the first step."""
        return self.loop.store.get_fact(ENSEMBLE)

    def training(self) -> Training | None:
        """The last training; None before the first."""
        return self.loop.store.get_fact(TRAINING)

    def accounts(self, at: datetime) -> Accounts:
        """The accounts as of the tick before `at`."""
        return Accounts.model_validate(self.loop.store.last_outcome("decide", at) or {})

    def attempts(self) -> list[Attempt]:
        """Steps that wait for their outcome, oldest first."""
        fact = self.loop.store.get_fact(ATTEMPTS)
        return [] if fact is None else list(fact.list)

    def outcomes(self) -> list[Measured]:
        """Outcomes so far, oldest first."""
        fact = self.loop.store.get_fact(OUTCOMES)
        return [] if fact is None else list(fact.list)

    def probation(self, lineage: int) -> Probation | None:
        """What is remembered of a lineage's probation."""
        return self.loop.store.get_fact(PROBATION.of(lineage))

    def word(self, at: datetime) -> Word:
        """What people have said that a step must heed."""
        return word_of(self.loop, at)

    def declared_bad(self, version: int) -> str | None:
        """Why a version does not come back by itself, where somebody rolled back from it."""
        _, bad = list_champions(self.loop)
        return f"somebody rolled back from version {version} before" if version in bad else None

    def count_labels(self, at: datetime) -> int:
        """How many rows have, at `at`, a label to learn from."""
        return count_labels(self.loop, at)

    def spans(self, at: datetime, after: datetime | None = None) -> list[Span]:
        """What was scored in each tick that ended by `at`, after `after` where it is given, oldest first."""
        windows = [w for w in self.loop.store.list_windows(after=after) if w.rows]
        ended = ((end_of_tick(self.project, came[0].end_at), came) for came in group_by_tick(self.project, windows))
        return [self._span(came, end, at) for end, came in ended if end <= at]

    def _span(self, windows: list[Window], end: datetime, at: datetime) -> Span:
        rows, labels = sum(w.rows for w in windows), sum(w.labels for w in windows)
        coverage = sum(w.coverage * w.rows for w in windows) / rows
        served = max(windows, key=lambda w: (w.rows, w.end_at)).model_version
        age = tick_index(self.project, at) - tick_index(self.project, end)
        mature = self.delays(at).are_fair_sample(age=age, labels=labels, coverage=coverage)
        return Span(windows[-1].batch, tuple(w.batch for w in windows), end, rows, labels, coverage, served, mature)

    def delays(self, at: datetime) -> LabelDelays:
        """How long labels have taken to come, by what is known at `at`; estimated once."""
        if at not in self._delays:
            self._delays[at] = find_delays(self.loop, at)
        return self._delays[at]

    @cached_property
    def _delays(self) -> dict[datetime, LabelDelays]:
        return {}

    def broken_batches(self) -> set[str]:
        """The batches of ticks in which a column that was there has gone, or whose labels are odd and held back."""
        return self._broken

    @cached_property
    def _broken(self) -> set[str]:
        return broken_batches(self.loop) | held_batches(self.loop)

    @cached_property
    def _checks(self) -> list[CheckResult]:
        return self.loop.store.list_checks()

    def broken(self, at: datetime) -> str | None:
        """What is wrong with the newest batch, where a column that was there has gone."""
        checks = [check for check in self._checks if check.tick_at <= at]
        gone = gone_columns(checks[-1].facts) if checks else ()
        return f"of batch {checks[-1].batch}, {describe_fact(gone[0])}" if gone else None

    def fallen(self, at: datetime) -> str | None:
        """By how much the champion's metric is worse than when it was made, by its newest complete batch."""
        champion, metric = self.champion(), self.project.metric
        was = None if champion is None else champion.reference.get(metric)
        windows = self.loop.store.list_windows(after=None if champion is None else champion.promoted_at)
        known = [w for w in windows if w.end_at <= at and w.status is WindowStatus.FINAL]
        now = known[-1].realized if known and known[-1].labels >= self.project.gates.min_rows else None
        if champion is None or was is None or now is None:
            return None
        return describe_fall(metric, was, now, champion.version)

    def estimated_worse(self, at: datetime) -> str | None:
        """Why labels of the newest batch are wanted, where it is estimated to be worse."""
        champion = self.champion()
        root = None if champion is None else self.record(champion.root_version)
        windows = [w for w in self.loop.store.list_windows() if w.end_at <= at and w.rows]
        warning = warn_of_estimate(champion, root, windows, self.project, at)
        return None if warning is None else warning.body

    def labelled_rows(self, batches: Sequence[str], at: datetime, *, weighed: bool = False) -> pl.DataFrame | None:
        """The inputs of batches whose label counts and is known at `at`; see `labelled_rows` of this module."""
        return labelled_rows(self.loop, batches, at, self.delays(at), weighed=weighed)

    def training_rows(self, at: datetime, until: datetime, since: datetime | None, without: pl.Series) -> pl.DataFrame:
        """Labelled rows of sound batches that ended by `until`, events from `since` on, but not the keys `without`."""
        delays = self.delays(at)
        return training_frame(self.loop, at, until=until, since=since, without=without, delays=delays)

    def draft(self, base: int, specs: tuple[MemberSpec, ...], weights: Mapping[str, float], rows: Rows) -> Ensemble:
        """The version `base` with the members of `specs` refitted and all weighed; it is not registered yet."""
        return refresh_ensemble(self.loop.models.folder(base), specs, weights, rows, self.project, self.hooks)

    def keep(self, at: datetime, made: Ensemble, until: datetime) -> ModelRecord:
        """Register a draft as the version of this tick; the one that was registered before a kill stays."""
        version = self.loop.models.find(key_of(self.loop, at))
        return read_record(self.loop, _register(self.loop, at, made, until) if version is None else version)

    def train(self, at: datetime, without: Sequence[str]) -> ModelRecord:
        """Train every candidate on what is labelled, but not on these batches, and register the best; once a tick."""
        return make_version(self.loop, at, without)


def _register(loop: Loop, at: datetime, made: Ensemble, until: datetime) -> int:
    """Register an ensemble with its record."""
    key = key_of(loop, at)
    record = {
        "key": key,
        "as_of": at.isoformat(),
        "family": ENSEMBLE_FAMILY,
        "rows": made.rows,
        "reference": {},
        "cost": dataclasses.asdict(made.cost),
        "trained_until": instant(until),
        SOURCES: {} if made.lesson is None else count_sources(made.lesson),
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        made.save(folder)
        (folder / RECORD).write_text(json.dumps(record, indent=1))
        registration = Registration(
            key,
            at,
            ENSEMBLE_FAMILY,
            made.rows,
            {},
            made.cost,
            {f"weight.{m['name']}": round(m.get("weight", 0.0), 6) for m in made.manifest.get("members", [])},
            lake_uri=loop.paths.lake_uri,
            lake_versions=loop.lake.versions(),
        )
        return loop.models.register(folder, registration)


def labelled_rows(
    loop: Loop, batches: Sequence[str], at: datetime, delays: LabelDelays | None = None, *, weighed: bool = False
) -> pl.DataFrame | None:
    """The inputs of `batches` whose label is known at `at`, with `label`; sorted by event and key.

    Only labels that count for what is measured. Of rows whose label was likelier to be known no more than of others
    (see `homeostat.flows.labels`); or all of them, `weighed` by the `propensity` that then comes with them.
    """
    chosen = pl.col("_batch").is_in(list(batches)) & AS_SCORED
    rows = loop.lake.latest("inputs", loop.key, at, where=chosen)
    if rows is None:
        return None
    labels = measured_labels(loop, rows[loop.key], at)
    if labels is None:
        return None
    known = rows.join(labels, on=loop.key, how="inner").sort("event_at", loop.key)
    came = known.select(row_tick(loop)).to_series()
    known = with_chances(known, came, delays or find_delays(loop, at), tick_index(loop.project, at))
    if weighed:
        return known
    return known.filter(pl.Series(fair_share(known, loop.key, "_batch"))).drop("propensity")
