"""What is known when retraining is decided: outcomes, probation, accounts, and what each way to learn would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from homeostat.decisions import AlarmKind
from homeostat.flows.learning.outcomes import Ledger, settle_accounts
from homeostat.flows.learning.port import Accounts, LearningPort, Span
from homeostat.flows.learning.probation import follow_probation
from homeostat.flows.learning.rules import full_cost_per_tick, list_plans
from homeostat.flows.learning.step import Base, find_base, fresh_count, fresh_spans, new_spans
from homeostat.flows.loop import tick_index
from homeostat.monitoring.retraining.policies import Learning, RetrainingEvidence, decide_retraining
from homeostat.monitoring.retraining.probation import Probation
from homeostat.project import Project
from homeostat.records import Decision

UNLABELLED_BATCHES = 3


@dataclass(frozen=True, slots=True)
class Deliberation:
    """The retraining decision of a tick, and what was found out on the way and must be kept."""

    decision: Decision
    ledger: Ledger
    accounts: Accounts
    probation: Probation | None


def deliberate(port: LearningPort, at: datetime, *, alarm: Decision, caused: int = 0) -> Deliberation:
    """Gather what is known at `at` and decide about retraining; writes nothing.

    `caused` counts labels that an action on the model's own score caused.
    """
    ledger, base, champion = settle_accounts(port, at), find_base(port), port.champion()
    probation = None if base is None else follow_probation(port, at)
    last, labels = port.training(), port.count_labels(at)
    accounts = _accounts(port, base, at, labels)
    if base is not None:
        learning, fresh = _learning(port, base, at, ledger, accounts, alarm, probation)
    else:
        learning, fresh = None, sum(span.labels for span in fresh_spans(port, champion, at))
    evidence = RetrainingEvidence(
        champion=champion,
        labels=labels,
        fresh_labels=fresh,
        labels_at_last_attempt=last.labels if last else 0,
        last_attempt_at=last.at if last else None,
        ticks_since_attempt=tick_index(port.project, at) - tick_index(port.project, last.at) if last else 0,
        alarm=alarm,
        learning=learning,
        caused=caused / max(labels, 1),
    )
    return Deliberation(decide_retraining(evidence, port.project, at), ledger, accounts, probation)


def _accounts(port: LearningPort, base: Base | None, at: datetime, labels: int) -> Accounts:
    """The rows x rounds that a retraining on everything at every tick with new labels would have cost so far."""
    before, a_tick = port.accounts(at), full_cost_per_tick(labels, None if base is None else base.manifest)
    counts = port.champion() is not None and labels > before.labels
    full_cost = before.full_cost + (a_tick if counts else 0)
    return Accounts(labels=labels, full_cost=full_cost, full_cost_per_tick=a_tick)


def _learning(
    port: LearningPort,
    base: Base,
    at: datetime,
    ledger: Ledger,
    accounts: Accounts,
    alarm: Decision,
    probation: Probation | None,
) -> tuple[Learning, int]:
    """What a step could learn and cost, and on how many fresh rows it is compared."""
    spans = new_spans(port, base, at)
    a_tick = _labels_a_tick(port.project, base, spans)
    plans = list_plans(
        port.project,
        members=len(base.manifest.get("members", (None,))),
        whole=base.labels,
        labels=accounts.labels,
        rows_a_tick=a_tick,
        alarmed=AlarmKind(alarm.kind).stands,
    )
    learning = Learning(
        plans=plans,
        outcomes=ledger.outcomes,
        rows_a_tick=a_tick,
        spent=port.spent(),
        full_cost=accounts.full_cost,
        full_cost_per_tick=accounts.full_cost_per_tick,
        broken=port.broken(at),
        unlabelled=_unlabelled(port, at),
        harm=None if probation is None else probation.harm(port.project.monitoring.alpha),
    )
    return learning, fresh_count(port.project, spans)


def _labels_a_tick(project: Project, base: Base, spans: Sequence[Span]) -> float:
    if not spans:
        return 0.0
    ticks = tick_index(project, spans[-1].end_at) - tick_index(project, base.until)
    return sum(span.labels for span in spans) / max(ticks, 1)


def _unlabelled(port: LearningPort, at: datetime) -> str | None:
    """Why labels are wanted: those of the last batches never came, or the newest batch is estimated to be worse."""
    settings, horizon = port.project.monitoring, port.project.data.feedback.horizon
    due = port.spans(at - horizon)[-UNLABELLED_BATCHES:]
    if len(due) == UNLABELLED_BATCHES and all(span.coverage < settings.min_coverage for span in due):
        shares = ", ".join(f"{span.coverage:.0%}" for span in due)
        return f"of the last {len(due)} batches whose horizon has passed, only {shares} of the labels came"
    return port.estimated_worse(at)
