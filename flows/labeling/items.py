"""What people are shown of a task: the columns of its row, as the lake knows them now."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from flows.labeling.answers import classes_of
from flows.labeling.backends import Item
from flows.loop import Loop
from homeostat.project import Project
from homeostat.records import LabelTask
from pipelines.sources import FOREVER


def shown_columns(project: Project) -> list[str]:
    """The columns a person is shown: those of `labeling.show`, else all features; the text and the image with them."""
    labeling = project.labeling
    wanted = [labeling.text, *(labeling.show or project.data.features), labeling.image]
    return list(dict.fromkeys(column for column in wanted if column is not None))


def list_items(loop: Loop, tasks: Sequence[LabelTask]) -> list[Item]:
    """Tasks with what a person is shown of them, in their order; a row that the lake does not hold is empty."""
    rows, classes = _read_rows(loop, tasks), classes_of(loop)
    columns = shown_columns(loop.project)
    return [Item(task, {name: rows.get(task.key, {}).get(name) for name in columns}, classes) for task in tasks]


def _read_rows(loop: Loop, tasks: Sequence[LabelTask]) -> dict[str, dict[str, object]]:
    dtype = loop.key_dtype()
    if dtype is None or not tasks:
        return {}
    keys = pl.Series([task.key for task in tasks], dtype=pl.String).cast(dtype, strict=False).drop_nulls()
    found = loop.lake.latest("inputs", loop.key, FOREVER, keys=keys)
    return {} if found is None else {str(row[loop.key]): row for row in found.iter_rows(named=True)}
