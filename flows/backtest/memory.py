"""What a step of learning goes by in a backtest: a history in memory, and versions that nobody registers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from homeostat.decisions import PromotionKind
from homeostat.durations import instant
from homeostat.flows.backtest.policies import Bench
from homeostat.flows.backtest.scored import Scored
from homeostat.flows.learning.evidence import Deliberation
from homeostat.flows.learning.outcomes import with_attempt
from homeostat.flows.learning.port import Accounts, Attempt, Measured, Progress, Rows, Span, Training, Word
from homeostat.flows.learning.probation import get_probation, renewed
from homeostat.flows.learning.step import Step
from homeostat.flows.loop import tick_index
from homeostat.hooks import Hooks
from homeostat.monitoring.retraining.probation import Probation
from homeostat.pipelines.history.knowledge import Known
from homeostat.pipelines.history.refits import Refit
from homeostat.pipelines.inference import ENSEMBLE, Predictor
from homeostat.pipelines.inference.manifest import Manifest
from homeostat.pipelines.labels.sampling import fair_share
from homeostat.pipelines.models.ensemble import Ensemble, make_ensemble
from homeostat.pipelines.models.members import FIRST, Member, MemberSpec, part_of
from homeostat.pipelines.models.training import train_model
from homeostat.project import Project
from homeostat.records import FitCost, ModelRecord

FIRST_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A version in memory: its record, the predictor, and the members that the next one is made from."""

    record: ModelRecord
    predictor: Predictor
    members: Mapping[str, Member]


