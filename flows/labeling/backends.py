"""Labeling backends: where people answer. A package adds its own to `BACKENDS`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from homeostat.errors import HomeostatError
from homeostat.extensions import Extensions
from homeostat.flows.labeling.exchange import Backend, BackendError, Cursor, Fetched, Item
from homeostat.flows.labeling.label_studio import LabelStudio
from homeostat.hooks import Hooks
from homeostat.project import Project
from homeostat.records import Answer

BACKENDS: Extensions[type[Backend]] = Extensions("labeling backend")
BACKENDS.add("label-studio", LabelStudio)


@BACKENDS.register("console")
class Console(Backend):
    """The store itself: `homeostat label next`, a spreadsheet or the page put answers there, so none are fetched."""

    def send(self, items: Sequence[Item]) -> dict[str, str | None]:
        """Hand out: the tasks are where people look for them already."""
        return dict.fromkeys((item.task.id for item in items), None)

    def fetch(self, cursor: Cursor, tasks: Sequence[Item], now: datetime) -> Fetched:
        """Nothing: answers are in the store from the moment they are given."""
        return Fetched()


@BACKENDS.register("hook")
class Annotators(Backend):
    """The `annotate` hook: answers from a service, or in a replay from people that are simulated."""

    answers_in_replay = True

    def __init__(self, project: Project, hooks: Hooks, title: str) -> None:
        super().__init__(project, hooks, title)
        self.key, self.where = project.data.key, f"{project.folder / 'hooks.py'}: annotate"
        if hooks.annotate is None:
            raise HomeostatError(f"{self.where} is missing.", 'Write it, or set another labeling.backend than "hook".')
        self.hook = hooks.annotate

    def send(self, items: Sequence[Item]) -> dict[str, str | None]:
        """Hand out: the hook is asked when answers are fetched."""
        return dict.fromkeys((item.task.id for item in items), None)

    def fetch(self, cursor: Cursor, tasks: Sequence[Item], now: datetime) -> Fetched:
        """The hook's answers to the open tasks."""
        if not tasks:
            return Fetched()
        ids = {item.task.key: item.task.id for item in tasks}
        answers = self._ask(tasks, now).iter_rows()
        return Fetched(tuple(Answer(ids.get(key, str(key)), who, label, now) for key, who, label in answers if who))

    def _ask(self, tasks: Sequence[Item], now: datetime) -> pl.DataFrame:
        """The hook's answers: key, who and label, as text."""
        rows = pl.DataFrame([{self.key: item.task.key, **item.shown} for item in tasks], infer_schema_length=None)
        try:
            answers = pl.DataFrame(self.hook(rows, now))
            return answers.select(pl.col(self.key, "who").cast(pl.String), pl.col("label").cast(pl.String))
        except Exception as fault:
            raise BackendError(
                f"{self.where} failed: {type(fault).__name__}: {fault}.",
                f"It takes (rows, now) and gives a frame with the columns {self.key}, who and label.",
            ) from fault


def find_backend(project: Project) -> type[Backend]:
    """The backend that `[labeling]` names. Raises ProjectError where it is not known."""
    return BACKENDS.get(project.labeling.backend, f"{project.file}: labeling.backend: ")


__all__ = [
    "BACKENDS", "Annotators", "Backend", "BackendError", "Console", "Cursor", "Fetched", "Item", "LabelStudio",
    "find_backend",
]  # fmt: skip
