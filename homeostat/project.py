"""The project file as a whole: its parts and how they agree, read with errors that name file and key."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from pydantic import ValidationError, model_validator

from homeostat.errors import ProjectError
from homeostat.mistakes import describe_mistakes
from homeostat.sections.data import Data, nearest
from homeostat.sections.steering import (
    Gates,
    Labeling,
    Loop,
    Monitoring,
    Notify,
    Retraining,
    Schedule,
    Training,
)
from homeostat.sections.values import PlainName, Section

PROJECT_FILE = "homeostat.toml"


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


class Identity(Section):
    """`[project]`: the name, and what is predicted."""

    name: PlainName
    task: Task


class Project(Section):
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
                return f"labeling.{setting}: {column!r} is not a column of this project{nearest(column, known)}"
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
        raise ProjectError(describe_mistakes(file, fault.errors(), Project, {"folder"})) from None


def list_retired_keys(file: Path) -> list[tuple[str, str]]:
    """The keys of a project file that do nothing any more, as in "monitoring.windows", each with why."""
    sections = {"monitoring": Monitoring}
    raw = _parsed(file) if file.is_file() else {}
    return [
        (f"{name}.{key}", section.retired[key])
        for name, section in sections.items()
        for key in raw.get(name, {})
        if key in section.retired
    ]


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
