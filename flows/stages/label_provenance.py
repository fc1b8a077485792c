"""Labels that the model itself caused: how many there are, and what is said where they block training."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import polars as pl

from homeostat.decisions import RetrainingFacts
from homeostat.flows.labels import count_caused, count_labels
from homeostat.flows.loop import Loop, alert
from homeostat.flows.roles import scored_as
from homeostat.project import Task
from homeostat.records import BatchState, Decision, Role, Severity
from homeostat.store import Writer

HIGH, LEAST, NEWEST = (0.2, 0.1, 0.05, 0.02, 0.01), 40, 20_000
"""Which parts of the scores count as high, the rows such a part must have, and how many rows are looked at."""


def caused_share(loop: Loop, at: datetime) -> float:
    """The share of labels that an action on the model's score caused: of all, or of high scores if that is more."""
    caused = count_caused(loop, at)
    if not caused:
        return 0.0
    return max(caused / (caused + count_labels(loop, at)), _share_of_high_scores(loop, at))


def _share_of_high_scores(loop: Loop, at: datetime) -> float:
    """The share of the highest scores that no label speaks for, because an action caused theirs.

    A row that was left alone with a known chance speaks for as many as it stands for, with two standard errors in its
    favour (Horvitz and Thompson, 1952). Looked at are the newest `NEWEST` labelled rows: their highest fifth, and ever
    smaller parts, as it is not known where actions begin.
    """
    rows = None if loop.project.task is Task.MULTICLASS else _newest_scores(loop, at)
    labels = None if rows is None else loop.lake.latest("feedback", loop.key, at, keys=rows[loop.key])
    if rows is None or labels is None:
        return 0.0
    chance = pl.when(~pl.col("caused").fill_null(False)).then(pl.col("propensity").fill_null(1.0))
    both = rows.join(labels.select(loop.key, chance=chance), on=loop.key, how="inner")
    chances = both.sort("score", loop.key, descending=True)["chance"]
    tops = [chances.head(int(len(chances) * part)) for part in HIGH if len(chances) * part >= LEAST]
    return max((1 - min(1.0, _spoken_for(top) / len(top)) for top in tops), default=0.0)


def _spoken_for(chances: pl.Series) -> float:
    """For how many rows those that were left alone with these chances stand at most; null where one was not."""
    alone = chances.drop_nulls()
    return float((1 / alone).sum()) + 2 * math.sqrt(float(((1 - alone) / alone**2).sum()))


def _newest_scores(loop: Loop, at: datetime) -> pl.DataFrame | None:
    """What the champion said of the newest rows: the key, and `score`."""
    chosen, rows = [], 0
    for batch in reversed(loop.store.list_batches(BatchState.SCORED)):
        if batch.end_at <= at and rows < NEWEST:
            chosen.append(batch.id)
            rows += batch.rows
    said = "prediction" if loop.project.task is Task.REGRESSION else "score"
    mine = scored_as(Role.CHAMPION) & pl.col("batch").is_in(chosen)
    scored = loop.lake.read("predictions", mine, [loop.key, said])
    return None if scored is None else scored.rename({said: "score"}, strict=False).drop_nulls()


def warn_of_caused(loop: Loop, write: Writer, decision: Decision) -> dict[str, Any]:
    """What the outcome of the decide stage says of caused labels; one alert where they begin to block training."""
    facts = RetrainingFacts.of(decision.evidence)
    last = loop.store.last_outcome("decide", decision.tick_at) or {}
    if facts.blocked and not last.get("blocked"):
        title = "training is blocked: the model caused too many of its own labels"
        body = "; ".join(decision.reasons)
        write.append_alert(alert(decision.tick_at, Severity.WARNING, "caused", title, body))
    return {"caused": facts.caused, "blocked": facts.blocked}
