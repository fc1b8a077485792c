"""Labels by rule: labeling functions vote on rows that nobody has labelled, and count by how often they were right."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from homeostat.durations import instant
from homeostat.flows.facts import LABELERS, Labelers
from homeostat.flows.labeling.answers import classes_of
from homeostat.flows.learning.versions import PROGRAMMATIC
from homeostat.flows.loop import Loop, alert
from homeostat.flows.roles import AS_SCORED
from homeostat.pipelines.labels.labelers import Labeler, measure_labelers, vote
from homeostat.pipelines.labels.votes import cast_votes
from homeostat.records import BatchState, Severity

STEP = "feedback.programmatic"
MOST_CHECKED = 5000
LEAST_CONFIDENCE = 0.5


def label_by_rule(loop: Loop, at: datetime) -> dict[str, Any]:
    """Label rows of the last `labeling.pool` ticks that have no label, by the votes of the `label` hook.

    Each labeling function counts by how often it agreed with people and the source; one that is worse than chance is
    left out, with one alert. A vote that is no likelier right than wrong makes no label. Returns how many rows were
    labelled, `by_rule`, and the labeling functions that were left out, `dropped`; nothing without the hook. Raises
    ProjectError where the hook is not sound.
    """
    if loop.hooks.label is None:
        return {}
    measured = _measure(loop, at)
    dropped = [one.labeler for one in measured if one.dropped]
    batch = instant(at)
    if not loop.lake.appended("feedback", STEP, batch):
        made = _label(loop, at, measured)
        if made is not None and made.height:
            loop.lake.append("feedback", made, STEP, batch)
    _note(loop, at, measured)
    mine = (pl.col("ingested_at") == at) & (pl.col("provenance") == PROGRAMMATIC)
    rows = loop.lake.read("feedback", mine, [loop.key])
    return {"by_rule": 0 if rows is None else rows.height, "dropped": dropped}


def _measure(loop: Loop, at: datetime) -> list[Labeler]:
    """How often each labeling function is right, on the newest rows that people or the source had labelled.

    Rows that were drawn by chance stand for all rows, weighted by the inverse of that chance; others count only where
    there is no such row. What the model itself caused does not count.
    """
    before = at - timedelta(microseconds=1)  # whatever else this tick brings, and in whatever order
    labels = loop.lake.latest("feedback", loop.key, before, where=pl.col("provenance") != PROGRAMMATIC)
    if labels is None:
        return []
    if "caused" in labels.columns:
        labels = labels.filter(~pl.col("caused").fill_null(False))
    drawn = labels.drop_nulls("propensity")
    labels = (labels if drawn.is_empty() else drawn).sort("known_at", loop.key).tail(MOST_CHECKED)
    inputs = loop.lake.latest("inputs", loop.key, at, AS_SCORED, labels[loop.key]) if labels.height else None
    if inputs is None:
        return []
    rows = inputs.join(labels.select(loop.key, "label", "propensity"), on=loop.key, how="inner").sort(loop.key)
    classes = classes_of(loop)
    votes = cast_votes(rows, loop.project, loop.hooks, classes)
    weights = None if drawn.is_empty() else (1 / rows["propensity"]).to_numpy()
    measured = measure_labelers(votes, rows["label"], weights=weights)
    chance = 1 / max(len(classes), rows["label"].n_unique(), 2)
    measured = measured.with_columns(dropped=(pl.col("high") < chance).fill_null(False))
    return [Labeler(**row) for row in measured.iter_rows(named=True)]


def _label(loop: Loop, at: datetime, measured: list[Labeler]) -> pl.DataFrame | None:
    rows = _unlabelled(loop, at)
    if rows is None or rows.is_empty():
        return None
    classes = classes_of(loop)
    dropped = {one.labeler for one in measured if one.dropped}
    votes = cast_votes(rows, loop.project, loop.hooks, classes)
    votes = votes.select(name for name in votes.columns if name not in dropped)
    known = {one.labeler: one.middle for one in measured if one.middle is not None}
    settled = vote(votes, known, classes=classes or None)
    agreed = [pl.when(pl.col(name) == pl.col("label")).then(pl.lit(name)) for name in votes.columns]
    named = votes.hstack([settled["label"]]).select(who=pl.concat_str(agreed, separator=", ", ignore_nulls=True))
    made = rows.select(loop.key, "event_at").hstack([*settled, named["who"]])
    return made.filter(pl.col("confidence") > LEAST_CONFIDENCE).select(
        loop.key,
        "label",
        # Known as early as can be, so that whatever people or the source say counts instead.
        known_at=pl.min_horizontal("event_at", pl.lit(at)).cast(pl.Datetime("us", "UTC")),
        ingested_at=pl.lit(at).cast(pl.Datetime("us", "UTC")),
        provenance=pl.lit(PROGRAMMATIC),
        who="who",
        propensity=pl.lit(None, pl.Float64),
        caused=pl.lit(False),
    )


def _unlabelled(loop: Loop, at: datetime) -> pl.DataFrame | None:
    """The rows of the last `labeling.pool` ticks of which the lake holds no label at all, sorted by key."""
    since = at - loop.project.labeling.pool * loop.project.loop.tick
    batches = [b.id for b in loop.store.list_batches() if since < b.end_at <= at and b.state is not BatchState.HELD]
    rows = loop.lake.latest("inputs", loop.key, at, where=pl.col("_batch").is_in(batches) & AS_SCORED)
    if rows is None or rows.is_empty():
        return rows
    labelled = loop.lake.read("feedback", pl.col(loop.key).is_between(rows[loop.key].min(), rows[loop.key].max()))
    return rows if labelled is None else rows.join(labelled.select(loop.key), on=loop.key, how="anti").sort(loop.key)


def _note(loop: Loop, at: datetime, measured: list[Labeler]) -> None:
    """Keep how good the labeling functions are, journal it where it changed, and alert of those newly left out."""
    before = list((loop.store.get_fact(LABELERS) or Labelers()).measured)
    if not measured or measured == before:
        return
    known = {one.labeler for one in before if one.dropped}
    body = {"message": "; ".join(one.describe() for one in measured)}
    with loop.store.write("labelers") as write:
        write.put_fact(LABELERS, Labelers(tuple(measured)))
        write.append_journal(at, f"{instant(at)}/labelers", "labelers", body)
        for one in measured:
            if one.dropped and one.labeler not in known:
                title = f"the labeling function {one.labeler!r} is worse than chance, and is left out"
                write.append_alert(alert(at, Severity.WARNING, f"labeler/{one.labeler}", title, one.describe()))
