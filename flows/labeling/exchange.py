"""What goes to a labeling backend and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from homeostat.errors import HomeostatError
from homeostat.records import Answer, LabelTask


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

    `told` is what a person should know besides, a line each, such as a task that somebody deleted there.
    """

    answers: tuple[Answer, ...] = ()
    cursor: Mapping[str, Any] = field(default_factory=dict)
    told: tuple[str, ...] = ()
