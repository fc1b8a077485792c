"""The labels that count at a time, joined to what was predicted.

What is measured, compared or bet on counts only labels that came with a known chance (`propensity`): a label that was
asked for because the model was unsure, or that the model itself caused, says nothing of the other rows.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from homeostat.flows.loop import Loop
from homeostat.pipelines.labels.sampling import thin


def measured_labels(loop: Loop, keys: pl.Series, at: datetime) -> pl.DataFrame | None:
    """Of these keys the labels known at `at` that count for what is measured: the key, label and propensity."""
    labels = loop.lake.latest("feedback", loop.key, at, keys=keys)
    return None if labels is None else labels.select(loop.key, "label", "propensity").drop_nulls("propensity")


def with_labels(loop: Loop, rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Join to predictions the labels that count at `at`, null where there is none; sorted by event and key.

    `propensity` comes with them: each label stands for 1 / propensity rows of its batch.
    """
    labels = measured_labels(loop, rows[loop.key], at)
    if labels is None:
        return rows.with_columns(label=pl.lit(None, pl.String), propensity=pl.lit(None, pl.Float64))
    return rows.join(labels, on=loop.key, how="left").sort("event_at", loop.key)


def with_fair_labels(loop: Loop, rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """As `with_labels`, but every row of a batch had the same chance: labels of likelier rows are thinned to null."""
    labelled = with_labels(loop, rows, at)
    fair = pl.Series(fair_share(labelled, loop.key, "batch"))
    return labelled.with_columns(label=pl.when(fair).then(pl.col("label")))


def fair_share(rows: pl.DataFrame, key: str, batch: str) -> np.ndarray:
    """Which labelled rows to keep, (rows,), so that within each batch all rows had the same chance to be kept.

    `rows` has `propensity`, null where there is no label. Drawn by the keys, so the same rows are kept every time.
    """
    chances = rows["propensity"].to_numpy().astype(np.float64)
    kept, known = np.isfinite(chances), np.isfinite(chances)
    for name in rows[batch].unique().sort() if len(np.unique(chances[known])) > 1 else ():
        mine = known & (rows[batch] == name).to_numpy()
        keys = rows[key].filter(pl.Series(mine)).cast(pl.String).to_list()
        kept[mine] = thin(chances[mine], keys, str(name))
    return kept


def count_labels(loop: Loop, at: datetime) -> int:
    """How many rows have, at `at`, a label that may be learned from: none that was withdrawn, or that was caused."""
    labels = loop.lake.scan("feedback", at)
    if labels is None:
        return 0
    counted = labels.filter(pl.col("known_at") <= at).select(pl.col(loop.key).n_unique())
    withdrawn = _keys_where(loop, pl.col("label").is_null() & (pl.col("known_at") <= at), at)
    again = loop.lake.latest("feedback", loop.key, at, keys=withdrawn) if len(withdrawn) else None
    gone = len(withdrawn) - (0 if again is None else again.height)
    return loop.lake.collect("feedback", counted).item() - gone - count_caused(loop, at)


def count_caused(loop: Loop, at: datetime) -> int:
    """How many rows have, at `at`, a label that counts and that an action on the model's score caused.

    A lake that was begun before such labels were told apart holds none.
    """
    if "caused" not in (loop.lake.schema("feedback") or {}):
        return 0
    keys = _keys_where(loop, pl.col("caused"), at)
    if keys.is_empty():
        return 0
    counting = loop.lake.latest("feedback", loop.key, at, keys=keys)
    return 0 if counting is None else int(counting["caused"].sum())


def _keys_where(loop: Loop, where: pl.Expr, at: datetime) -> pl.Series:
    """The keys that ever had such a row of feedback by `at`."""
    labels = loop.lake.scan("feedback", at)
    if labels is None:
        return pl.Series(loop.key, [], pl.String)
    return loop.lake.collect("feedback", labels.filter(where).select(pl.col(loop.key).unique()))[loop.key]
