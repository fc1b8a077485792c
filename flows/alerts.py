"""What a person does about an alert: says that it is seen to, or that it is to be quiet for a while; journaled."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from homeostat.durations import instant
from homeostat.errors import HomeostatError
from homeostat.flows.loop import Loop
from homeostat.records import Alert, AlertStatus, Severity
from homeostat.store import Writer


def list_inbox(loop: Loop) -> list[tuple[Alert, AlertStatus]]:
    """Every alert with what became of it, oldest first."""
    statuses = loop.store.list_alert_statuses()
    return [(alert, statuses[alert.key]) for alert in loop.store.list_alerts() if alert.key in statuses]


def state_of(alert: Alert, status: AlertStatus, at: datetime) -> str:
    """Where an alert is: "open" asks for somebody, "quiet" will again, "seen" has somebody, "told" never asked."""
    if status.acknowledged_at is not None:
        return "seen"
    if is_quiet(status, at):
        return "quiet"
    return "told" if alert.severity is Severity.INFO else "open"


def is_quiet(status: AlertStatus, at: datetime) -> bool:
    """Whether an alert is snoozed now."""
    return status.snoozed_until is not None and status.snoozed_until > at


def acknowledge(loop: Loop, at: datetime, who: str, key: str, note: str = "") -> None:
    """Say that somebody sees to an alert, and what is being done. Raises HomeostatError where there is none."""
    with loop.store.write("inbox") as write:
        _known(write.put_acknowledgement(key, at, who, note.strip() or None), key)
        write.put_snooze(key, None)
        _journal(write, at, key, "alert_acknowledged", {"by": who, "note": note.strip()})


def reopen(loop: Loop, at: datetime, who: str, key: str) -> None:
    """Take an acknowledgement or a snooze back. Raises HomeostatError where there is no such alert."""
    with loop.store.write("inbox") as write:
        _known(write.put_acknowledgement(key, None, None, None), key)
        write.put_snooze(key, None)
        _journal(write, at, key, "alert_reopened", {"by": who})


def snooze(loop: Loop, at: datetime, who: str, key: str, until: datetime) -> None:
    """Let an alert be quiet until a time; unless somebody sees to it by then, it is told once more.

    Raises HomeostatError where there is no such alert, or the time has passed.
    """
    if until <= at:
        raise HomeostatError(f"snooze: {instant(until)} has passed.", "Give a time to come, or how long, as in 1d.")
    with loop.store.write("inbox") as write:
        _known(write.put_snooze(key, until), key)
        write.put_acknowledgement(key, None, None, None)
        _journal(write, at, key, "alert_snoozed", {"by": who, "until": instant(until)})


def wake(write: Writer, key: str, at: datetime) -> None:
    """End a snooze that is over, in the transaction that keeps the second delivery."""
    write.put_snooze(key, None)
    _journal(write, at, key, "alert_woke", {})


def list_due(loop: Loop, at: datetime) -> tuple[list[Alert], set[str]]:
    """The alerts that are to be delivered now, oldest first, and the keys of those whose snooze is over.

    What is quiet waits. A snooze that is over asks again only where nobody has seen to the alert.
    """
    snoozed = loop.store.list_alert_statuses(snoozed=True)
    over = {key for key, status in snoozed.items() if not is_quiet(status, at)}
    waiting = [alert for alert in loop.store.list_alerts(undelivered=True) if alert.key not in snoozed.keys() - over]
    known = {alert.key for alert in waiting}
    awake = [a for a in loop.store.list_alerts() if a.key in over - known] if over - known else []
    return sorted([*waiting, *awake], key=lambda alert: (alert.at, alert.key)), over


def find_alert(loop: Loop, key: str) -> Alert:
    """The alert of a key, or of the only key that it begins. Raises HomeostatError where it names none or several."""
    alerts = loop.store.list_alerts()
    exact = [alert for alert in alerts if alert.key == key]
    matches = exact or [alert for alert in alerts if key and alert.key.startswith(key)]
    if len(matches) == 1:
        return matches[0]
    what = "there is no such alert" if not matches else f"{len(matches)} alerts begin so"
    raise HomeostatError(f"alerts: {key!r}: {what}.", "'homeostat alerts' lists the keys.")


def _known(there: bool, key: str) -> None:
    if not there:
        raise HomeostatError(f"alerts: {key!r}: there is no such alert.", "'homeostat alerts' lists the keys.")


def _journal(write: Writer, at: datetime, key: str, kind: str, body: dict[str, Any]) -> None:
    write.append_journal(at, f"{instant(at)}/{kind}/{key}"[:200], kind, {"alert": key, **body})
