"""The inbox at the command line: alerts, their status, and what a person does about them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeostat.console.arguments import HERE, AsJson, Folder, FromWhere, instant_option, now, open_for_reading, person
from homeostat.console.output import say, say_json, say_table
from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop
    from homeostat.records import Alert, AlertStatus


def add_to(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("alerts")(alerts)


def alerts(
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="How many of the newest to show.")] = 50,
    only_open: Annotated[bool, typer.Option("--open", help="Only open alerts.")] = False,
    acknowledged: Annotated[
        str | None, typer.Option("--acknowledge", metavar="KEY", help="Acknowledge this alert.")
    ] = None,
    note: Annotated[str, typer.Option(help="What is being done about it.")] = "",
    snoozed: Annotated[str | None, typer.Option("--snooze", metavar="KEY", help="Snooze this alert.")] = None,
    until: Annotated[str | None, typer.Option(help="Until when, or for how long, as in 1d.")] = None,
    reopened: Annotated[str | None, typer.Option("--reopen", metavar="KEY", help="Reopen this alert.")] = None,
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """List alerts, newest last, with their status; acknowledge, snooze or reopen one, journaled with your name."""
    from homeostat.flows import alerts as inbox

    loop, at = open_for_reading(folder, from_), now()
    named = [key for key in (acknowledged, snoozed, reopened) if key is not None]
    if len(named) > 1:
        raise HomeostatError("alerts: more than one action.", "Give one of --acknowledge, --snooze, --reopen.")
    if named:
        alert = inbox.find_alert(loop, named[0])
        if acknowledged is not None:
            inbox.acknowledge(loop, at, person(), alert.key, note)
        elif reopened is not None:
            inbox.reopen(loop, at, person(), alert.key)
        else:
            inbox.snooze(loop, at, person(), alert.key, read_until(until, at))
        _tell_one(loop, alert, at, as_json)
        return
    pairs = [pair for pair in inbox.list_inbox(loop) if not only_open or inbox.state_of(*pair, at) == "open"][-limit:]
    if as_json:
        say_json([_facts(*pair) for pair in pairs])
    else:
        say_table(f"Alerts of {loop.paths.model_name}", ["key", "severity", "state", "title", "details"],
                  [(a.key, a.severity.value, state_of(s, at), a.title, a.body) for a, s in pairs])  # fmt: skip


def read_until(text: str | None, at: datetime) -> datetime:
    """When a snooze ends: a time, or so long after `at`. Raises HomeostatError where it is neither."""
    from homeostat.durations import parse_duration

    if text is None:
        raise HomeostatError("alerts --snooze: until when?", "Give --until with a time or a duration, as in 1d.")
    try:
        return at + parse_duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        ends = instant_option("--until", text)
    except HomeostatError:
        hint = "Expected an ISO time, as in 2020-03-01, or a duration, as in 1d."
        raise HomeostatError(f"--until {text!r}: not a time.", hint) from None
    assert ends is not None
    return ends


def state_of(status: AlertStatus, at: datetime) -> str:
    """The status of an alert, in words."""
    if status.acknowledged_at is not None:
        return f"acknowledged by {status.acknowledged_by}" + (f": {status.note}" if status.note else "")
    if status.snoozed_until is not None and status.snoozed_until > at:
        return f"snoozed until {status.snoozed_until:%Y-%m-%d %H:%M}"
    return "open"


def _tell_one(loop: Loop, alert: Alert, at: datetime, as_json: bool) -> None:
    status = loop.store.list_alert_statuses([alert.key])[alert.key]
    if as_json:
        say_json(_facts(alert, status))
    else:
        say(f"{alert.title}: {state_of(status, at)}.")


def _facts(alert: Alert, status: AlertStatus) -> dict[str, Any]:
    from homeostat.store import rows

    return {**rows.values(alert), **rows.values(status)}
