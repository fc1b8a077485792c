"""Stage 5: gather what is known and let the policies decide."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from homeostat.flows.facts import PROBATION, TRAINING
from homeostat.flows.learning.approvals import expire
from homeostat.flows.learning.outcomes import Ledger, settle_accounts
from homeostat.flows.learning.probation import follow_probation
from homeostat.flows.learning.rules import full_cost_per_tick, list_plans
from homeostat.flows.learning.update import Base, find_base, fresh_count, new_windows
from homeostat.flows.loop import Loop, alert, tick_index
from homeostat.flows.stages.alarm_state import get_watch
from homeostat.flows.stages.label_provenance import count_caused, count_labels, tell_blocked
from homeostat.monitoring.alarm.rule import decide_alarm, is_mature
from homeostat.monitoring.alarm.state import Watch
from homeostat.monitoring.estimation.warning import warn_of_estimate
from homeostat.monitoring.novelty import describe as describe_fact
from homeostat.monitoring.novelty import gone_columns
from homeostat.monitoring.retraining.policies import Learning, RetrainingEvidence, decide_retraining
from homeostat.monitoring.retraining.probation import Probation
from homeostat.records import Decision, ModelRecord, Severity, Window

UNLABELLED_BATCHES = 3
PLEAS = {
    "fix_data": (Severity.CRITICAL, "the data need mending before anything is learned from them"),
    "label": (Severity.WARNING, "labels are wanted"),
}


def decide(loop: Loop, at: datetime, asked: str | None = None) -> dict[str, Any]:
    """Decide about the alarm and about retraining; both are kept and journaled. `asked` overrides, by a person.

    A challenger that nobody approved in time is dropped first.
    """
    expire(loop, at)
    ledger, base = settle_accounts(loop, at), find_base(loop)
    probation = None if base is None else follow_probation(loop, at)
    alarm, decision, accounts = _weigh(loop, at, ledger, base, probation)
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
        ledger.write(write, at)
        if probation is not None:
            write.put_fact(PROBATION.of(probation.lineage), probation)
        write.append_decision(decision)
        caused = tell_blocked(loop, write, decision)
        write.put_stage(at, "decide", {"alarm": alarm.kind, "decision": decision.kind, **accounts, **caused})
    return {"alarm": alarm.kind, "decision": decision.kind, "reasons": list(decision.reasons)}


def weigh(loop: Loop, at: datetime) -> tuple[Decision, Decision]:
    """What the policies would decide at `at`, about the alarm and about retraining; writes nothing."""
    ledger, base = settle_accounts(loop, at), find_base(loop)
    probation = None if base is None else follow_probation(loop, at)
    alarm, decision, _ = _weigh(loop, at, ledger, base, probation)
    return alarm, decision


def _weigh(
    loop: Loop, at: datetime, ledger: Ledger, base: Base | None, probation: Probation | None
) -> tuple[Decision, Decision, dict[str, Any]]:
    champion = loop.champion()
    watch = get_watch(loop)
    alarm = decide_alarm(champion, watch, said=watch is not None and _said(loop, watch, at), now=at)
    last = loop.store.get_fact(TRAINING)
    attempted_at = last.at if last else None
    labels = count_labels(loop, at)
    accounts = _accounts(loop, base, at, labels)
    learning, fresh = _learning(loop, base, at, labels, ledger, accounts, alarm, probation)
    if learning is None and champion is not None:
        fresh = sum(w.labels for w in fresh_windows(loop, champion, at))
    evidence = RetrainingEvidence(
        champion=champion,
        labels=labels,
        fresh_labels=fresh,
        labels_at_last_attempt=last.labels if last else 0,
        last_attempt_at=attempted_at,
        ticks_since_attempt=tick_index(loop.project, at) - tick_index(loop.project, attempted_at)
        if attempted_at
        else 0,
        alarm=alarm,
        learning=learning,
        caused=count_caused(loop, at) / max(labels, 1),
    )
    return alarm, decide_retraining(evidence, loop.project, at), accounts


def _accounts(loop: Loop, base: Base | None, at: datetime, labels: int) -> dict[str, Any]:
    """The rows x rounds that a retraining on everything at every tick with new labels would have cost so far."""
    last = loop.store.last_outcome("decide", at) or {}
    before, full_cost = last.get("labels", 0), last.get("full_cost", 0)
    tick_cost = full_cost_per_tick(labels, None if base is None else base.manifest)
    if loop.version_of("champion") is not None and labels > before:
        full_cost += tick_cost
    return {"labels": labels, "full_cost": full_cost, "full_cost_per_tick": tick_cost}


def _learning(
    loop: Loop,
    base: Base | None,
    at: datetime,
    labels: int,
    ledger: Ledger,
    accounts: dict[str, Any],
    alarm: Decision,
    probation: Probation | None,
) -> tuple[Learning | None, int]:
    """What a step could learn and cost, and on how many fresh rows it is compared; None where none can be taken."""
    if base is None:
        return None, 0
    windows = new_windows(loop, base, at)
    ticks = (
        max(tick_index(loop.project, windows[-1].end_at) - tick_index(loop.project, base.until), 1) if windows else 1
    )
    a_tick = sum(w.labels for w in windows) / ticks
    models = loop.store.list_models()
    learning = Learning(
        plans=list_plans(
            loop.project,
            members=len(base.manifest.get("members", (None,))),
            whole=base.labels,
            labels=labels,
            rows_a_tick=a_tick,
            alarmed=alarm.kind != "quiet",
        ),
        outcomes=ledger.outcomes,
        rows_a_tick=a_tick,
        spent=sum(m.cost.row_rounds for m in models[1:]),
        full_cost=accounts["full_cost"],
        full_cost_per_tick=accounts["full_cost_per_tick"],
        broken=_broken(loop, at),
        unlabelled=_unlabelled(loop, at),
        harm=None if probation is None else probation.harm(loop.project.monitoring.alpha),
    )
    return learning, fresh_count(loop, windows)


def _unlabelled(loop: Loop, at: datetime) -> str | None:
    """Why labels are wanted: those of the last batches never came, or the newest batch is estimated to be worse."""
    settings, horizon = loop.project.monitoring, loop.project.data.feedback.horizon
    windows = [w for w in loop.store.list_windows() if w.end_at <= at and w.rows]
    due = [w for w in windows if w.end_at + horizon <= at][-UNLABELLED_BATCHES:]
    if len(due) == UNLABELLED_BATCHES and all(w.coverage < settings.min_coverage for w in due):
        shares = ", ".join(f"{w.coverage:.0%}" for w in due)
        return f"of the last {len(due)} batches whose horizon has passed, only {shares} of the labels came"
    champion = loop.champion()
    root = None if champion is None else loop.store.get_model(champion.root_version)
    warning = warn_of_estimate(champion, root, windows, loop.project, at)
    return None if warning is None else warning.body


def _broken(loop: Loop, at: datetime) -> str | None:
    """What is wrong with the newest batch, where a column that was there has gone."""
    checks = [check for check in loop.store.list_checks() if check.tick_at <= at]
    gone = gone_columns(checks[-1].facts) if checks else ()
    return f"of batch {checks[-1].batch}, {describe_fact(gone[0])}" if gone else None


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
    return any((e.get("lineage"), e.get("began")) == (watch.lineage, watch.began) for e in told)
