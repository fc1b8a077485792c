"""Votes of the `label` hook: one column a labeling function, checked before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from homeostat.errors import ProjectError
from homeostat.hooks import Hooks
from homeostat.pipelines.data.canonical import canonical_label
from homeostat.pipelines.models.features import raw_view
from homeostat.project import Project, Task


def cast_votes(rows: pl.DataFrame, project: Project, hooks: Hooks, classes: Sequence[str]) -> pl.DataFrame:
    """Let every labeling function vote on each row of an inputs frame: one column of text each, null where it abstains.

    `classes` are those that can be voted for, none where they are not known yet. Raises ProjectError where the hook
    fails, or returns another number of rows, a column that can be no votes, or a class outside of `classes`.
    """
    where = f"{project.folder / 'hooks.py'}: label"
    if project.task is Task.REGRESSION:
        raise ProjectError(f"{where} cannot vote: a regression target has no classes.", "Take the hook out.")
    frame = _call(hooks, raw_view(rows, project), where)
    if not frame.width:
        raise ProjectError(f"{where} returned no columns; expected one for each labeling function.")
    if frame.height != rows.height:
        raise ProjectError(
            f"{where} returned {frame.height} rows for {rows.height}; expected one for each, in the same order."
        )
    for role, column in (("key", project.data.key), ("target", project.data.target)):
        if column in frame.columns:
            raise ProjectError(f"{where} returned the {role} column {column!r}.", "Leave it out: a column is votes.")
    votes = [_votes(column, project.task, where) for column in frame]
    for column in votes:
        unknown = [value for value in column.unique().drop_nulls().sort() if classes and value not in classes]
        if unknown:
            raise ProjectError(
                f"{where}: {column.name!r} votes for {unknown[0]!r}; the classes are {', '.join(classes)}."
            )
    return pl.DataFrame(votes)


def _call(hooks: Hooks, raw: pl.DataFrame, where: str) -> pl.DataFrame:
    assert hooks.label is not None
    try:
        made: Any = hooks.label(raw)
        if type(made).__module__.startswith("pandas."):
            made = pl.from_pandas(made.reset_index(drop=True))
    except Exception as fault:
        raise ProjectError(
            f"{where} failed: {type(fault).__name__}: {fault}.", f"It is given the columns {', '.join(raw.columns)}."
        ) from fault
    if not isinstance(made, pl.DataFrame):
        raise ProjectError(f"{where} returned {type(made).__name__}; expected a polars or pandas DataFrame.")
    return made


def _votes(column: pl.Series, task: Task, where: str) -> pl.Series:
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object) or column.dtype.is_temporal():
        raise ProjectError(
            f"{where} returned the column {column.name!r} as {column.dtype}; expected text that names a class.",
            "Give each labeling function a column of classes, null where it abstains.",
        )
    return canonical_label(column, task)
