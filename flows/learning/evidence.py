"""What is known when retraining is decided: outcomes, probation, accounts, and what each way to learn would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from homeostat.decisions import AlarmKind
from homeostat.flows.learning.outcomes import Ledger, settle_accounts
from homeostat.flows.learning.port import Accounts, LearningPort, Span
from homeostat.flows.learning.probation import follow_probation
from homeostat.flows.learning.rules import count_labels, full_cost_per_tick, list_plans
from homeostat.flows.learning.step import Base, find_base, find_fresh, fresh_spans
from homeostat.flows.loop import tick_index
from homeostat.monitoring.retraining.evidence import Learning, RetrainingEvidence
from homeostat.monitoring.retraining.policies import decide_retraining
from homeostat.monitoring.retraining.probation import Probation
from homeostat.project import Project
from homeostat.records import Decision

UNLABELLED_BATCHES = 3
# Labels have stopped where so much less of them comes than used to.
STOPPED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Deliberation:
    """The retraining decision of a tick, and what was found out on the way and must be kept."""

    decision: Decision
    ledger: Ledger
    accounts: Accounts
    probation: Probation | None


def deliberate(port: LearningPort, at: datetime, *, alarm: Decision, caused: float = 0.0) -> Deliberation:
    """Gather what is known at `at` and decide about retraining; writes nothing.

    `caused` is the share of labels that an action on the model's own score caused.
    """
    ledger, base, champion = settle_accounts(port, at), find_base(port), port.champion()
    probation = follow_probation(port, at)
    harm = None if probation is None else probation.harm(port.project.monitoring.alpha)
    last, labels, due = port.training(), port.count_labels(at), _due(port, at)
    accounts = _accounts(port, at, labels)
    if base is not None:
        learning, fresh = _learning(port, base, at, ledger, accounts, alarm)
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
        caused=caused,
        broken=port.broken(at),
        harm=harm,
        held=None if probation is None or harm is None else _held(port, probation, at),
        unlabelled=_unlabelled(port, due, at),
        stopped=_stopped(port, due),
        fallen=port.fallen(at),
    )
    return Deliberation(decide_retraining(evidence, port.project, at), ledger, accounts, probation)


def _held(port: LearningPort, probation: Probation, at: datetime) -> str | None:
    """Why the root version does not come back by itself: a person's rollback holds, or was from that version."""
    return port.word(at).held or port.declared_bad(probation.lineage)


def _accounts(port: LearningPort, at: datetime, labels: int) -> Accounts:
    """The rows x rounds that a retraining on everything at every tick with new labels would have cost so far."""
    before, a_tick = port.accounts(at), full_cost_per_tick(labels, port.project)
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
) -> tuple[Learning, int]:
    """What a step could learn and cost, and on how many fresh rows it is compared."""
    fresh = find_fresh(port, base, at)
    a_tick = _labels_a_tick(port.project, base, fresh.new)
    plans = list_plans(
        port.project,
        manifest=base.manifest,
        whole=base.labels,
        labels=accounts.labels,
        rows_a_tick=a_tick,
        alarmed=AlarmKind(alarm.kind).stands,
    )
    learning = Learning(
        plans=plans,
        outcomes=ledger.outcomes(at, port.project.loop.tick),
        rows_a_tick=a_tick,
        new_labels=count_labels(fresh.new),
        spent=port.spent(),
        full_cost=accounts.full_cost,
        full_cost_per_tick=accounts.full_cost_per_tick,
    )
    return learning, fresh.rows


def _labels_a_tick(project: Project, base: Base, spans: Sequence[Span]) -> float:
    if not spans:
        return 0.0
    ticks = tick_index(project, spans[-1].end_at) - tick_index(project, base.until)
    return count_labels(spans) / max(ticks, 1)


def _unlabelled(port: LearningPort, due: Sequence[Span], at: datetime) -> str | None:
    """Why labels are wanted: those of the last batches never came, or the newest batch is estimated to be worse.

    They are not where they are on schedule: where no batch past its horizon lacks them.
    """
    newest = due[-UNLABELLED_BATCHES:]
    if _never_came(port, newest):
        return f"of the last {len(newest)} batches whose horizon has passed, only {_shares(newest)} of the labels came"
    if all(span.coverage >= port.project.monitoring.min_coverage for span in newest):
        return None
    return port.estimated_worse(at)


def _stopped(port: LearningPort, due: Sequence[Span]) -> str | None:
    """That labels used to come and no longer do: of the last batches much less has come than of those before."""
    newest, earlier = due[-UNLABELLED_BATCHES:], due[:-UNLABELLED_BATCHES]
    rows = sum(span.rows for span in earlier)
    if not rows or not _never_came(port, newest):
        return None
    usual = sum(span.coverage * span.rows for span in earlier) / rows
    if any(span.coverage >= STOPPED_SHARE * usual for span in newest):
        return None
    return (
        f"labels no longer come: only {_shares(newest)} of those of the last {len(newest)} batches whose horizon has "
        f"passed, against {usual:.0%} before"
    )


def _due(port: LearningPort, at: datetime) -> list[Span]:
    """The batches whose labels should be there by now."""
    horizon = port.project.data.feedback.horizon
    return [span for span in port.spans(at) if span.end_at <= at - horizon]


def _never_came(port: LearningPort, due: Sequence[Span]) -> bool:
    least = port.project.monitoring.min_coverage
    return len(due) == UNLABELLED_BATCHES and all(span.coverage < least for span in due)


def _shares(due: Sequence[Span]) -> str:
    return ", ".join(f"{span.coverage:.0%}" for span in due)
