"""What goes to a labeling backend and what comes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from homeostat.errors import HomeostatError
from homeostat.hooks import Hooks
from homeostat.project import Project
from homeostat.records import Answer, LabelTask

Cursor = Mapping[str, Any]
"""Where a backend goes on from, as JSON values; what they mean is the backend's own."""


class BackendError(HomeostatError):
    """A labeling backend cannot be reached, or refuses; what was not sent or fetched is tried again later."""


@dataclass(frozen=True, slots=True)
class Item:
    """A task with what a person is shown of its row, by column, and the classes to choose from (none: a number)."""

    task: LabelTask
    shown: Mapping[str, Any]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """Answers that came since the last time, and where to go on from; the same answer may come again.

    `warnings` is what a person should know besides, a line each, such as a task that somebody deleted there.
    """

    answers: tuple[Answer, ...] = ()
    cursor: Cursor = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Backend(ABC):
    """A place where people answer, of one project. `title` is what the project is called there.

    Both methods raise BackendError where the place cannot be reached, and then lose nothing. Making one raises
    HomeostatError where the project or the environment lacks what it needs.
    """

    answers_in_replay: ClassVar[bool] = False
    """Whether it can be asked in a replay: people cannot be asked about the past."""

    def __init__(self, project: Project, hooks: Hooks, title: str) -> None:
        self.project, self.hooks, self.title = project, hooks, title

    @abstractmethod
    def send(self, items: Sequence[Item]) -> dict[str, str | None]:
        """Hand tasks out; returns what the backend calls each of them, by its id. A task sent again is the same."""

    @abstractmethod
    def fetch(self, cursor: Cursor, tasks: Sequence[Item], now: datetime) -> Fetched:
        """Fetch what was answered after `cursor`, which is what the last fetch gave ({} at first).

        `tasks` are those that wait for answers.
        """


def shown_columns(project: Project) -> list[str]:
    """The columns a person is shown: text, image and those of `labeling.show`; all features where none is named."""
    labeling = project.labeling
    named = [column for column in (labeling.text, *labeling.show, labeling.image) if column is not None]
    return list(dict.fromkeys(named or project.data.features))
