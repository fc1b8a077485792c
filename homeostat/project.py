"""The project file: what `homeostat.toml` may say, its defaults, and errors that name file and key."""

from __future__ import annotations

import difflib
import tomllib
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from homeostat.durations import Duration, parse_duration
from homeostat.errors import ProjectError
from homeostat.mistakes import told
from homeostat.records import Severity

PROJECT_FILE = "homeostat.toml"
RESERVED = frozenset({
    "event_at", "available_at", "known_at", "label",
    "_batch", "_correction", "_posted", "_row", "_weight", "_measured", "_provenance",
})  # fmt: skip
RESERVED_KEYS = RESERVED | {
    "batch", "model_version", "role", "prediction", "score", "classes", "scores", "reasons", "scored_at",
    "ingested_at", "provenance", "who", "propensity", "caused", "explore",
}  # fmt: skip


class Task(StrEnum):
    """What is predicted."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


METRICS: dict[Task, tuple[str, ...]] = {
    Task.BINARY: ("auc", "log_loss", "accuracy", "brier", "f1"),
    Task.MULTICLASS: ("accuracy", "log_loss", "f1_macro", "auc_macro"),
    Task.REGRESSION: ("rmse", "mae", "r2"),
}


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except Exception:
        raise ValueError(f"{name!r} is not a time zone; expected an IANA name such as 'Europe/Berlin'") from None
    return name


def _plain_name(name: str) -> str:
    if not name or len(name) > 100 or not all(c.isalnum() or c in "-_" for c in name):
        raise ValueError(f"{name!r} is not a project name; use letters, digits, - and _, at most 100")
    return name


def _column_name(name: str) -> str:
    if not name.strip() or name[0] in "=!":
        raise ValueError(f"{name!r} is not a column name; it must not be empty or begin with = or !")
    return name


def _variable_name(name: str) -> str:
    if not name.isascii() or not name.isidentifier():
        raise ValueError(
            "not the name of an environment variable; put the address into one, as in CHAT_URL, and name it here"
        )
    return name


def _as_instant(value: Any) -> Any:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise ValueError(f"{value!r} is not a date or a time; write it as in '2020-01-31' or '2020-01-31T06:00Z'")
    if not 1900 <= moment.year <= 2200:
        raise ValueError(f"{value!r} lies outside of the years 1900 to 2200")
    return moment


def _some_time(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing, as in '7d'")
    return value


def _as_class(value: Any) -> Any:
    if not isinstance(value, (str, int)):
        raise ValueError(f"{value!r} is not a class; write text in quotes, a whole number, true or false")
    return value


Column = Annotated[str, AfterValidator(_column_name)]
Class = Annotated[str | int | bool, BeforeValidator(_as_class)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Identity(_Section):
    """`[project]`: the name, and what is predicted."""

    name: Annotated[str, AfterValidator(_plain_name)]
    task: Task


class Source(_Section):
    """Where rows come from: a path, a glob or a SQLAlchemy URL with a table or a query; no uri means the hook.

    `posted` says that they may also come by posts alone, where there is neither a uri nor a hook.
    """

    uri: str | None = None
    posted: bool = False
    table: str | None = None
    query: str | None = None
    known_at: Column | None = None

    @model_validator(mode="after")
    def _names_one_place(self) -> Self:
        if self.table is not None and self.query is not None:
            raise ValueError("query: give a table or a query, not both")
        if self.uri is None and (self.table is not None or self.query is not None):
            raise ValueError("uri: missing; a table or a query needs the SQLAlchemy URL of its database")
        return self


class FeedbackSource(Source):
    """`[data.feedback]`: `horizon` after the event a missing label counts as missing.

    `action` names a column that says whether something was done because of the model's score, `propensity` one with the
    chance that the label was left to come by itself all the same.
    """

    horizon: Duration = timedelta(days=7)
    action: Column | None = None
    propensity: Column | None = None


class Range(_Section):
    """A stated range of a numeric column; a row outside of it is quarantined."""

    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _has_an_inside(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min: {self.min:g} is above max, {self.max:g}; nothing would lie between them")
        return self


class Rules(_Section):
    """`[data.rules]`: stated facts about columns. What breaks one is quarantined."""

    ranges: dict[str, Range] = {}
    classes: dict[str, list[Class]] = {}
    required: list[str] = []
    max_broken: Annotated[Number, Field(ge=0, le=1)] = 0.5


_COLUMN_LISTS = ("numeric", "categorical", "keep", "segments", "sensitive")


class Data(_Section):
    """`[data]`: which column is what."""

    key: Column
    event_time: Column
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    target: Column
    classes: list[Class] | None = None
    positive: Class | None = None
    numeric: list[Column] = []
    categorical: list[Column] = []
    keep: list[Column] = []
    segments: list[Column] = []
    sensitive: list[Column] = []
    inputs: Source = Source()
    feedback: FeedbackSource = FeedbackSource()
    rules: Rules = Rules()

    @property
    def features(self) -> list[str]:
        """The raw feature columns, numeric first."""
        return [*self.numeric, *self.categorical]

    @property
    def columns(self) -> list[str]:
        """Every raw column that is read besides key and event time, each once."""
        return list(dict.fromkeys([*self.features, *self.keep, *self.segments, *self.sensitive]))

    @model_validator(mode="after")
    def _columns_make_sense(self) -> Self:
        for mistake in (self._role_mistake(), self._feature_mistake(), self._name_mistake(), self._rule_mistake()):
            if mistake is not None:
                raise ValueError(mistake)
        return self

    def _role_mistake(self) -> str | None:
        for first, second in (("event_time", "key"), ("target", "key"), ("target", "event_time")):
            if getattr(self, first) == getattr(self, second):
                return f"{first}: {getattr(self, first)!r} is the {second} already; they are two columns"
        for named in ("action", "propensity"):
            column = getattr(self.feedback, named)
            if column is not None and column in (self.key, self.target, self.feedback.known_at, "available_at"):
                return f"feedback.{named}: {column!r} means something else already; name a column of its own"
        if self.feedback.action is not None and self.feedback.action == self.feedback.propensity:
            return f"feedback.propensity: {self.feedback.propensity!r} is the action already; they are two columns"
        if self.target in self.columns:
            lists = ", ".join(role for role in _COLUMN_LISTS if self.target in getattr(self, role))
            return f"target: {self.target!r} is among the features; take it out of {lists}"
        return None

    def _feature_mistake(self) -> str | None:
        if not self.columns:
            return "numeric: no feature columns; name at least one under numeric, categorical or keep"
        for role in _COLUMN_LISTS:
            named = getattr(self, role)
            if twice := [column for column in named if named.count(column) > 1]:
                return f"{role}: {twice[0]!r} is named twice"
        if both := sorted(set(self.numeric) & set(self.categorical)):
            return f"categorical: {both[0]!r} is numeric already; name it once"
        for role, column in (("key", self.key), ("event_time", self.event_time)):
            if column in self.features:
                return f"{role}: {column!r} is among the features; take it out"
        return None

    def _name_mistake(self) -> str | None:
        if self.key in RESERVED_KEYS:
            return f"key: {self.key!r} is a name Homeostat keeps for itself; rename the key column"
        for role in _COLUMN_LISTS:
            if taken := RESERVED & set(getattr(self, role)):
                return f"{role}: {min(taken)!r} is a name Homeostat keeps for itself; rename the column"
        return None

    def _rule_mistake(self) -> str | None:
        for rule in ("ranges", "classes", "required"):
            for column in getattr(self.rules, rule):
                if column not in self.columns:
                    return f"rules.{rule}: {column!r} is not a column of this project{_nearest(column, self.columns)}"
        if self.classes is not None and len(set(map(str, self.classes))) < len(self.classes):
            return "classes: a class is named twice"
        return None


class Loop(_Section):
    """`[loop]`: how often it ticks, and what is known by `start` trains the first champion."""

    tick: Duration
    start: Annotated[datetime, BeforeValidator(_as_instant)]


class Training(_Section):
    """`[training]`: what is tried, and how hard."""

    candidates: Annotated[list[Literal["xgboost", "linear", "hook"]], Field(min_length=1)] = [
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


class Gates(_Section):
    """`[gates]`: what a challenger must show before it is promoted."""

    min_gain: Number = 0.0
    min_rows: Annotated[Whole, Field(ge=1)] = 100
    fresh_rows: Annotated[Whole, Field(ge=1)] = 1000
    fresh_share: Annotated[Number, Field(gt=0, le=0.5)] = 0.3
    segments: Literal["warn", "refuse"] = "warn"
    approval: Literal["auto", "human"] = "auto"
    approval_within: Annotated[Duration, AfterValidator(_some_time)] = timedelta(days=7)


class Monitoring(_Section):
    """`[monitoring]`: which metric, how much worse is worse, and how drift is measured."""

    metric: str | None = None
    tolerance: Annotated[Number, Field(ge=0, lt=1)] = 0.01
    alpha: Annotated[Number, Field(gt=0, lt=1)] = 0.05
    windows: Annotated[Whole, Field(ge=1)] = 2
    min_coverage: Annotated[Number, Field(ge=0, le=1)] = 0.5
    sample: Annotated[Whole, Field(ge=200)] = 2000
    min_rows: Annotated[Whole, Field(ge=1)] = 200
    drift_threshold: Annotated[Number, Field(gt=0)] = 0.1
    drift_share: Annotated[Number, Field(gt=0, le=1)] = 0.5


class Retraining(_Section):
    """`[retraining]`: which policy decides, and its settings."""

    policy: str = "forecast"
    budget: Annotated[Number, Field(gt=0)] = 0.22
    price: Annotated[Number, Field(ge=0)] = 1.0
    error_price: Annotated[Number, Field(ge=0)] = 1.0
    every: Annotated[Whole, Field(ge=1)] = 4
    growth: Annotated[Number, Field(gt=0)] = 0.2
    cooldown: Duration | None = None


class Labeling(_Section):
    """`[labeling]`: whom to ask for labels, how many answers a `period`, and which rows to ask about."""

    backend: Literal["console", "label-studio", "hook"] = "console"
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


class Notify(_Section):
    """`[notify]`: per severity the names of environment variables that hold Apprise addresses."""

    routes: dict[Severity, list[Annotated[str, AfterValidator(_variable_name)]]] = {}


class Schedule(_Section):
    """`[schedule]`: the cron of the tick, in `timezone` of the data unless it says otherwise.

    `arrivals` says whether inputs that come between ticks are scored at once. `stages` gives stages crons of their own.
    """

    cron: str | None = None
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    arrivals: Literal["score", "wait"] = "score"
    stages: dict[Literal["ingest", "predict", "feedback", "monitor", "retrain"], str] = {}


class Project(_Section):
    """A whole project file. `folder` is where it lies."""

    folder: Path
    project: Identity
    data: Data
    loop: Loop
    training: Training = Training()
    gates: Gates = Gates()
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()
    labeling: Labeling = Labeling()
    notify: Notify = Notify()
    schedule: Schedule = Schedule()

    @property
    def name(self) -> str:
        """The project's name."""
        return self.project.name

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.project.task

    @property
    def file(self) -> Path:
        """The project file itself."""
        return self.folder / PROJECT_FILE

    @property
    def metric(self) -> str:
        """The metric the loop watches: the one set, else the first of the task's."""
        return self.monitoring.metric or METRICS[self.task][0]

    @property
    def start_at(self) -> datetime:
        """`loop.start` in UTC; without a zone it is read in the data's time zone."""
        start = self.loop.start
        if start.tzinfo is None:
            start = start.replace(tzinfo=ZoneInfo(self.data.timezone or "UTC"))
        return start.astimezone(UTC)

    @property
    def cooldown(self) -> timedelta:
        """How long after one retraining attempt the next may come; by default a tick, two with policy "threshold"."""
        ticks = 2 if self.retraining.policy == "threshold" else 1
        return self.retraining.cooldown if self.retraining.cooldown is not None else ticks * self.loop.tick

    @property
    def gap(self) -> timedelta:
        """How long after one batch the next may come between ticks: a 24th of a tick, and at least 30 seconds."""
        return max(self.loop.tick / 24, timedelta(seconds=30))

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        for mistake in (self._metric_mistake(), self._class_mistake(), self._labeling_mistake()):
            if mistake is not None:
                raise ValueError(mistake)
        if self.loop.tick <= timedelta(0):
            raise ValueError("loop.tick: must be longer than nothing, as in '1d'")
        return self

    def _metric_mistake(self) -> str | None:
        metric, known = self.monitoring.metric, METRICS[self.task]
        if metric is None or metric in known:
            return None
        expected = ", ".join(known)
        return f"monitoring.metric: {metric!r} is not a metric of a {self.task} task; expected one of {expected}"

    def _labeling_mistake(self) -> str | None:
        labeling, known = self.labeling, self.data.columns
        named = [("image", labeling.image), ("text", labeling.text), *(("show", column) for column in labeling.show)]
        for setting, column in named:
            if column is not None and column not in known:
                return f"labeling.{setting}: {column!r} is not a column of this project{_nearest(column, known)}"
        if labeling.period <= timedelta(0):
            return "labeling.period: must be longer than nothing, as in '7d'"
        return None

    def _class_mistake(self) -> str | None:
        classes, positive = self.data.classes, self.data.positive
        if classes is not None and self.task is Task.REGRESSION:
            return "data.classes: a regression target has no classes; take it out"
        if classes is not None and self.task is Task.BINARY and len(classes) != 2:
            return f"data.classes: a binary target has exactly two classes, not {len(classes)}"
        if positive is not None and self.task is not Task.BINARY:
            return "data.positive: only a binary target has a positive class; take it out"
        if positive is not None and classes is not None and (type(positive), positive) not in _typed(classes):
            return f"data.positive: {positive!r} is not one of data.classes, {', '.join(map(repr, classes))}"
        return None


