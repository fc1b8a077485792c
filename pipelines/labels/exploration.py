"""Exploration: a share of the rows that is to be left alone, so that their labels say what comes without an action."""

from __future__ import annotations

import polars as pl

from homeostat.pipelines.labels.sampling import key_numbers


def is_explored(keys: pl.Series, share: float) -> pl.Series:
    """Which rows to leave alone (Boolean, one a key): that share of them, drawn by their keys alone.

    >>> is_explored(pl.Series(range(1000)), 0.1).sum()
    109
    """
    return pl.Series("explore", key_numbers(keys.cast(pl.String).to_list(), "explore") < share)
