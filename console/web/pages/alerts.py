"""Alerts: what a person should know, who deals with it, and what is being done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from homeostat.console.web.pages.acts import MOST_TYPED, Approver, Text, Viewer, back_to, may, site_of
from homeostat.console.web.pages.page import PAGES, Page
from homeostat.console.web.rendering import page
from homeostat.console.web.security.dependencies import Role
from homeostat.durations import parse_duration
from homeostat.errors import HomeostatError
from homeostat.records import Alert, AlertStatus, Severity

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop

router = APIRouter(prefix="/projects/{name}/alerts", include_in_schema=False)
PAGES.add("alerts", Page(router, "Alerts", place=50))
SPANS = {"1h": "1 hour", "1d": "1 day", "1w": "1 week"}
SHOWN = {"open": "open", "quiet": "snoozed", "seen": "acknowledged", "all": "all"}
DONE = {"acknowledge": "Acknowledged.", "snooze": "Snoozed.", "reopen": "Reopened."}
ORDER = {"open": 0, "quiet": 1}
"""Which states come first; all others follow."""
MOST = 100
LONG = 420
BLANK = {"key": "", "note": "", "span": "1d", "until": "", "mistake": ""}


@router.get("")
def alerts(
    request: Request, name: str, person: Viewer, show: str = "open", severity: str = "any", done: str = ""
) -> Response:
    """The inbox: open alerts first, then by time, the newest first."""
    return _page(request, name, show, severity, done=DONE.get(done))


@router.get("/list")
def listed(
    request: Request, name: str, person: Viewer, show: str = "open", severity: str = "any", state: str = ""
) -> Response:
    """The list as a part of the page; 204 where it has not changed."""
    shown = _inbox(request, name, show, severity)
    return Response(status_code=204) if shown["token"] == state else page(request, "alerts_list.html", **shown)


@router.post("/act")
def act(
    request: Request,
    name: str,
    person: Approver,
    key: Text,
    act: Text,
    note: Text = "",
    span: Text = "1d",
    until: Text = "",
    show: Text = "open",
    severity: Text = "any",
) -> Response:
    """Acknowledge, snooze or reopen an alert; journaled with the person."""
    from homeostat.flows import alerts as inbox

    site = site_of(request)
    loop, at, note = site.loop(name), site.clock(), note.strip()[:MOST_TYPED]
    try:
        if act == "acknowledge":
            inbox.acknowledge(loop, at, person.name, key, note)
        elif act == "snooze":
            inbox.snooze(loop, at, person.name, key, _end_of(span, until, at))
        elif act == "reopen":
            inbox.reopen(loop, at, person.name, key)
        else:
            raise HomeostatError("This page has no such action.")
    except HomeostatError as mistake:
        typed = {"key": key, "note": note, "span": span, "until": until, "mistake": mistake.args[0]}
        return _page(request, name, show, severity, typed=typed)
    return back_to(name, "alerts", show=show, severity=severity, done=act)


def _end_of(span: str, until: str, at: datetime) -> datetime:
    if span in SPANS:
        return at + parse_duration(span)
    try:
        ends = datetime.fromisoformat(until)
    except ValueError:
        raise HomeostatError("Until when? Enter a date and a time.") from None
    return ends if ends.tzinfo else ends.replace(tzinfo=UTC)


def _page(
    request: Request,
    name: str,
    show: str,
    severity: str,
    *,
    done: str | None = None,
    typed: dict[str, str] | None = None,
) -> Response:
    shown = _inbox(request, name, show, severity, typed)
    return page(request, "alerts.html", 409 if typed else 200, project=name, tab="alerts", done=done, **shown)


def _inbox(
    request: Request, name: str, show: str, severity: str, typed: dict[str, str] | None = None
) -> dict[str, Any]:
    site = site_of(request)
    loop, at = site.loop(name), site.clock()
    show = show if show in SHOWN else "open"
    of_severity = [item for item in _list(loop, at) if severity in ("any", item.alert.severity.value)]
    counts = {state: sum(state in ("all", item.state) for item in of_severity) for state in SHOWN}
    shown = [item for item in of_severity if show in ("all", item.state)]
    content = [(item.alert.key, item.state, item.status.problem, item.status.note) for item in shown]
    return {
        "name": name,
        "listed": shown[:MOST],
        "more": max(0, len(shown) - MOST),
        "counts": counts,
        "show": show,
        "shows": SHOWN,
        "severity": severity,
        "severities": [level.value for level in reversed(Severity)],
        "spans": SPANS,
        "typed": typed or BLANK,
        "blank": BLANK,
        "long": LONG,
        "may_act": may(request, Role.APPROVER),
        "token": hashlib.sha256(repr((content, counts)).encode()).hexdigest()[:16],
    }


@dataclass(frozen=True, slots=True)
class InboxItem:
    """An alert as the page lists it; `sent` is False where alerts are delivered to nobody, as in a replay."""

    alert: Alert
    status: AlertStatus
    state: str
    sent: bool


def _list(loop: Loop, at: datetime) -> list[InboxItem]:
    """Every alert with its state: open alerts first, then by time, the newest first."""
    from homeostat.flows.alerts import list_inbox, state_of

    inbox = list_inbox(loop)
    items = [InboxItem(alert, status, state_of(alert, status, at), not loop.replaying) for alert, status in inbox]
    newest = sorted(items, key=lambda item: (item.alert.at, item.alert.key), reverse=True)
    return sorted(newest, key=lambda item: ORDER.get(item.state, len(ORDER)))
