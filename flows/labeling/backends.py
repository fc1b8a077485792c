"""Where people answer: one way to hand tasks out and to fetch answers, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import polars as pl

from homeostat.errors import HomeostatError
from homeostat.flows.labeling.exchange import BackendError, Fetched, Item
from homeostat.flows.loop import Loop
from homeostat.records import Answer


class Backend(Protocol):
    """A place where people answer.

    `send` hands items out and returns what the backend calls each task, by its id; a task sent again is the same task.
    `fetch` returns what was answered after `cursor`, which is what the last fetch gave ({} at first). Both raise
    BackendError where the backend cannot be reached, and then lose nothing.
    """

    def send(self, items: Sequence[Item]) -> dict[str, str | None]: ...

    def fetch(self, cursor: Mapping[str, Any], tasks: Sequence[Item], now: datetime) -> Fetched: ...


class Console:
    """The store itself: `homeostat label next`, a spreadsheet or the page put answers there, so none are fetched."""

    def send(self, items: Sequence[Item]) -> dict[str, str | None]:
        """Hand out: the tasks are where people look for them already."""
        return dict.fromkeys((item.task.id for item in items), None)

    def fetch(self, cursor: Mapping[str, Any], tasks: Sequence[Item], now: datetime) -> Fetched:
        """Nothing: answers are in the store from the moment they are given."""
        return Fetched()


class Annotators:
    """The `annotate` hook: answers from a service, or in a replay from people that are simulated."""

    def __init__(self, loop: Loop) -> None:
        self.hook, self.key = loop.hooks.annotate, loop.key
        self.where = f"{loop.project.folder / 'hooks.py'}: annotate"
        if self.hook is None:
            raise HomeostatError(f"{self.where} is missing.", 'Write it, or set another labeling.backend than "hook".')

    def send(self, items: Sequence[Item]) -> dict[str, str | None]:
        """Hand out: the hook is asked when answers are fetched."""
        return dict.fromkeys((item.task.id for item in items), None)

    def fetch(self, cursor: Mapping[str, Any], tasks: Sequence[Item], now: datetime) -> Fetched:
        """What the hook says of the open tasks."""
        if not tasks:
            return Fetched()
        rows = pl.DataFrame([{self.key: item.task.key, **item.shown} for item in tasks], infer_schema_length=None)
        assert self.hook is not None
        try:
            said = pl.DataFrame(self.hook(rows, now))
            said = said.select(pl.col(self.key, "who").cast(pl.String), pl.col("label").cast(pl.String))
        except Exception as fault:
            raise BackendError(
                f"{self.where} failed: {type(fault).__name__}: {fault}.",
                f"It takes (rows, now) and gives a frame with the columns {self.key}, who and label.",
            ) from fault
        ids = {item.task.key: item.task.id for item in tasks}
        return Fetched(
            tuple(Answer(ids.get(key, str(key)), who, label, now) for key, who, label in said.iter_rows() if who)
        )


def open_backend(loop: Loop) -> Backend:
    """The backend that `[labeling]` names. Raises HomeostatError where it cannot be used."""
    name = loop.project.labeling.backend
    if name == "hook":
        return Annotators(loop)
    if name == "label-studio":
        from homeostat.flows.labeling.label_studio import LabelStudio

        return LabelStudio(loop)
    return Console()


__all__ = ["Annotators", "Backend", "BackendError", "Console", "Fetched", "Item", "open_backend"]
