"""The sections that say how the loop works: when it runs, what it tries, when it promotes, whom it asks and tells."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from homeostat.records import Severity
from homeostat.sections.values import Column, Duration, Instant, Number, Section, SomeTime, VariableName, Whole, Zone


class Loop(Section):
    """`[loop]`: how often it ticks, and what is known by `start` trains the first champion."""

    tick: Duration
    start: Instant


class Training(Section):
    """`[training]`: what is tried, and how hard."""

    candidates: Annotated[list[str], Field(min_length=1)] = [
        "xgboost",
        "linear",
    ]
    rounds: Annotated[Whole, Field(ge=1)] = 150
    learning_rate: Annotated[Number, Field(gt=0, le=1)] = 0.15
    max_depth: Annotated[Whole, Field(ge=1, le=16)] = 6
    early_stopping: Annotated[Whole, Field(ge=1)] = 15
    threads: Annotated[Whole, Field(ge=1)] = 2
    min_rows: Annotated[Whole, Field(ge=10)] = 50
    windows: Annotated[list[Annotated[Whole, Field(ge=1)]], Field(min_length=2, max_length=2)] = [6, 2]
    seed: Whole = 0
    base_model: str | None = None


class Gates(Section):
    """`[gates]`: what a challenger must show before it is promoted."""

    min_gain: Number = 0.0
    margin: Annotated[Number, Field(ge=0)] = 2.0
    min_rows: Annotated[Whole, Field(ge=1)] = 100
    fresh_rows: Annotated[Whole, Field(ge=1)] = 1000
    fresh_share: Annotated[Number, Field(gt=0, le=0.5)] = 0.3
    segments: Literal["warn", "refuse"] = "warn"
    approval: Literal["auto", "human"] = "auto"
    approval_within: SomeTime = timedelta(days=7)
    rejection_cooldown: Duration | None = None
    rollback_holds: SomeTime | None = None
    change_price: Annotated[Number, Field(ge=0)] | None = None


class Monitoring(Section):
    """`[monitoring]`: which metric, how much worse is worse, and how drift is measured."""

    retired: ClassVar[Mapping[str, str]] = {"windows": "an alarm needs no windows in a row"}

    metric: str | None = None
    tolerance: Annotated[Number, Field(ge=0, lt=1)] = 0.01
    alpha: Annotated[Number, Field(gt=0, lt=1)] = 0.05
    min_coverage: Annotated[Number, Field(ge=0, le=1)] = 0.5
    sample: Annotated[Whole, Field(ge=200)] = 2000
    min_rows: Annotated[Whole, Field(ge=1)] = 200
    numeric_drift: str = "wasserstein"
    categorical_drift: str = "jensenshannon"
    drift_threshold: Annotated[Number, Field(gt=0)] = 0.1
    drift_share: Annotated[Number, Field(gt=0, le=1)] = 0.5


class Retraining(Section):
    """`[retraining]`: which policy decides, and its settings."""

    policy: str = "forecast"
    free_seconds: Annotated[Number, Field(ge=0)] = 30
    budget: Annotated[Number, Field(gt=0)] = 0.22
    price: Annotated[Number, Field(ge=0)] = 1.0
    error_price: Annotated[Number, Field(ge=0)] = 1.0
    every: Annotated[Whole, Field(ge=1)] = 4
    growth: Annotated[Number, Field(gt=0)] = 0.2
    cooldown: Duration | None = None


class Labeling(Section):
    """`[labeling]`: whom to ask for labels, how many answers a `period`, and which rows to ask about."""

    backend: str = "console"
    budget: Annotated[Whole, Field(ge=0)] = 0
    period: Duration = timedelta(days=7)
    annotators: Annotated[Whole, Field(ge=1)] = 1
    consensus: Literal["likelihood", "crowdlab"] = "likelihood"
    measure: Annotated[Number, Field(ge=0, le=1)] = 0.5
    relabel: Annotated[Number, Field(ge=0, le=1)] = 0.1
    pool: Annotated[Whole, Field(ge=1)] = 6
    deadline: Duration = timedelta(days=7)
    show_suggestion: bool = False
    image: Column | None = None
    text: Column | None = None
    show: list[Column] = []
    label_weight: Annotated[Number, Field(gt=0, le=1)] = 0.3
    explore: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    max_caused: Annotated[Number, Field(ge=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.measure + self.relabel > 1:
            raise ValueError(f"relabel: measure and relabel are {self.measure + self.relabel:g} together; at most 1")
        return self


class Notify(Section):
    """`[notify]`: per severity the names of environment variables that hold Apprise addresses."""

    routes: dict[Severity, list[VariableName]] = {}


class Schedule(Section):
    """`[schedule]`: the cron of the tick, in `timezone` of the data unless it says otherwise.

    `arrivals` says whether inputs that come between ticks are scored at once. `stages` gives stages crons of their own.
    `catch_up` says what is done about slots that are due and past.
    """

    cron: str | None = None
    timezone: Zone | None = None
    arrivals: Literal["score", "wait"] = "score"
    catch_up: Literal["all", "scores", "skip"] = "all"
    stages: dict[Literal["ingest", "predict", "feedback", "monitor", "retrain"], str] = {}
