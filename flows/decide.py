"""Stage 5: gather what is known and let the policies decide."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from flows.loop import Loop, alert, tick_index
from flows.watch import get_watch
from homeostat.records import Decision, ModelRecord, Severity, Window
from monitoring.alarms import decide_alarm, is_mature
from monitoring.policies import RetrainingEvidence, decide_retraining
from monitoring.watching import Watch


def decide(loop: Loop, at: datetime, asked: str | None = None) -> dict[str, Any]:
    """Decide about the alarm and about retraining; both are kept and journaled. `asked` overrides, by a person."""
    alarm, decision = weigh(loop, at)
    if asked is not None and decision.kind == "wait" and decision.model_version is not None:
        decision = Decision(at, "retraining", "retrain", (asked,), decision.evidence, decision.model_version)
    with loop.store.write("decide") as write:
        if alarm.kind == "alarm":
            write.append_decision(alarm)
            title = f"version {alarm.model_version} has become worse"
            write.append_alert(alert(at, Severity.CRITICAL, "alarm", title, "; ".join(alarm.reasons)))
        write.append_decision(decision)
        write.put_stage(at, "decide", {"alarm": alarm.kind, "decision": decision.kind})
    return {"alarm": alarm.kind, "decision": decision.kind, "reasons": list(decision.reasons)}


def weigh(loop: Loop, at: datetime) -> tuple[Decision, Decision]:
    """What the policies would decide at `at`; writes nothing."""
    champion = loop.champion()
    watch = get_watch(loop)
    alarm = decide_alarm(champion, watch, said=watch is not None and _said(loop, watch, at), now=at)
    last = loop.store.get_fact("training")
    attempted_at = datetime.fromisoformat(last["at"]) if last else None
    evidence = RetrainingEvidence(
        champion=champion,
        labels=_count_labels(loop, at),
        fresh_labels=sum(w.labels for w in fresh_windows(loop, champion, at)) if champion is not None else 0,
        labels_at_last_attempt=last["labels"] if last else 0,
        last_attempt_at=attempted_at,
        ticks_since_attempt=tick_index(loop.project, at) - tick_index(loop.project, attempted_at)
        if attempted_at
        else 0,
        alarm=alarm,
    )
    return alarm, decide_retraining(evidence, loop.project, at)


def fresh_windows(loop: Loop, champion: ModelRecord, at: datetime) -> list[Window]:
    """The mature windows of rows that came after the champion was made, so that it learned from none; oldest first."""
    return [
        w
        for w in loop.store.list_windows()
        if champion.as_of < w.end_at <= at and is_mature(w, loop.project.monitoring)
    ]


def _said(loop: Loop, watch: Watch, at: datetime) -> bool:
    """Whether an alarm about this watch was said before `at`."""
    told = [d.evidence for d in loop.store.list_decisions("alarm") if d.kind == "alarm" and d.tick_at < at]
    return any((e.get("line"), e.get("began")) == (watch.line, watch.began) for e in told)


def _count_labels(loop: Loop, at: datetime) -> int:
    labels = loop.lake.scan("feedback", at)
    if labels is None:
        return 0
    counted = labels.filter(pl.col("known_at") <= at).select(pl.col(loop.key).n_unique())
    return loop.lake.collect("feedback", counted).item()