def load_project(folder: Path | str) -> Project:
    """Read and validate the project in `folder` (or the `homeostat.toml` itself).

    Raises ProjectError, one line a mistake, each naming the file and the key.
    """
    path = Path(folder)
    file = path if path.suffix == ".toml" else path / PROJECT_FILE
    if not file.is_file():
        raise ProjectError(
            f"{file}: no such project file.",
            "Give a folder that holds a homeostat.toml, or write one with 'homeostat init DATA.csv'.",
        )
    raw = _parsed(file)
    if "folder" in raw:
        raise ProjectError(f"{file}: folder: unknown key.", "A project lies where its file lies; take it out.")
    try:
        return Project.model_validate({**raw, "folder": file.parent.resolve()})
    except ValidationError as fault:
        raise ProjectError(told(file, fault.errors(), Project, {"folder"})) from None


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise ProjectError(f"{file}: not UTF-8 text.", "Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as fault:
        hint = "Text needs quotes, and a key or a [section] comes once."
        raise ProjectError(f"{file}: not valid TOML: {fault}.", hint) from None
    except OSError as fault:
        raise ProjectError(f"{file}: cannot be read: {fault.strerror}.", "Mend access to it.") from None


def _typed(values: list[Any]) -> list[tuple[type, Any]]:
    """Values with their types: to Python true is 1, to a person it is not."""
    return [(type(value), value) for value in values]


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; its columns are {', '.join(known)}"


__all__ = ["METRICS", "PROJECT_FILE", "Project", "Source", "Task", "load_project", "parse_duration"]
