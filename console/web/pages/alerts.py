"""Alerts: what a person should know, who sees to it, and what is being done."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from homeostat.console.web.pages.acts import MOST_TYPED, Approver, Text, Viewer, back_to, may, site_of
from homeostat.console.web.pages.page import PAGES, Page
from homeostat.console.web.rendering import page
from homeostat.console.web.security.dependencies import Role
from homeostat.durations import parse_duration
from homeostat.errors import HomeostatError
from homeostat.records import Severity

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop

router = APIRouter(prefix="/projects/{name}/alerts", include_in_schema=False)
PAGES.add("alerts", Page(router, "Alerts", place=50))
SPANS = {"1h": "1 hour", "1d": "1 day", "1w": "1 week"}
SHOWN = {"open": "open", "quiet": "quiet", "seen": "seen to", "all": "all"}
SAID = {"acknowledge": "Noted that you see to it.", "snooze": "It is quiet until then.", "reopen": "It is open again."}
MOST = 100
LONG = 420
BLANK = {"key": "", "note": "", "span": "1d", "until": "", "mistake": ""}


@router.get("")
def alerts(
    request: Request, name: str, person: Viewer, show: str = "open", severity: str = "any", said: str = ""
) -> Response:
    """The inbox: the open ones first, the newest above."""
    return _page(request, name, show, severity, done=SAID.get(said))


@router.get("/list")
def listed(
    request: Request, name: str, person: Viewer, show: str = "open", severity: str = "any", state: str = ""
) -> Response:
    """The list as a piece of the page; 204 where it is as it was."""
    found = _inbox(request, name, show, severity)
    return Response(status_code=204) if found["token"] == state else page(request, "alerts_list.html", **found)


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
    """Acknowledge an alert, let it be quiet for a while, or open it again; journaled with the person."""
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
            raise HomeostatError("That is no act of this page.")
    except HomeostatError as mistake:
        typed = {"key": key, "note": note, "span": span, "until": until, "mistake": mistake.args[0]}
        return _page(request, name, show, severity, typed=typed)
    return back_to(name, "alerts", show=show, severity=severity, said=act)


def _end_of(span: str, until: str, at: datetime) -> datetime:
    if span in SPANS:
        return at + parse_duration(span)
    try:
        ends = datetime.fromisoformat(until)
    except ValueError:
        raise HomeostatError("Until when? Give a date and a time.") from None
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
    found = _inbox(request, name, show, severity, typed)
    status = 409 if typed else 200
    return page(request, "alerts.html", status, project=name, tab="alerts", done=done, **found)


def _inbox(
    request: Request, name: str, show: str, severity: str, typed: dict[str, str] | None = None
) -> dict[str, Any]:
    site = site_of(request)
    loop, at = site.loop(name), site.clock()
    show = show if show in SHOWN else "open"
    everything = _list(loop, at)
    of_severity = [each for each in everything if severity in ("any", each["alert"].severity.value)]
    counts = {each: sum(e["state"] == each or each == "all" for e in of_severity) for each in SHOWN}
    shown = [each for each in of_severity if show in ("all", each["state"])]
    told = [(e["alert"].key, e["state"], e["status"].problem, e["status"].note) for e in shown]
    return {
        "name": name,
        "listed": shown[:MOST],
        "more": max(0, len(shown) - MOST),
        "counts": counts,
        "show": show,
        "shows": SHOWN,
        "severity": severity,
        "severities": [each.value for each in reversed(Severity)],
        "spans": SPANS,
        "typed": typed or BLANK,
        "blank": BLANK,
        "long": LONG,
        "may_act": may(request, Role.APPROVER),
        "token": hashlib.sha256(repr((told, counts)).encode()).hexdigest()[:16],
    }


def _list(loop: Loop, at: datetime) -> list[dict[str, Any]]:
    """Every alert with its state: the open ones first, then by time, the newest first."""
    from homeostat.flows.alerts import list_inbox, state_of

    made = []
    for alert, status in list_inbox(loop):
        state = state_of(alert, status, at)
        # Alerts of a replay are delivered to nobody.
        made.append({"alert": alert, "status": status, "state": state, "sent": not loop.replaying})
    order = {"open": 0, "quiet": 1, "seen": 2, "told": 2}
    newest = sorted(made, key=lambda each: (each["alert"].at, each["alert"].key), reverse=True)
    return sorted(newest, key=lambda each: order[each["state"]])
