"""What a person decides about a challenger that waits: approve, or reject; and what nobody decides in time.

None of it needs the lock of a run: each is one transaction, which looks again whether what it goes by still holds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from homeostat.decisions import PromotionKind
from homeostat.durations import instant
from homeostat.errors import HomeostatError
from homeostat.flows.events import MODEL_APPROVED, MODEL_REJECTED, announce_word
from homeostat.flows.learning.promotion import promote
from homeostat.flows.learning.proposals import close, cost_of_waiting, forget_challenger
from homeostat.flows.loop import Loop, alert
from homeostat.records import Approval, ApprovalState, Decision, Severity
from homeostat.registry.promotion import list_gates


def list_open(loop: Loop) -> list[Approval]:
    """The approvals that wait for a person; one at most, since a newer one supersedes it."""
    return loop.store.list_approvals(ApprovalState.OPEN)


def approve(loop: Loop, at: datetime, who: str, why: str = "", version: int | None = None) -> Decision:
    """Make the challenger that waits champion, exactly as it was compared; journaled with the person.

    Raises HomeostatError where none waits, where it expired, or where it was compared with another champion.
    """
    approval = _find_waiting(loop, at, version, "approve")
    asked = compared(loop, approval)
    record = loop.store.get_model(approval.version)
    assert record is not None
    reason = f"approved by {who}" + (f": {why}" if why else "")
    evidence = {**asked.evidence, "by": who, "why": why, "asked_at": instant(approval.asked_at)}
    verdict = Decision(at, "promotion", PromotionKind.PROMOTE, (reason, *asked.reasons), evidence, approval.version)
    loop.models.load(approval.version)
    promote(loop, at, record, verdict, insist=lambda: _insist(loop, at, approval, asked))
    announce_word(loop, MODEL_APPROVED, {"version": approval.version, "by": who})
    return verdict


def reject(loop: Loop, at: datetime, who: str, why: str, version: int | None = None) -> Approval:
    """Drop the challenger that waits, for a reason; the champion stays and the loop goes on.

    Raises HomeostatError where none waits or no reason is given.
    """
    if not why.strip():
        raise HomeostatError("reject: no reason given.", "Say why, for those who read the journal: --why REASON.")
    approval = _find_waiting(loop, at, version, "reject")
    with loop.store.write("rejected") as write:
        _find_waiting(loop, at, approval.version, "reject")
        forget_challenger(loop, write)
        closed = close(write, approval, at, ApprovalState.REJECTED, who, why.strip())
    announce_word(loop, MODEL_REJECTED, {"version": closed.version, "by": who, "why": closed.why})
    return closed


def expire(loop: Loop, at: datetime) -> list[Approval]:
    """Drop the challengers that nobody decided about in time, and tell of it; returns them."""
    if not _overdue(loop, at):
        return []
    with loop.store.write("expired") as write:
        over = _overdue(loop, at)
        if over:
            forget_challenger(loop, write)
        for approval in over:
            close(write, approval, at, ApprovalState.EXPIRED, None, f"nobody decided by {instant(approval.due_at)}")
            title = f"version {approval.version} was not approved in time"
            body = f"It had waited since {approval.asked_at:%Y-%m-%d %H:%M} UTC and is dropped; the champion stays."
            hint = f" 'homeostat promote --version {approval.version}' puts it in place all the same."
            write.append_alert(alert(at, Severity.WARNING, "approval_expired", title, body + hint))
    return over


def compared(loop: Loop, approval: Approval) -> Decision:
    """The decision to ask for approval of a challenger, with what was compared."""
    decision = loop.store.get_decision(approval.asked_at, "promotion")
    if decision is None or decision.model_version != approval.version:
        raise HomeostatError(
            f"approve: what version {approval.version} was compared on is not known any more.",
            f"'homeostat promote --version {approval.version}' puts it in place all the same.",
        )
    return decision


def describe(loop: Loop, approval: Approval) -> dict[str, Any]:
    """Everything a person needs to decide about an approval, in plain values.

    Raises HomeostatError where what was compared is not known any more.
    """
    asked = compared(loop, approval)
    evidence, gates = asked.evidence, list_gates(asked.evidence)
    waiting = cost_of_waiting(loop, evidence)
    models = {side: loop.store.get_model(evidence[side]) for side in ("champion", "challenger")}
    return {
        "approval": approval,
        "metric": loop.project.metric,
        "reasons": list(asked.reasons),
        "evidence": evidence,
        "gates": gates,
        "segments": evidence.get("segments", []),
        "fairness": evidence.get("fairness", []),
        "waiting": None if waiting is None else {"rows": waiting[0], "loss": waiting[1]},
        "models": models,
        "stale": evidence["champion"] != loop.version_of("champion"),
    }


def _overdue(loop: Loop, at: datetime) -> list[Approval]:
    return [approval for approval in list_open(loop) if approval.due_at <= at]


def _find_waiting(loop: Loop, at: datetime, version: int | None, act: str) -> Approval:
    """The approval that waits and is meant. Raises HomeostatError where there is none, saying what became of it."""
    waiting = {approval.version: approval for approval in list_open(loop)}
    approval = next(iter(waiting.values()), None) if version is None else waiting.get(version)
    if approval is None:
        raise HomeostatError(f"{act}: {_whereabouts(loop, version)}.", _override(version))
    if approval.due_at <= at:
        until = f"{approval.due_at:%Y-%m-%d %H:%M} UTC"
        raise HomeostatError(
            f"{act}: version {approval.version} expired; it waited until {until}.", _override(approval.version)
        )
    return approval


def _insist(loop: Loop, at: datetime, approval: Approval, asked: Decision) -> None:
    """Raise HomeostatError where it no longer waits, or was compared with another version than the champion."""
    _find_waiting(loop, at, approval.version, "approve")
    champion = loop.version_of("champion")
    if asked.evidence["champion"] != champion:
        raise HomeostatError(
            f"approve: version {approval.version} was compared with version {asked.evidence['champion']}, and version "
            f"{champion} is champion now.",
            _override(approval.version),
        )


def _whereabouts(loop: Loop, version: int | None) -> str:
    if version is None:
        return "no challenger waits for approval"
    approval = {approval.version: approval for approval in loop.store.list_approvals()}.get(version)
    if approval is None:
        return f"version {version} does not wait for approval"
    by = f" by {approval.by}" if approval.by else ""
    return f"version {version} was {approval.state.value}{by}{f' ({approval.why})' if approval.why else ''}"


def _override(version: int | None) -> str:
    named = f" --version {version}" if version is not None else " --version N"
    return f"'homeostat promote{named}' makes a version champion whatever was compared."
