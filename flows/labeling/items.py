"""What people are shown of a task: the columns of its row, as the lake knows them now."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from homeostat.flows.labeling.answers import classes_of
from homeostat.flows.labeling.exchange import Item, shown_columns
from homeostat.flows.loop import Loop
from homeostat.pipelines.data.sources import FOREVER
from homeostat.records import LabelTask


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
    rows = loop.lake.latest("inputs", loop.key, FOREVER, keys=keys)
    return {} if rows is None else {str(row[loop.key]): row for row in rows.iter_rows(named=True)}
