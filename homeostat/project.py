"""The project file: what `homeostat.toml` may say, its defaults, and errors that name file and key."""

from __future__ import annotations

import difflib
import tomllib
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
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
from homeostat.records import Severity

PROJECT_FILE = "homeostat.toml"
RESERVED = frozenset({"event_at", "known_at", "_batch", "_correction", "label"})
RESERVED_KEYS = RESERVED | {"batch", "model_version", "role", "prediction", "score", "classes", "scores", "scored_at"}


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
    if not name or not all(c.isalnum() or c in "-_" for c in name):
        raise ValueError(f"{name!r} is not a project name; use letters, digits, - and _")
    return name


def _as_instant(value: Any) -> Any:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Identity(_Section):
    """`[project]`: the name, and what is predicted."""

    name: Annotated[str, AfterValidator(_plain_name)]
    task: Task


class Source(_Section):
    """Where rows come from: a path, a glob or a SQLAlchemy URL with a table or a query; no uri means the hook."""

    uri: str | None = None
    table: str | None = None
    query: str | None = None
    known_at: str | None = None


class FeedbackSource(Source):
    """`[data.feedback]`: `horizon` after the event a missing label counts as missing."""

    horizon: Duration = timedelta(days=7)


class Range(_Section):
    """A stated range of a numeric column; a row outside of it is quarantined."""

    min: float | None = None
    max: float | None = None


class Rules(_Section):
    """`[data.rules]`: stated facts about columns. What breaks one is quarantined."""

    ranges: dict[str, Range] = {}
    classes: dict[str, list[str | int | bool]] = {}
    required: list[str] = []
    max_broken: Annotated[float, Field(ge=0, le=1)] = 0.5


class Data(_Section):
    """`[data]`: which column is what."""

    key: str
    event_time: str
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    target: str
    classes: list[str | int | bool] | None = None
    positive: str | int | bool | None = None
    numeric: list[str] = []
    categorical: list[str] = []
    keep: list[str] = []
    segments: list[str] = []
    sensitive: list[str] = []
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
    def _columns_make_sense(self) -> Data:
        if self.target in self.columns:
            raise ValueError(
                f"the target {self.target!r} is among the features; take it out of numeric, categorical, keep, "
                "segments and sensitive"
            )
        if not self.columns:
            raise ValueError("no feature columns; name at least one under numeric, categorical or keep")
        if both := set(self.numeric) & set(self.categorical):
            raise ValueError(f"{sorted(both)[0]!r} is both numeric and categorical; name it once")
        for role, column in (("key", self.key), ("event_time", self.event_time)):
            if column in self.features:
                raise ValueError(f"the {role} column {column!r} is among the features; take it out")
        if self.key in RESERVED_KEYS:
            raise ValueError(f"{self.key!r} is a name Homeostat keeps for itself; rename the key column")
        if taken := RESERVED & set(self.columns):
            raise ValueError(f"{sorted(taken)[0]!r} is a name Homeostat keeps for itself; rename the column")
        for column in {*self.rules.ranges, *self.rules.classes, *self.rules.required}:
            if column not in self.columns:
                raise ValueError(f"rules name the column {column!r}, which is not a column of this project")
        return self


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
    rounds: Annotated[int, Field(ge=1)] = 150
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.15
    max_depth: Annotated[int, Field(ge=1, le=16)] = 6
    early_stopping: Annotated[int, Field(ge=1)] = 15
    threads: Annotated[int, Field(ge=1)] = 2
    min_rows: Annotated[int, Field(ge=10)] = 50
    seed: int = 0
    base_model: str | None = None


class Gates(_Section):
    """`[gates]`: what a challenger must show before it is promoted."""

    min_gain: float = 0.0
    min_rows: Annotated[int, Field(ge=1)] = 100
    fresh_rows: Annotated[int, Field(ge=1)] = 1000
    approval: Literal["auto", "human"] = "auto"


