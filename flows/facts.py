"""Every fact that a loop keeps in its store, with the record it is kept as."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from homeostat.flows.learning.port import Attempt, Measured, Moment, Progress, Training
from homeostat.monitoring.alarm.state import Watch
from homeostat.monitoring.odd_labels import LabelMemory
from homeostat.monitoring.retraining.probation import Probation
from homeostat.pipelines.labels.labelers import Labeler
from homeostat.records import FitCost, PostKind
from homeostat.store.facts import Fact, FactSeries


@dataclass(frozen=True, slots=True)
class Standing:
    """A version in a role, and since when."""

    version: int
    since: Moment


@dataclass(frozen=True, slots=True)
class Hold:
    """A person's rollback: who put `version` back in the place of `replaced`, and until when that holds.

    Without `until` it holds until a person lifts it.
    """

    version: int
    replaced: int
    since: Moment
    by: str
    why: str = ""
    until: Moment | None = None


@dataclass(frozen=True, slots=True)
class FirstModel:
    """The version that a replay keeps scoring with, to compare with."""

    version: int


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a binary target, the negative one first."""

    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetType:
    """Whether classes come as text."""

    text: bool


@dataclass(frozen=True, slots=True)
class Attempts:
    """Steps that wait for their outcome, oldest first."""

    list: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Measured steps, oldest first."""

    list: tuple[Measured, ...] = ()


@dataclass(frozen=True, slots=True)
class BegunBatch:
    """A batch between ticks that was begun."""

    at: Moment


@dataclass(frozen=True, slots=True)
class TakingBatch:
    """The batch that took posts last."""

    batch: str


@dataclass(frozen=True, slots=True)
class LastDraw:
    """The instant up to which batches were drawn from to measure."""

    drawn: str = ""


@dataclass(frozen=True, slots=True)
class Labelers:
    """How often each labeling function was right, a row for each."""

    measured: tuple[Labeler, ...] = ()


@dataclass(frozen=True, slots=True)
class ToldOfSupply:
    """Of which feeds it was told that they are not as they used to be, each with the instant since when."""

    since: dict[str, str] = field(default_factory=dict)


CHAMPION = Fact("champion", Standing)
CHALLENGER = Fact("challenger", Standing)
HOLD = Fact("rollback", Hold)
BASELINE = Fact("baseline", FirstModel)
CLASSES = Fact("classes", Classes)
TARGET = Fact("target", TargetType)
TRAINING = Fact("training", Training)
ENSEMBLE = Fact("ensemble", Progress)
ATTEMPTS = Fact("attempts", Attempts)
OUTCOMES = Fact("outcomes", Outcomes)
ALARM = FactSeries("alarm", Watch)
LABELS = Fact("labels", LabelMemory)
PROBATION = FactSeries("probation", Probation)
BEGUN = Fact("ingest/begun", BegunBatch)
POSTS = {kind: Fact(f"posts/{kind.value}", TakingBatch) for kind in PostKind}
DRAWN = Fact("labeling", LastDraw)
CURSOR = Fact("labeling/cursor", dict[str, Any])
COST = Fact("labeling/cost", FitCost)
LABELERS = Fact("labelers", Labelers)
SUPPLY = Fact("supply", ToldOfSupply)
