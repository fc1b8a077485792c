"""Labels that the model itself caused: how many there are, and what is said where they block training."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from homeostat.decisions import RetrainingFacts
from homeostat.flows.loop import Loop, alert
from homeostat.records import Decision, Severity
from homeostat.store import Writer


def count_caused(loop: Loop, at: datetime) -> int:
    """How many rows have, at `at`, a label that counts and that an action on the model's score caused.

    A lake that was begun before such labels were told apart holds none.
    """
    labels = loop.lake.scan("feedback", at)
    if labels is None or "caused" not in (loop.lake.schema("feedback") or {}):
        return 0
    ever = labels.filter(pl.col("caused")).select(pl.col(loop.key).unique())
    keys = loop.lake.collect("feedback", ever)[loop.key]
    if keys.is_empty():
        return 0
    counting = loop.lake.latest("feedback", loop.key, at, keys=keys)
    return 0 if counting is None else int(counting["caused"].sum())


def warn_of_caused(loop: Loop, write: Writer, decision: Decision) -> dict[str, Any]:
    """What the outcome of the decide stage says of caused labels; one alert where they begin to block training."""
    facts = RetrainingFacts.of(decision.evidence)
    last = loop.store.last_outcome("decide", decision.tick_at) or {}
    if facts.blocked and not last.get("blocked"):
        title = "training is blocked: the model caused too many of its own labels"
        body = "; ".join(decision.reasons)
        write.append_alert(alert(decision.tick_at, Severity.WARNING, "caused", title, body))
    return {"caused": facts.caused, "blocked": facts.blocked}
