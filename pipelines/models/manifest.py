"""The manifest: what goes into a model and what comes out, written down before it is fitted."""

from __future__ import annotations

import numpy as np
import polars as pl

from homeostat.errors import DataError
from homeostat.hooks import Hooks
from homeostat.metrics import order_classes, positive_class
from homeostat.pipelines import inference
from homeostat.pipelines.data.canonical import canonical_class
from homeostat.pipelines.inference import Feature, Manifest, RawColumn
from homeostat.pipelines.models.features import feature_kind, raw_view
from homeostat.project import Project, Task

MAX_VOCABULARY = 1000


def find_classes(frame: pl.DataFrame, project: Project) -> list[str] | None:
    """Find the classes of a training frame in canonical order, stated ones included; None for regression.

    Raises DataError where there are too few rows, only one class, or more than two for a binary target.
    """
    if frame.height < project.training.min_rows:
        raise DataError(
            f"{project.name}: {frame.height} labelled rows to train on; training.min_rows asks for "
            f"{project.training.min_rows}.",
            "Wait for more labels, or lower training.min_rows.",
        )
    if project.task is Task.REGRESSION:
        return None
    seen = order_classes(frame["label"].unique().to_list())
    if len(seen) < 2:
        raise DataError(
            f"{project.name}: every one of the {frame.height} labels of {project.data.target!r} is {''.join(seen)!r}; "
            "at least two classes are needed to train.",
            "Look at the feedback source, or move loop.start to where both have been seen.",
        )
    stated = [canonical_class(label) for label in project.data.classes or []]
    if project.data.positive is not None and project.task is Task.BINARY:
        stated.append(canonical_class(project.data.positive))
    classes = list(order_classes([*seen, *stated]))
    if project.task is Task.BINARY and len(classes) != 2:
        raise DataError(
            f"{project.name}: the binary target {project.data.target!r} has the classes {', '.join(classes)}; "
            "expected two.",
            "Set data.classes or data.positive to what the labels hold, or project.task to 'multiclass'.",
        )
    return classes


def encode_target(labels: pl.Series, manifest: Manifest) -> np.ndarray:
    """Encode canonical labels (rows,): 1 for the positive class, positions in the class list, or values."""
    if manifest["task"] == "regression":
        return labels.cast(pl.Float64).to_numpy()
    if manifest["task"] == "binary":
        return (labels == manifest["positive"]).cast(pl.Int32).to_numpy()
    return labels.cast(pl.Enum(manifest["classes"] or [])).to_physical().cast(pl.Int32).to_numpy()


def describe_model(
    frame: pl.DataFrame, features: pl.DataFrame, project: Project, hooks: Hooks, classes: list[str] | None
) -> Manifest:
    """Describe a model before it is fitted: task, classes, raw columns, features with frozen vocabularies.

    A vocabulary holds at most `MAX_VOCABULARY` categories, the most frequent ones; others count as missing.
    """
    data = project.data
    stated = None if data.positive is None else canonical_class(data.positive)
    positive = positive_class(classes or [], stated) if project.task is Task.BINARY else None
    raw = raw_view(frame, project)
    named: list[RawColumn] = [{"name": name, "kind": _raw_kind(raw.schema[name])} for name in raw.columns[2:]]
    inside = hooks.build_features is not None or "hook" in project.training.candidates
    return {
        "format": inference.FORMAT,
        "project": project.name,
        "task": str(project.task),
        "target": data.target,
        "classes": classes,
        "positive": positive,
        "key": data.key,
        "key_kind": "number" if raw.schema[data.key].is_integer() else "text",
        "event_time": data.event_time,
        "timezone": data.timezone,
        "raw": named,
        "features": [_feature(features[name]) for name in features.columns],
        "hooks": hooks.digest if inside else None,
        "threads": project.training.threads,
        "family": "",
        "rounds": None,
    }


def _feature(column: pl.Series) -> Feature:
    kind = feature_kind(column.dtype)
    assert kind is not None
    vocabulary = None
    if kind == "categorical":
        counts = column.cast(pl.String).drop_nulls().alias("value").value_counts()
        counts = counts.sort(["count", "value"], descending=[True, False])
        vocabulary = sorted(counts["value"].head(MAX_VOCABULARY).to_list())
    return {"name": column.name, "kind": kind, "vocabulary": vocabulary}


def _raw_kind(dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Boolean:
        return "boolean"
    return "datetime" if isinstance(dtype, pl.Datetime | pl.Date) else "text"
