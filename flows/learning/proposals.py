"""Approvals: a person is asked about a challenger, and whatever comes of it closes the question.

Everything here happens inside a transaction of the store that somebody else has opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from homeostat.durations import instant
from homeostat.flows import facts
from homeostat.flows.loop import Loop, alert
from homeostat.metrics import gain
from homeostat.records import Approval, ApprovalState, Decision, ModelRecord, Severity
from homeostat.store import Writer

CHALLENGER = "challenger"
SUBJECT = "approval"
NEWEST_WINDOWS = 5
LOOP = "homeostat"


def propose(loop: Loop, write: Writer, at: datetime, record: ModelRecord, verdict: Decision) -> None:
    """Ask for approval of a challenger until `gates.approval_within` has passed; one that waits is superseded.

    In a tick of the past, the time to decide counts from now.
    """
    withdraw(loop, write, at, f"version {record.version} waits in its place")
    loop.models.set_alias(CHALLENGER, record.version)
    approval = Approval(record.version, at, loop.told_at(at) + loop.project.gates.approval_within)
    write.put_approval(approval)
    write.put_fact(facts.CHALLENGER, facts.Standing(record.version, at))
    title = f"version {record.version} waits for approval"
    write.append_alert(alert(at, Severity.WARNING, SUBJECT, title, _what_to_know(loop, approval, verdict)))


def withdraw(loop: Loop, write: Writer, at: datetime, why: str, *, but: int | None = None) -> None:
    """Supersede whatever waits for a person, except the version `but`."""
    for approval in loop.store.list_approvals(ApprovalState.OPEN):
        if approval.version != but:
            close(write, approval, at, ApprovalState.SUPERSEDED, None, why)


def close(
    write: Writer, approval: Approval, at: datetime, state: ApprovalState, by: str | None, why: str | None
) -> Approval:
    """Say what became of an approval, in the journal too; its alert asks nobody any more."""
    closed = dataclasses.replace(approval, state=state, decided_at=at, by=by, why=why or None)
    message = f"version {approval.version} {state.value}" + (f" by {by}" if by else "") + (f": {why}" if why else "")
    write.put_approval(closed)
    body = {
        "version": approval.version,
        "asked_at": instant(approval.asked_at),
        "by": by,
        "why": why,
        "message": message,
    }
    write.append_journal(at, f"approval/{approval.version}/{state.value}", f"approval_{state.value}", body)
    write.put_acknowledgement(alert_key(approval), at, by or LOOP, message)
    return closed


def forget_challenger(loop: Loop, write: Writer) -> None:
    """Take the challenger's alias and fact away; the alias first, so that doing it again mends a kill in between."""
    if loop.version_of(CHALLENGER) is not None:
        loop.models.delete_alias(CHALLENGER)
        write.drop_fact(facts.CHALLENGER)


def alert_key(approval: Approval) -> str:
    """The key of the alert that asks for an approval."""
    return f"{instant(approval.asked_at)}/{SUBJECT}"


def cost_of_waiting(loop: Loop, evidence: Mapping[str, Any]) -> tuple[float, float] | None:
    """What one more tick with the champion costs: about how many rows, and the loss on them all that would be saved.

    None where the losses were not compared or nothing was scored yet.
    """
    windows = loop.store.list_windows(newest=NEWEST_WINDOWS)
    if evidence.get("gain") is None or not windows:
        return None
    rows = sum(window.rows for window in windows) / len(windows)
    return rows, rows * evidence["gain"]


def _what_to_know(loop: Loop, approval: Approval, verdict: Decision) -> str:
    evidence, metric, version = verdict.evidence, loop.project.metric, approval.version
    sentences = [_metric_in_words(evidence, metric)]
    if evidence.get("gain") is not None:
        less = "less" if evidence["gain"] >= 0 else "more"
        lost = f"{abs(evidence['gain']):.4f} ± {evidence['gain_error']:.4f}"
        sentences.append(f"It loses {lost} {less} a row (one standard error).")
    if (cost := cost_of_waiting(loop, evidence)) is not None:
        does = "costs" if cost[1] >= 0 else "saves"
        sentences.append(f"Waiting {does} about {abs(cost[1]):.3g} of loss a tick, on {cost[0]:.0f} rows.")
    sentences.append(_groups_in_words(evidence.get("segments", ())))
    sentences.append(
        f"It expires at {approval.due_at:%Y-%m-%d %H:%M} UTC. In the project's folder, 'homeostat approve --version "
        f"{version}' puts it in place, 'homeostat reject --version {version} --why REASON' drops it."
    )
    return " ".join(part for part in sentences if part)


def _metric_in_words(evidence: Mapping[str, Any], metric: str) -> str:
    new, old = (evidence[f"{side}_metrics"][metric] for side in ("challenger", "champion"))
    better = gain(metric, new, old)
    return (
        f"{metric} {new:.4f}, against {old:.4f} of version {evidence['champion']}, on the same {evidence['rows']} "
        f"fresh rows: {'better' if better >= 0 else 'worse'} by {abs(better):.4f}."
    )


def _groups_in_words(groups: Sequence[Mapping[str, Any]]) -> str:
    worse = [f"{group['column']} = {group['value']} (by {-group['gain']:.4f})" for group in groups if group["worse"]]
    if worse:
        return f"It loses more where {', '.join(worse)}."
    return f"None of {len(groups)} segments gets worse." if groups else ""
