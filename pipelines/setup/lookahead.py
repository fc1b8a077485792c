"""Does a feature hook look ahead: features of a batch, of its prefix and of single rows must agree."""

from __future__ import annotations

import polars as pl

from homeostat.hooks import Hooks
from homeostat.pipelines.models.features import build_features
from homeostat.project import Project

SAMPLE, SINGLES = 400, 25
RELATIVE = 1e-9


def find_look_ahead(accepted: pl.DataFrame, project: Project, hooks: Hooks) -> list[str]:
    """Name the feature columns of an INPUTS frame that depend on which other rows are in the batch.

    Half of the sample are neighbours in time (what a group of a day would share), half is spread over all of
    it. Floats may differ by 1e-9, relatively. Raises ProjectError where the hook itself fails.
    """
    rows = _sample(accepted.sort("event_at", project.data.key))
    whole = build_features(rows, project, hooks)
    cut = max(rows.height * 2 // 5, 1)
    wrong = _differences(whole.head(cut), build_features(rows.head(cut), project, hooks))
    step = max(rows.height // SINGLES, 1)
    for at in range(0, rows.height, step):
        wrong += _differences(whole.slice(at, 1), build_features(rows.slice(at, 1), project, hooks))
    return list(dict.fromkeys(wrong))


def _sample(rows: pl.DataFrame) -> pl.DataFrame:
    if rows.height <= SAMPLE:
        return rows
    half = SAMPLE // 2
    middle = rows.height // 2 - half // 2
    spread = {i * rows.height // half for i in range(half)}
    return rows[sorted(spread | set(range(middle, middle + half)))]


def _differences(one: pl.DataFrame, other: pl.DataFrame) -> list[str]:
    only = [c for c in one.columns if c not in other.columns] + [c for c in other.columns if c not in one.columns]
    shared = [c for c in one.columns if c in other.columns]
    return only + [c for c in shared if not _agree(one[c], other[c])]


def _agree(one: pl.Series, other: pl.Series) -> bool:
    if all(values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null) for values in (one, other)):
        a, b = (values.cast(pl.Float64).fill_nan(None) for values in (one, other))
        near = ((a - b).abs() <= RELATIVE * pl.select(pl.max_horizontal(a.abs(), b.abs())).to_series()) | (a == b)
        return bool((near.fill_null(False) | (a.is_null() & b.is_null())).all())
    return bool(one.cast(pl.String).eq_missing(other.cast(pl.String)).all())
