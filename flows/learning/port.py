"""What a step of learning needs: the live loop gives it from store, lake and MLflow, a backtest from memory.

The step itself is written once, over this port: `settle_accounts`, `follow_probation`, `deliberate` and `take_step`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol

import polars as pl
from pydantic import AliasChoices, BaseModel, Field, PlainSerializer

from homeostat.durations import instant
from homeostat.hooks import Hooks
from homeostat.monitoring.retraining.probation import Probation
from homeostat.pipelines.models.ensemble import Ensemble
from homeostat.pipelines.models.members import MemberSpec, Window
from homeostat.project import Project
from homeostat.records import ModelRecord

Moment = Annotated[datetime, PlainSerializer(instant, return_type=str)]
Rows = Callable[[Window | None], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Span:
    """What was scored in a tick: when that ended, rows, labels, who served, and whether labels are a fair sample.

    `batch` names the newest of its `batches`: rows that came between two ticks were scored as batches of their own.
    """

    batch: str
    batches: tuple[str, ...]
    end_at: datetime
    rows: int
    labels: int
    coverage: float
    model_version: int
    mature: bool


class Progress(BaseModel, frozen=True):
    """How far learning in steps has come: the newest version, the last batch and the labels that it knows.

    `champion` is the version that was champion after that step. `anew` says that everything was learned again because
    of an alarm, and that nothing of it has been promoted yet. Of the rows that came after `since` (without it, `until`)
    the `share` that was kept apart is known to no version of the lineage.
    """

    version: int
    until: Moment
    labels: int
    champion: int
    anew: bool = False
    since: Moment | None = None
    share: float = 1.0


class Training(BaseModel, frozen=True):
    """When a model was last trained or tried, and how many labels there were."""

    at: Moment
    labels: int


class Accounts(BaseModel, frozen=True):
    """Labels known so far, and the rows x rounds that retraining on everything costs: of all ticks, and of this one."""

    labels: int = 0
    full_cost: int = 0
    full_cost_per_tick: int = 0


class Attempt(BaseModel, frozen=True):
    """A step that waits for its outcome: what it was forecast to save a row, and the versions before and after it.

    `promised` is what it was promoted for, a row; None where it was not.
    """

    at: Moment
    kind: str
    forecast: float
    before: int
    after: int
    promised: float | None = None


class Measured(Attempt, frozen=True):
    """What a step really saved a row, on the `rows` labelled rows of the first batch after it, with its standard error.

    `message` is that in words; earlier releases kept it as `told`."""

    gained: float
    rows: int
    batch: str
    error: float | None = None
    message: str = Field(validation_alias=AliasChoices("message", "told"))


@dataclass(frozen=True, slots=True)
class Word:
    """What people have said that a step must heed; each None where nobody has.

    `held` says why no version may take the champion's place without a person. `waiting` is the version that waits for
    approval, `declined` the last one that was not approved, while `cooling` says why nobody is asked again yet.
    """

    held: str | None = None
    waiting: int | None = None
    declined: int | None = None
    cooling: str | None = None


class Scoring(Protocol):
    """A version that scores: `homeostat.pipelines.inference.Predictor`, or a model made elsewhere."""

    positive: str | None

    def score(self, rows: Any, /) -> pl.DataFrame:
        """One row of prediction, score, classes, scores for each row."""
        ...


class LearningPort(Protocol):
    """Where a step reads what it goes by, and makes a version. Times are the ends of ticks, versions are numbers."""

    @property
    def project(self) -> Project:
        """The project."""
        ...

    @property
    def hooks(self) -> Hooks:
        """Its hooks."""
        ...

    def champion(self) -> ModelRecord | None:
        """The champion's record; None before the first."""
        ...

    def record(self, version: int) -> ModelRecord | None:
        """The record of a version."""
        ...

    def standing_version(self, before: datetime) -> int | None:
        """The newest version that was made before a time, champion or not."""
        ...

    def manifest(self, version: int) -> Mapping[str, Any]:
        """What a version is made of. Raises RegistryError where it is gone, or was made elsewhere."""
        ...

    def model(self, version: int) -> Any:
        """A version, as a `Scoring`. Raises RegistryError where it is gone or damaged."""
        ...

    def spent(self) -> int:
        """Rows x rounds of every fit after the first model."""
        ...

    def progress(self) -> Progress | None:
        """How far learning has come; None before the first step."""
        ...

    def training(self) -> Training | None:
        """The last training; None before the first."""
        ...

    def accounts(self, at: datetime) -> Accounts:
        """The accounts as of the tick before `at`."""
        ...

    def attempts(self) -> list[Attempt]:
        """Steps that wait for their outcome, oldest first."""
        ...

    def outcomes(self) -> list[Measured]:
        """Outcomes so far, oldest first."""
        ...

    def probation(self, lineage: int) -> Probation | None:
        """What is remembered of a lineage's probation."""
        ...

    def word(self, at: datetime) -> Word:
        """What people have said that a step must heed."""
        ...

    def declared_bad(self, version: int) -> str | None:
        """Why a version does not come back by itself, where somebody rolled back from it."""
        ...

    def count_labels(self, at: datetime) -> int:
        """How many rows have a label at `at`."""
        ...

    def spans(self, at: datetime, after: datetime | None = None) -> list[Span]:
        """What was scored in each tick that ended by `at`, after `after` where it is given, oldest first."""
        ...

    def broken_batches(self) -> set[str]:
        """The batches in which a column that was there has gone."""
        ...

    def broken(self, at: datetime) -> str | None:
        """What is wrong with the newest batch, where a column that was there has gone."""
        ...

    def fallen(self, at: datetime) -> str | None:
        """By how much the champion's metric is worse than when it was made; None where it is not, or not known."""
        ...

    def estimated_worse(self, at: datetime) -> str | None:
        """Why labels of the newest batch are wanted, where it is estimated to be worse."""
        ...

    def labelled_rows(self, batches: Sequence[str], at: datetime, *, weighed: bool = False) -> pl.DataFrame | None:
        """The inputs of batches whose label is known at `at`, with `label` and `_batch`; sorted by event and key.

        `weighed`: all of them, with the `propensity` of each label where it matters; else of rows whose label was
        likelier to be known no more than of others.
        """
        ...

    def training_rows(self, at: datetime, until: datetime, since: datetime | None, without: pl.Series) -> pl.DataFrame:
        """Labelled rows of sound batches that ended by `until`, events from `since` on, but not the keys `without`.

        Only rows that are old enough for their labels to be a fair sample (see `homeostat.pipelines.labels.delays`).
        """
        ...

    def draft(self, base: int, specs: tuple[MemberSpec, ...], weights: Mapping[str, float], rows: Rows) -> Ensemble:
        """The version `base` with the members of `specs` refitted and all weighed; it is not kept yet."""
        ...

    def keep(self, at: datetime, made: Ensemble, until: datetime) -> ModelRecord:
        """Keep a draft as the version of this tick, whose members know nothing after `until`; once a tick."""
        ...

    def train(self, at: datetime, without: Sequence[str]) -> ModelRecord:
        """Train every candidate on what is labelled, but not on these batches, and keep the best as a version."""
        ...
