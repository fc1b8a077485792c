"""What the text of a CSV means: which of its columns hold, as a whole, integers, numbers or booleans."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from homeostat.pipelines.data.tables import FrameTable, Stamp, unreadable

_typed: dict[tuple[Stamp, tuple[str, ...], tuple[str, ...]], dict[str, pl.DataType]] = {}
_FORMS: dict[str, tuple[pl.DataType, str]] = {
    "whole": (pl.Int64(), r"^(?:0|-?[1-9]\d{0,17}|-?[1-9]\d{0,14}\.0+|-?0\.0+)$"),
    "float": (pl.Float64(), r"^-?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$"),
    "bool": (pl.Boolean(), r"^(?:[Tt]rue|[Ff]alse|TRUE|FALSE)$"),
}


def type_text(table: FrameTable, columns: Iterable[str], floats: Iterable[str] = ()) -> dict[str, pl.DataType]:
    """Say which text columns of a CSV hold, as a whole, integers or booleans; of `floats`, also numbers.

    Only what keeps its meaning counts: "007" stays text, while a column of "3.0" holds integers. Columns that
    stay text are left out. One pass over the file, remembered until the file changes.
    """
    key = (table.stamp, tuple(sorted(columns)), tuple(sorted(floats)))
    if not table.stamp:
        return _type_text(table, *key[1:])
    if key not in _typed:
        if len(_typed) >= 64:
            _typed.clear()
        _typed[key] = _type_text(table, *key[1:])
    return dict(_typed[key])


def _type_text(table: FrameTable, columns: tuple[str, ...], floats: tuple[str, ...]) -> dict[str, pl.DataType]:
    tried = [(c, form) for c in columns for form in _FORMS if form != "float" or c in floats]
    checks = [
        (pl.col(c).str.contains(_FORMS[form][1]).all() & (pl.col(c).count() > 0)).alias(f"{form} {c}")
        for c, form in tried
    ]
    if not checks:
        return {}
    try:
        holds = table.frame.select(checks).collect().row(0, named=True)
    except (pl.exceptions.PolarsError, OSError) as fault:
        raise unreadable(table.where, fault) from fault
    return {c: _FORMS[form][0] for c, form in reversed(tried) if holds[f"{form} {c}"]}


def read_typed(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Turn text that `type_text` found to hold a type into that type."""
    if dtype == pl.Boolean:
        return text.str.to_lowercase() == "true"
    return text.str.replace(r"\.0+$", "").cast(dtype) if dtype == pl.Int64 else text.cast(dtype)
