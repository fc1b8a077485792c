"""Stage 5: gather what is known and let the policies decide."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from homeostat.flows.facts import PROBATION
from homeostat.flows.learning.approvals import expire
from homeostat.flows.learning.evidence import Deliberation, deliberate
from homeostat.flows.learning.live import LoopPort
from homeostat.flows.loop import Loop, alert
from homeostat.flows.stages.alarm_state import get_watch
from homeostat.flows.stages.label_provenance import count_caused, tell_blocked
from homeostat.monitoring.alarm.rule import decide_alarm
from homeostat.monitoring.alarm.state import Watch
from homeostat.records import Decision, Severity

PLEAS = {
    "fix_data": (Severity.CRITICAL, "the data need mending before anything is learned from them"),
    "label": (Severity.WARNING, "labels are wanted"),
}


def decide(loop: Loop, at: datetime, asked: str | None = None) -> dict[str, Any]:
    """Decide about the alarm and about retraining; both are kept and journaled. `asked` overrides, by a person.

    A challenger that nobody approved in time is dropped first.
    """
    expire(loop, at)
    alarm, found = _weigh(loop, at)
    decision, probation = found.decision, found.probation
    if asked is not None and decision.kind in {"wait", "fix_data", "label"} and decision.model_version is not None:
        decision = Decision(at, "retraining", "retrain", (asked,), decision.evidence, decision.model_version)
    with loop.store.write("decide") as write:
        if alarm.kind == "alarm":
            write.append_decision(alarm)
            title = f"version {alarm.model_version} has become worse"
            write.append_alert(alert(at, Severity.CRITICAL, "alarm", title, "; ".join(alarm.reasons)))
        last = (loop.store.last_outcome("decide", at) or {}).get("decision")
        if decision.kind in PLEAS and decision.kind != last:
            severity, title = PLEAS[decision.kind]
            write.append_alert(alert(at, severity, decision.kind, title, "; ".join(decision.reasons)))
        found.ledger.write(write, at)
        if probation is not None:
            write.put_fact(PROBATION.of(probation.lineage), probation)
        write.append_decision(decision)
        accounts, caused = found.accounts.model_dump(), tell_blocked(loop, write, decision)
        write.put_stage(at, "decide", {"alarm": alarm.kind, "decision": decision.kind, **accounts, **caused})
    return {"alarm": alarm.kind, "decision": decision.kind, "reasons": list(decision.reasons)}


def weigh(loop: Loop, at: datetime) -> tuple[Decision, Decision]:
    """What the policies would decide at `at`, about the alarm and about retraining; writes nothing."""
    alarm, found = _weigh(loop, at)
    return alarm, found.decision


def _weigh(loop: Loop, at: datetime) -> tuple[Decision, Deliberation]:
    watch = get_watch(loop)
    alarm = decide_alarm(loop.champion(), watch, said=watch is not None and _said(loop, watch, at), now=at)
    return alarm, deliberate(LoopPort(loop), at, alarm=alarm, caused=count_caused(loop, at))


def _said(loop: Loop, watch: Watch, at: datetime) -> bool:
    """Whether an alarm about this watch was said before `at`."""
    told = [d.evidence for d in loop.store.list_decisions("alarm") if d.kind == "alarm" and d.tick_at < at]
    return any((e.get("lineage"), e.get("began")) == (watch.lineage, watch.began) for e in told)
