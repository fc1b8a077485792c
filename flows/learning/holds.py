"""A person's rollback: the version it goes back to, how long it holds, and who lifts it.

While it holds nothing takes the champion's place without a person. Steps go on being taken and compared, and what would
have been promoted is proposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from homeostat.decisions import PromotionKind
from homeostat.durations import instant
from homeostat.errors import HomeostatError
from homeostat.flows.facts import HOLD, Hold
from homeostat.flows.learning.port import Word
from homeostat.flows.loop import Loop, alert
from homeostat.records import Approval, ApprovalState, Decision, Severity
from homeostat.store import Writer

LIFT = "'homeostat rollback --lift'"
ROLLBACK = "rollback"


def standing_hold(loop: Loop, at: datetime | None) -> Hold | None:
    """The rollback that holds at a time; None where there is none, or its time is over."""
    hold = loop.store.get_fact(HOLD)
    over = hold is not None and hold.until is not None and at is not None and hold.until <= at
    return None if over else hold


def hold_from(loop: Loop, at: datetime, *, version: int, replaced: int, who: str, why: str) -> Hold:
    """The hold of a rollback that somebody makes at a time, for as long as `gates.rollback_holds` says."""
    holds = loop.project.gates.rollback_holds
    return Hold(version, replaced, at, who, why, None if holds is None else at + holds)


def describe_hold(hold: Hold) -> str:
    """A hold in words."""
    until = f"until {instant(hold.until)}" if hold.until is not None else "until somebody lifts it"
    why = f" ({hold.why})" if hold.why else ""
    return f"{hold.by} rolled back from version {hold.replaced} to version {hold.version}{why}, which holds {until}"


def lift(loop: Loop, at: datetime, who: str, why: str = "") -> Hold:
    """Let the loop promote by itself again, because a person says so. Raises HomeostatError where no rollback holds."""
    with loop.store.write("lifted") as write:
        hold = standing_hold(loop, at)
        if hold is None:
            raise HomeostatError("rollback --lift: no rollback holds.", "The loop promotes by the project's gates.")
        drop_hold(loop, write, at, who, why)
    return hold


def end_hold(loop: Loop, at: datetime) -> None:
    """End the hold whose time is over, and tell of it."""
    hold = loop.store.get_fact(HOLD)
    if hold is None or standing_hold(loop, at) is not None:
        return
    with loop.store.write("hold_ended") as write:
        if loop.store.get_fact(HOLD) != hold:
            return
        write.drop_fact(HOLD)
        message = f"the rollback to version {hold.version} no longer holds: its time is over (gates.rollback_holds)"
        body = {"version": hold.version, "since": instant(hold.since), "message": message}
        write.append_journal(at, f"{instant(hold.since)}/rollback_ended", "rollback_ended", body)
        title = f"the rollback to version {hold.version} no longer holds"
        write.append_alert(alert(at, Severity.INFO, "rollback_ended", title, "The loop promotes by itself again."))


def drop_hold(loop: Loop, write: Writer, at: datetime, who: str, why: str) -> None:
    """Lift whatever hold there is, in a transaction that somebody else has opened; in the journal by name."""
    hold = loop.store.get_fact(HOLD)
    if hold is None:
        return
    write.drop_fact(HOLD)
    body = {"version": hold.version, "since": instant(hold.since), "by": who, "why": why}
    write.append_journal(at, f"{instant(hold.since)}/rollback_lifted", "rollback_lifted", body)


def word_of(loop: Loop, at: datetime) -> Word:
    """What people have said that a step of a loop must heed at a time."""
    hold = standing_hold(loop, at)
    waiting = next((approval.version for approval in loop.store.list_approvals(ApprovalState.OPEN)), None)
    declined, cooling = next(_cooling(loop, hold, at), (None, None))
    return Word(None if hold is None else describe_hold(hold), waiting, declined, cooling)


def cooling_until(loop: Loop, approval: Approval) -> datetime | None:
    """Until when nobody is asked again after a rejection; None where it was no rejection."""
    if approval.state is not ApprovalState.REJECTED or approval.decided_at is None:
        return None
    gates = loop.project.gates
    return approval.decided_at + (
        gates.approval_within if gates.rejection_cooldown is None else gates.rejection_cooldown
    )


def _cooling(loop: Loop, hold: Hold | None, at: datetime) -> Iterator[tuple[int, str]]:
    """The versions that were declined and why nobody is asked again yet, the newest first."""
    closed = [approval for approval in loop.store.list_approvals() if approval.decided_at is not None]
    for approval in sorted(closed, key=lambda each: str(each.decided_at), reverse=True):
        until = cooling_until(loop, approval)
        if until is not None and until > at:
            words = (
                f"version {approval.version} was rejected by {approval.by}, and nobody is asked before {instant(until)}"
            )
            yield approval.version, words
        if hold is not None and approval.state is ApprovalState.EXPIRED and approval.asked_at >= hold.since:
            yield approval.version, f"version {approval.version} was proposed since the rollback and not approved"


def list_champions(loop: Loop) -> tuple[list[int], set[int]]:
    """The champions that a rollback can go back through, oldest first, and the versions that were declared bad.

    A rollback takes off the list what came after the version it went back to, and declares bad what it replaced.
    Whoever promotes such a version by name takes that back.
    """
    made = loop.store.list_decisions("promotion", kinds=(PromotionKind.PROMOTE,))
    made += loop.store.list_decisions(ROLLBACK)
    return walk(sorted(made, key=lambda decision: decision.tick_at), loop.version_of("champion"))


def walk(made: Iterable[Decision], champion: int | None) -> tuple[list[int], set[int]]:
    """As `list_champions`, of promotions and rollbacks, oldest first; pure. `champion` serves, however it came to."""
    line: list[int] = []
    bad: set[int] = set()
    for decision in made:
        version = decision.model_version
        if version is None:
            continue
        if decision.stage == ROLLBACK:
            bad.add(int(decision.evidence["from"]))
        if decision.stage == ROLLBACK and version in line:
            line = line[: len(line) - line[::-1].index(version)]
        elif not line or line[-1] != version:
            line.append(version)
        bad.discard(version)
    if champion is not None and line[-1:] != [champion]:
        line.append(champion)
    return line, bad


def previous_champion(loop: Loop) -> int | None:
    """The version that a rollback without a name goes back to: the last champion before this one not declared bad."""
    line, bad = list_champions(loop)
    return next((version for version in reversed(line[:-1]) if version not in bad and version != line[-1]), None)
