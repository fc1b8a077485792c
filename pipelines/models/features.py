"""Features: the raw view that hooks and models see, and the one function that makes features of it."""

from __future__ import annotations

from typing import Any

import polars as pl

from homeostat.errors import ProjectError
from homeostat.hooks import Hooks
from homeostat.project import Project


def raw_view(rows: pl.DataFrame, project: Project) -> pl.DataFrame:
    """Select the raw view of an inputs frame: key, event time under the user's name, raw columns.

    The columns come in the order of the project file; row order is kept.
    """
    data = project.data
    wanted = [pl.col(data.key), pl.col("event_at").alias(data.event_time)]
    return rows.select(*wanted, *(c for c in data.columns if c not in (data.key, data.event_time)))


def build_features(rows: pl.DataFrame, project: Project, hooks: Hooks) -> pl.DataFrame:
    """Build one row of features for each row of an inputs frame, in the same order.

    Without the hook these are the numeric and categorical columns as they are. With it, the hook gets the raw
    view. Raises ProjectError where the hook fails or returns what cannot be features.
    """
    raw = raw_view(rows, project)
    if hooks.build_features is None:
        return raw.select(project.data.features)
    return _checked(_call(hooks, raw, project), raw, project)


def _call(hooks: Hooks, raw: pl.DataFrame, project: Project) -> Any:
    assert hooks.build_features is not None
    try:
        return hooks.build_features(raw)
    except Exception as fault:
        raise ProjectError(
            f"{_file(project)}: build_features failed: {type(fault).__name__}: {fault}.",
            f"It is given the columns {', '.join(raw.columns)}.",
        ) from fault


def _checked(made: Any, raw: pl.DataFrame, project: Project) -> pl.DataFrame:
    where = f"{_file(project)}: build_features"
    frame = made if isinstance(made, pl.DataFrame) else _from_pandas(made)
    if frame is None:
        raise ProjectError(f"{where} returned {type(made).__name__}; expected a polars or pandas DataFrame.")
    if not frame.width:
        raise ProjectError(f"{where} returned no columns; expected at least one feature.")
    if frame.height != raw.height:
        raise ProjectError(
            f"{where} returned {frame.height} rows for {raw.height}; expected one for each, in the same order."
        )
    for role, column in (("target", project.data.target), ("key", project.data.key)):
        if column in frame.columns:
            raise ProjectError(f"{where} returned the {role} column {column!r}.", "Leave it out.")
    for name, dtype in frame.schema.items():
        if feature_kind(dtype) is None:
            raise ProjectError(
                f"{where} returned the column {name!r} as {dtype}; expected numbers, booleans or text.",
                "Turn it into one of these, or leave it out.",
            )
    return frame


def feature_kind(dtype: pl.DataType) -> str | None:
    """Say what a feature of this dtype is: "numeric", "categorical", or None where it can be neither."""
    if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        return "numeric"
    return "categorical" if dtype in (pl.String, pl.Categorical, pl.Enum) else None


def _from_pandas(made: Any) -> pl.DataFrame | None:
    import pandas as pd

    return pl.from_pandas(made.reset_index(drop=True)) if isinstance(made, pd.DataFrame) else None


def _file(project: Project) -> str:
    return str(project.folder / "hooks.py")