class Monitoring(_Section):
    """`[monitoring]`: which metric, how much worse is worse, and how drift is measured."""

    metric: str | None = None
    tolerance: Annotated[float, Field(ge=0)] = 0.02
    windows: Annotated[int, Field(ge=1)] = 2
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.5
    sample: Annotated[int, Field(ge=200)] = 2000
    min_rows: Annotated[int, Field(ge=1)] = 200
    drift_threshold: Annotated[float, Field(gt=0)] = 0.1
    drift_share: Annotated[float, Field(gt=0, le=1)] = 0.5


class Retraining(_Section):
    """`[retraining]`: which policy decides, and its settings."""

    policy: str = "threshold"
    every: Annotated[int, Field(ge=1)] = 4
    growth: Annotated[float, Field(gt=0)] = 0.2
    cooldown: Duration | None = None


class Labeling(_Section):
    """`[labeling]`: where labels are asked for."""


class Notify(_Section):
    """`[notify]`: per severity the names of environment variables that hold Apprise addresses."""

    routes: dict[Severity, list[str]] = {}


class Schedule(_Section):
    """`[schedule]`: the cron of the tick, in `timezone` of the data unless it says otherwise."""

    cron: str | None = None
    timezone: Annotated[str, AfterValidator(_zone)] | None = None


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
        """How long after one retraining attempt the next may come; two ticks unless set."""
        return self.retraining.cooldown if self.retraining.cooldown is not None else 2 * self.loop.tick

    @model_validator(mode="after")
    def _parts_agree(self) -> Project:
        metric = self.monitoring.metric
        if metric is not None and metric not in METRICS[self.task]:
            raise ValueError(
                f"monitoring.metric: {metric!r} is not a metric of a {self.task} task; "
                f"expected one of {', '.join(METRICS[self.task])}"
            )
        if self.loop.tick <= timedelta(0):
            raise ValueError("loop.tick: must be longer than nothing, as in '1d'")
        if self.data.classes is not None:
            if self.task is Task.REGRESSION:
                raise ValueError("data.classes: a regression target has no classes; take it out")
            if self.task is Task.BINARY and len(self.data.classes) != 2:
                raise ValueError("data.classes: a binary target has exactly two classes")
        if self.data.positive is not None and self.task is not Task.BINARY:
            raise ValueError("data.positive: only a binary target has a positive class; take it out")
        if (
            self.data.positive is not None
            and self.data.classes is not None
            and (self.data.positive not in self.data.classes)
        ):
            raise ValueError("data.positive: must be one of data.classes")
        return self


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
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ProjectError(f"{file}: not valid TOML: {fault}.") from None
    try:
        return Project.model_validate({**raw, "folder": file.parent.resolve()})
    except ValidationError as fault:
        raise ProjectError("\n".join(_line(file, error) for error in fault.errors())) from None


def _line(file: Path, error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"] if not str(part).startswith("function-"))
    if error["type"] == "extra_forbidden":
        return f"{file}: {where}: unknown key.{_nearest(error['loc'])}"
    if error["type"] == "missing":
        return f"{file}: {where}: missing; it must be set."
    came = "" if error["type"] == "value_error" else f" (got {error['input']!r})"
    message = error["msg"].removeprefix("Value error, ")
    return f"{file}: {where}: {message}{came}" if where else f"{file}: {message}"


def _nearest(loc: tuple[Any, ...]) -> str:
    known = sorted(_keys_at(loc[:-1]) - {"folder"})
    close = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known here: {', '.join(known) or 'nothing'}."


def _keys_at(loc: tuple[Any, ...]) -> set[str]:
    model: Any = Project
    for part in loc:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
        else:
            values = [a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
            if not values:
                continue
            model = values[-1]
    return set(model.model_fields)


__all__ = ["METRICS", "PROJECT_FILE", "Project", "Source", "Task", "load_project", "parse_duration"]
