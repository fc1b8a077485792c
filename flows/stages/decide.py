"""Stage 5: gather what is known and let the policies decide."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from homeostat.decisions import IDLE, AlarmKind, RetrainingFacts, RetrainingKind
from homeostat.flows.facts import PROBATION
from homeostat.flows.learning.approvals import expire
from homeostat.flows.learning.evidence import Deliberation, deliberate
from homeostat.flows.learning.holds import end_hold
from homeostat.flows.learning.live import LoopPort
from homeostat.flows.loop import Loop, alert
from homeostat.flows.stages.alarm_state import get_watch
from homeostat.flows.stages.label_provenance import caused_share, warn_of_caused
from homeostat.flows.stages.supply import Feed, find_shortages, tell_shortages
from homeostat.monitoring.alarm.rule import decide_alarm, is_news
from homeostat.records import Decision, Severity

HARM = "harm"
PLEAS: dict[str, tuple[Severity, str]] = {
    RetrainingKind.FIX_DATA: (Severity.CRITICAL, "fix the data: nothing is learned from it until then"),
    RetrainingKind.LABEL: (Severity.WARNING, "labels are wanted"),
    HARM: (Severity.WARNING, "what serves is worse than the root version, and a rollback holds it in place"),
}
TIDINGS: dict[AlarmKind, tuple[Severity, str, str]] = {
    AlarmKind.ALARM: (Severity.CRITICAL, "alarm", "version {version} has become worse"),
    AlarmKind.STANDING: (Severity.INFO, "alarm-ended", "one alarm about version {version} is over, another stands"),
    AlarmKind.ENDED: (Severity.INFO, "alarm-ended", "version {version} is no longer worse: the alarm is over"),
    AlarmKind.WITHDRAWN: (
        Severity.WARNING,
        "alarm-withdrawn",
        "the alarm about version {version} is withdrawn: labels were corrected",
    ),
}


def decide(loop: Loop, at: datetime, asked: str | None = None) -> dict[str, Any]:
    """Decide about the alarm and about retraining; both are kept and journaled. `asked` overrides, by a person.

    A challenger that nobody approved in time is dropped first, and a rollback whose time is over holds no longer.
    """
    end_hold(loop, at)
    expire(loop, at)
    alarm, news, deliberation = _weigh(loop, at)
    decision, probation = deliberation.decision, deliberation.probation
    if asked is not None and decision.kind in IDLE and decision.model_version is not None:
        decision = dataclasses.replace(decision, kind=RetrainingKind.RETRAIN, reasons=(asked,))
    shortages = find_shortages(loop.project, loop.store, at, replaying=loop.replaying)
    with loop.store.write("decide") as write:
        told = _told(loop, at)
        tell_shortages(loop.store, write, at, shortages, known={Feed.LABELS} if RetrainingKind.LABEL in told else ())
        if news:
            write.append_decision(alarm)
            severity, subject, title = TIDINGS[AlarmKind(alarm.kind)]
            title = title.format(version=alarm.model_version)
            write.append_alert(alert(at, severity, subject, title, "; ".join(alarm.reasons)))
        pleas = _pleas(decision, told)
        missed = {RetrainingKind.LABEL} if any(found.feed is Feed.LABELS for found in shortages) else set[str]()
        for subject in sorted(pleas.keys() - told - missed):
            severity, title = PLEAS[subject]
            write.append_alert(alert(at, severity, subject, title, pleas[subject]))
        deliberation.ledger.write(write, at)
        if probation is not None:
            write.put_fact(PROBATION.of(probation.lineage), probation)
        write.append_decision(decision)
        accounts, caused = deliberation.accounts.model_dump(), warn_of_caused(loop, write, decision)
        kept = {"alarm": alarm.kind, "decision": decision.kind, "told": sorted(pleas), **accounts, **caused}
        write.put_stage(at, "decide", kept)
    return {"alarm": alarm.kind, "decision": decision.kind, "reasons": list(decision.reasons)}


def _told(loop: Loop, at: datetime) -> set[str]:
    """What people were told at the tick before and still holds."""
    last = loop.store.last_outcome("decide", at) or {}
    return set(last.get("told", [last.get("decision")]))


def _pleas(decision: Decision, told: set[str]) -> dict[str, str]:
    """What somebody should see to, by its subject, with the reasons; it is told once, for as long as it holds.

    Labels are wanted only where learning waits for them.
    """
    facts, reasons = RetrainingFacts.of(decision.evidence), "; ".join(decision.reasons)
    pleas = {decision.kind: reasons} if decision.kind in PLEAS else {}
    standing = {RetrainingKind.FIX_DATA: facts.broken, RetrainingKind.LABEL: facts.unlabelled}
    pleas |= {kind: sentence for kind, sentence in standing.items() if sentence and kind in told and kind not in pleas}
    if facts.harm is not None:
        pleas[HARM] = f"{facts.harm}. 'homeostat rollback --to VERSION' puts another version in place."
    return pleas


def weigh(loop: Loop, at: datetime) -> tuple[Decision, Decision]:
    """What the policies would decide at `at`, about the alarm and about retraining; writes nothing."""
    alarm, _, deliberation = _weigh(loop, at)
    return alarm, deliberation.decision


def _weigh(loop: Loop, at: datetime) -> tuple[Decision, bool, Deliberation]:
    """Both decisions, and between them whether that about the alarm is news."""
    watch = get_watch(loop)
    told = 0 if watch is None else loop.store.count_told_changes(watch.lineage, watch.began, at)
    alarm = decide_alarm(loop.champion(), watch, told=told, now=at)
    return alarm, is_news(watch, told), deliberate(LoopPort(loop), at, alarm=alarm, caused=caused_share(loop, at))