@dataclass(eq=False)
class Memory:
    """A `LearningPort` over what is known at a tick of a history, and over what one contender remembers.

    `project` learns by this policy, whatever its file says. Nothing waits for a person: what the gates let
    through is champion at once.
    """

    bench: Bench
    project: Project
    known: Known
    scored: Scored
    versions: dict[int, Version]
    standing: int
    last: Training
    account: Accounts
    reached: Progress | None = None
    waiting: list[Attempt] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    probations: dict[int, Probation] = field(default_factory=dict)
    row_rounds: int = 0

    @property
    def hooks(self) -> Hooks:
        """Its hooks."""
        return self.bench.learner.history.hooks

    def champion(self) -> ModelRecord:
        """The champion's record."""
        return self.versions[self.standing].record

    def record(self, version: int) -> ModelRecord | None:
        """The record of a version."""
        return self.versions[version].record

    def standing_version(self, before: datetime) -> int | None:
        """The newest version that was made before a time, champion or not."""
        return max((v for v, made in self.versions.items() if made.record.as_of < before), default=None)

    def manifest(self, version: int) -> Mapping[str, Any]:
        """What a version is made of."""
        return self.versions[version].predictor.manifest

    def model(self, version: int) -> Predictor:
        """A version, as it scores."""
        return self.versions[version].predictor

    def spent(self) -> int:
        """Rows x rounds of every fit after the first model."""
        return self.row_rounds

    def progress(self) -> Progress | None:
        """How far learning has come; None before the first step."""
        return self.reached

    def training(self) -> Training | None:
        """The last training."""
        return self.last

    def accounts(self, at: datetime) -> Accounts:
        """The accounts as of the tick before."""
        return self.account

    def attempts(self) -> list[Attempt]:
        """Steps that wait for their outcome, oldest first."""
        return self.waiting

    def outcomes(self) -> list[Measured]:
        """Outcomes so far, oldest first."""
        return self.measured

    def probation(self, lineage: int) -> Probation | None:
        """What is remembered of a lineage's probation."""
        return self.probations.get(lineage)

    def word(self, at: datetime) -> Word:
        """None: nobody takes part in a backtest."""
        return Word()

    def declared_bad(self, version: int) -> str | None:
        """None, as of `word`."""
        return None

    def count_labels(self, at: datetime) -> int:
        """How many rows have a label."""
        return len(self.known.labelled)

    def spans(self, at: datetime, after: datetime | None = None) -> list[Span]:
        """The scored batches with rows that ended by `at`, after `after` where it is given, oldest first."""
        return self.scored.spans(at, after)

    def broken_batches(self) -> set[str]:
        """None: a backtest does not look for columns that have gone."""
        return set()

    def broken(self, at: datetime) -> str | None:
        """None, as of `broken_batches`."""
        return None

    def fallen(self, at: datetime) -> str | None:
        """None: a backtest measures when it is over."""
        return None

    def estimated_worse(self, at: datetime) -> str | None:
        """None: a backtest makes no estimates."""
        return None

    def labelled_rows(self, batches: Sequence[str], at: datetime, *, weighed: bool = False) -> pl.DataFrame | None:
        """The inputs of batches whose label is known, with `label` and `_batch`; sorted by event and key."""
        history = self.bench.learner.history
        ticks = [tick_index(self.project, datetime.fromisoformat(batch)) for batch in batches]
        rows = self.known.labelled[np.isin(history.tick[self.known.labelled], ticks)]
        names, frame = dict(zip(ticks, batches, strict=True)), self.known.frame(rows)
        named = frame.with_columns(
            _batch=pl.Series([names[tick] for tick in history.tick[rows].tolist()], dtype=pl.String),
            propensity=pl.Series(self.known.chances(frame, rows)),
        )
        if weighed:
            return named
        return named.filter(pl.Series(fair_share(named, self.project.data.key, "_batch"))).drop("propensity")

    def training_rows(self, at: datetime, until: datetime, since: datetime | None, without: pl.Series) -> pl.DataFrame:
        """Labelled rows of batches that ended by `until`, events from `since` on, but not the keys `without`."""
        history = self.bench.learner.history
        rows = self.known.rows
        rows = rows[history.tick[rows] <= tick_index(self.project, until)]
        if since is not None:
            rows = rows[(history.frame["event_at"].gather(rows) >= since).to_numpy()]
        frame = self.known.lesson(rows)
        return frame.filter(~pl.col(self.project.data.key).is_in(without.implode()))

    def draft(self, base: int, specs: tuple[MemberSpec, ...], weights: Mapping[str, float], rows: Rows) -> Ensemble:
        """The version `base` with the members of `specs` refitted and all weighed; it is not kept yet."""
        origin = self.versions[base]
        return make_ensemble(origin.predictor.manifest, origin.members, specs, weights, rows, self.project, self.hooks)

    def keep(self, at: datetime, made: Ensemble, until: datetime) -> ModelRecord:
        """Keep a draft as a version."""
        members = {member.name: member for member in made.members}
        return self._keep(at, ENSEMBLE, made.rows, made.cost, until, made.predictor, members)

    def train(self, at: datetime, without: Sequence[str]) -> ModelRecord:
        """Train every candidate on what is labelled, but not on these batches, and keep the best as a version."""
        history = self.bench.learner.history
        ticks = [tick_index(self.project, datetime.fromisoformat(batch)) for batch in without]
        rows = self.known.rows[~np.isin(history.tick[self.known.rows], ticks)]
        trained = train_model(self.known.lesson(rows), self.project, self.hooks)
        members = _alone(trained.manifest, trained.fit.model)
        return self._keep(at, trained.family, trained.rows, trained.cost, None, trained.predictor, members)

    def _keep(
        self,
        at: datetime,
        family: str,
        rows: int,
        cost: FitCost,
        until: datetime | None,
        predictor: Predictor,
        members: Mapping[str, Member],
    ) -> ModelRecord:
        version = max(self.versions) + 1
        record = ModelRecord(version, f"backtest/{instant(at)}", at, family, rows, {}, cost, trained_until=until)
        self.versions[version] = Version(record, predictor, members)
        self.row_rounds += cost.row_rounds
        self.bench.charge(cost)
        return record

    def see(self, known: Known) -> None:
        """Go on to a tick, whose batch the champion has scored."""
        self.known = known
        self.scored.see(known, self.standing)

    def remember(self, deliberation: Deliberation) -> None:
        """Keep what was found out when the tick was decided."""
        self.waiting, self.measured = list(deliberation.ledger.waiting), list(deliberation.ledger.known)
        self.account = deliberation.accounts
        if deliberation.probation is not None:
            self.probations[deliberation.probation.lineage] = deliberation.probation

    def settle(self, at: datetime, step: Step) -> None:
        """Carry the verdict on a step out."""
        self.versions[step.record.version] = dataclasses.replace(self.versions[step.record.version], record=step.record)
        if step.progress is not None and step.attempt is not None:
            self.reached, self.waiting = step.progress, with_attempt(self.waiting, step.attempt)
        if step.verdict.kind != PromotionKind.REFUSE:
            self._promote(at, step.record.version)
        self.note_training(at)
        self._forget()

    def roll_back(self, at: datetime) -> None:
        """Put the root version of the champion's lineage back."""
        probation = get_probation(self, self.champion())
        self.probations[probation.lineage] = renewed(probation, at)
        self._promote(at, probation.lineage)
        self.note_training(at)

    def note_training(self, at: datetime) -> None:
        """Note when was last trained or tried, and on how many labels."""
        self.last = Training(at=at, labels=self.account.labels)

    def _promote(self, at: datetime, version: int) -> None:
        made = self.versions[version]
        self.versions[version] = dataclasses.replace(made, record=dataclasses.replace(made.record, promoted_at=at))
        self.standing = version

    def _forget(self) -> None:
        """Let go of the models of versions that no batch, outcome or comparison will ask for."""
        champion = self.champion()
        needed = {self.standing, champion.root_version, max(self.versions)}
        needed |= {version for attempt in self.waiting for version in (attempt.before, attempt.after)}
        oldest = min(self.reached.until if self.reached else champion.as_of,
                     datetime.fromisoformat(get_probation(self, champion).until))  # fmt: skip
        kept = self.standing_version(oldest + self.project.loop.tick) or 0
        needed |= {span.model_version for span in self.spans(self.bench.learner.history.at(self.known.tick), oldest)}
        self.versions = {v: made for v, made in self.versions.items() if v >= kept or v in needed}


def begin(known: Known, bench: Bench) -> Memory:
    """What a contender remembers after the first model was trained, which it serves; `known` is of a later tick."""
    history, first = bench.learner.history, bench.serving
    assert isinstance(first, Refit)
    at = history.at(bench.first_tick)
    family, rows = first.manifest["family"], len(first.rows)
    record = ModelRecord(FIRST_VERSION, "backtest/first", at, family, rows, {}, first.cost, promoted_at=at)
    predictor = Predictor(first.manifest, first.model, history.hooks.build_features)
    version = Version(record, predictor, _alone(first.manifest, first.model))
    labels = len(history.known(bench.first_tick).rows)
    settings = bench.project.retraining.model_copy(update={"policy": "forecast"})
    project = bench.project.model_copy(update={"retraining": settings})
    return Memory(
        bench,
        project,
        known,
        Scored(bench, known),
        {FIRST_VERSION: version},
        standing=FIRST_VERSION,
        last=Training(at=at, labels=labels),
        account=Accounts(labels=labels),
    )


def _alone(manifest: Manifest, model: Any) -> dict[str, Member]:
    """The members of what is no ensemble: it is its own first member."""
    return {FIRST: Member(part_of(FIRST, manifest), model, FitCost())}
