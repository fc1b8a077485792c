"""The labels that count at a time, joined to what was predicted.

What is measured, compared or bet on counts only labels that came with a known chance (`propensity`): a label that was
asked for because the model was unsure, or that the model itself caused, says nothing of the other rows. Where the
labels of one class take longer than those of another, a label stands for those that have not come yet as well (see
`homeostat.pipelines.labels.delays`).
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from homeostat.flows.loop import Loop, slot, tick_index
from homeostat.pipelines.labels.delays import LabelDelays, estimate_delays, lookback, slot_of, unknown_delays
from homeostat.pipelines.labels.sampling import fair_share

OBSERVED = pl.col("provenance") == "observed"


def find_delays(loop: Loop, at: datetime) -> LabelDelays:
    """How long the labels of the source have taken to come, by what is known at `at`.

    Those that a live loop took in while it was catching up may have been there for long, and say nothing of it.
    """
    now = tick_index(loop.project, at)
    since = slot(loop.project, now - lookback(loop.project))
    came = _came(loop, since, at)
    known = _became_known(loop, since, at)
    if came is None or known is None:
        return estimate_delays(pl.Series([], dtype=pl.String), _NONE, _NONE, loop.project)
    prompt = known.filter(~pl.col("_ingested").is_in(loop.store.list_belated_label_ticks(since)))
    if prompt.is_empty() and not known.is_empty():
        return unknown_delays(loop.project)
    known = prompt
    both = known.join(came, on=loop.key, how="inner").filter(pl.col("_came") > now - lookback(loop.project))
    delays = (both["_known"] - both["_came"]).clip(0).to_numpy().astype(np.int64)
    ages = (now - both["_came"]).to_numpy().astype(np.int64)
    return estimate_delays(both["label"], delays, np.maximum(ages, delays), loop.project)


_NONE = np.empty(0, dtype=np.int64)


def row_tick(loop: Loop) -> pl.Expr:
    """The tick with which an input row came: of the history, the one in whose slot its event lies."""
    start = pl.lit(loop.project.start_at)
    by_event = slot_of(pl.col("event_at"), loop.project, closed_left=True).clip(upper_bound=0)
    return pl.when(pl.col("known_at") <= start).then(by_event).otherwise(
        slot_of(pl.col("known_at"), loop.project, closed_left=False)
    )  # fmt: skip


def sample_of(loop: Loop) -> pl.Expr:
    """The name of what an input row was drawn from with others: its batch, and of the history its tick too."""
    history = pl.format("{}/{}", pl.col("_batch"), row_tick(loop))
    return pl.when(pl.col("known_at") <= pl.lit(loop.project.start_at)).then(history).otherwise(pl.col("_batch"))


def _came(loop: Loop, since: datetime, at: datetime) -> pl.DataFrame | None:
    """The tick with which each row came (`_came`), of those that may have come after `since`."""
    rows = loop.lake.scan("inputs", at)
    if rows is None:
        return None
    first = rows.filter((pl.col("known_at") > since) & (pl.col("known_at") <= at) & ~pl.col("_correction"))
    chosen = first.select(loop.key, _came=row_tick(loop)).unique(loop.key, keep="first")
    return loop.lake.collect("inputs", chosen)


def _became_known(loop: Loop, since: datetime, at: datetime) -> pl.DataFrame | None:
    """The newest observed label of each key, and the tick with which the first came (`_known`).

    Of labels that a live loop found at its beginning, and that do not say since when they are known, nothing is known.
    """
    rows = loop.lake.scan("feedback", at)
    if rows is None:
        return None
    start, dated = pl.lit(loop.project.start_at), loop.project.data.feedback.known_at is not None or loop.replaying
    began = pl.col("ingested_at") <= start
    known = pl.when(began).then(pl.col("known_at")).otherwise(pl.col("ingested_at"))
    chosen = (
        rows.filter(OBSERVED & (pl.col("known_at") > since) & (pl.col("known_at") <= at))
        .filter(pl.lit(dated) | ~began)
        .sort("known_at", "ingested_at")
        .group_by(loop.key)
        .agg(
            pl.col("label").last(),
            _known=slot_of(known, loop.project, closed_left=False).min(),
            _ingested=pl.col("ingested_at").min(),
        )
        .filter(pl.col("label").is_not_null())
    )
    return loop.lake.collect("feedback", chosen).sort(loop.key)


def measured_labels(loop: Loop, keys: pl.Series, at: datetime) -> pl.DataFrame | None:
    """Of these keys the labels known at `at` that count for what is measured.

    Columns: the key, label, propensity, and `_observed`, whether it came from the source.
    """
    labels = loop.lake.latest("feedback", loop.key, at, keys=keys)
    if labels is None:
        return None
    return labels.select(loop.key, "label", "propensity", _observed=OBSERVED).drop_nulls("propensity")


def with_chances(rows: pl.DataFrame, came: pl.Series, delays: LabelDelays, now: int) -> pl.DataFrame:
    """Rows whose `propensity` allows for the labels that have not come yet, too.

    `rows` has label, propensity and `_observed`, which is dropped; `came` (rows,) is the tick of each row.
    """
    ages = (now - came.fill_null(now)).clip(0).to_numpy().astype(np.int64)
    chances = pl.Series(delays.chances(rows["label"], ages))
    observed = pl.col("_observed").fill_null(False)
    made = pl.when(observed).then(pl.col("propensity") * chances).otherwise(pl.col("propensity"))
    return rows.with_columns(propensity=made).drop("_observed")


def with_labels(loop: Loop, rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Join to predictions the labels that count at `at`, null where there is none; sorted by event and key.

    `propensity` comes with them: each label stands for 1 / propensity rows of its batch.
    """
    return _joined(loop, rows, at).drop("_observed")


def _joined(loop: Loop, rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    labels = measured_labels(loop, rows[loop.key], at)
    if labels is None:
        nothing = {"label": pl.lit(None, pl.String), "propensity": pl.lit(None, pl.Float64)}
        return rows.with_columns(**nothing, _observed=pl.lit(None, pl.Boolean))
    return rows.join(labels, on=loop.key, how="left").sort("event_at", loop.key)


def with_fair_labels(loop: Loop, rows: pl.DataFrame, at: datetime, delays: LabelDelays | None = None) -> pl.DataFrame:
    """As `with_labels`, but every row of a batch had the same chance: labels of likelier rows are thinned to null."""
    joined, project = _joined(loop, rows, at), loop.project
    came = joined.select(slot_of(pl.col("scored_at"), project, closed_left=False)).to_series()
    known = delays or find_delays(loop, at)
    labelled = with_chances(joined, came, known, tick_index(project, at))
    fair = pl.Series(fair_share(labelled, loop.key, "batch"))
    return labelled.with_columns(label=pl.when(fair).then(pl.col("label")))


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
