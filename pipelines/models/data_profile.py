"""Learned facts: what the training data looked like. A batch that differs is warned of, never quarantined."""

from __future__ import annotations

from typing import Any, TypedDict

import polars as pl

from homeostat.project import Project
from homeostat.records import UnseenValues


class NumericProfile(TypedDict):
    """The range of a number in the training data, and the share of rows without it."""

    min: float | None
    max: float | None
    null_rate: float


class CategoricalProfile(TypedDict):
    """The categories of the training data, sorted, None where they are too many; the share of rows without one."""

    null_rate: float
    categories: list[str] | None


class DataProfile(TypedDict):
    """What the training data looked like, as JSON holds it."""

    rows: int
    numeric: dict[str, NumericProfile]
    categorical: dict[str, CategoricalProfile]


MOST_CATEGORIES = 10_000
NULL_RATE_STEP = 0.1
CHANCE = 1e-4
"""Missing values that chance gives as often as this are nothing new."""


def learn_facts(rows: pl.DataFrame, project: Project) -> DataProfile:
    """Learn ranges, null rates and categories from an INPUTS-like frame.

    A column with more than MOST_CATEGORIES has none.
    """
    data = project.data
    return {
        "rows": rows.height,
        "numeric": {c: _range(rows[c]) for c in data.numeric},
        "categorical": {
            c: {"null_rate": _null_rate(rows[c]), "categories": _categories(rows[c])} for c in data.categorical
        },
    }


def compare_facts(facts: DataProfile, rows: pl.DataFrame, project: Project) -> tuple[UnseenValues, ...]:
    """Name what of an INPUTS-like frame the learned facts had never shown, in the order of the project's columns.

    Kinds: "range" and "category" with their share of the non-null values, "null_rate" (where it is more than 0.1 above
    the learned one, and more than chance gives among so many rows) with the rate.
    """
    news: list[UnseenValues | None] = []
    for column in project.data.features:
        if rows.is_empty():
            continue
        values = rows[column]
        if column in project.data.numeric and (number := facts["numeric"].get(column)):
            news += [_outside(values, number), _more_nulls(values, number, facts["rows"])]
        elif column in project.data.categorical and (category := facts["categorical"].get(column)):
            news += [_unseen(values, category), _more_nulls(values, category, facts["rows"])]
    return tuple(fact for fact in news if fact is not None)


def _range(values: pl.Series) -> NumericProfile:
    low: Any = values.min()
    high: Any = values.max()
    return {"min": low, "max": high, "null_rate": _null_rate(values)}


def _null_rate(values: pl.Series) -> float:
    return values.null_count() / len(values) if len(values) else 0.0


def _categories(values: pl.Series) -> list[str] | None:
    distinct = values.drop_nulls().unique().sort()
    return distinct.to_list() if len(distinct) <= MOST_CATEGORIES else None


def _outside(values: pl.Series, learned: NumericProfile) -> UnseenValues | None:
    low, high, present = learned["min"], learned["max"], values.drop_nulls()
    if low is None or high is None or present.is_empty():
        return None
    share = float(((present < low) | (present > high)).mean() or 0.0)  # pyright: ignore[reportArgumentType]
    detail = f"{values.name}: {share:.1%} of the values lie outside of {low:g}..{high:g}, the range it learned from"
    return UnseenValues(values.name, "range", share, detail) if share > 0 else None


def _unseen(values: pl.Series, learned: CategoricalProfile) -> UnseenValues | None:
    present = values.drop_nulls()
    if learned["categories"] is None or present.is_empty():
        return None
    new = present.filter(~present.is_in(pl.Series(learned["categories"], dtype=pl.String).implode()))
    share = len(new) / len(present)
    shown = ", ".join(repr(value) for value in new.unique().sort().head(3))
    detail = f"{values.name}: {share:.1%} of the values are unseen categories, such as {shown}"
    return UnseenValues(values.name, "category", share, detail) if share > 0 else None


def _more_nulls(values: pl.Series, learned: NumericProfile | CategoricalProfile, rows: int) -> UnseenValues | None:
    rate, was = _null_rate(values), learned["null_rate"]
    if rate <= was + NULL_RATE_STEP or _by_chance(values.null_count(), len(values), was, rows) > CHANCE:
        return None
    detail = f"{values.name}: {rate:.1%} of the values are missing; it was {was:.1%} in what it learned from"
    return UnseenValues(values.name, "null_rate", rate, detail, was)


def _by_chance(missing: int, values: int, rate: float, rows: int) -> float:
    """The chance of so many missing values or more, where the rate was learned from so many rows."""
    from scipy.special import bdtrc

    return float(bdtrc(missing - 1, values, (rate * rows + 1) / (rows + 2)))
