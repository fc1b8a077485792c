"""Stage 7: send the alerts that are not delivered yet, and anchor the journal's head."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence
from datetime import datetime
from urllib.parse import quote

from homeostat.boundaries import commit
from homeostat.errors import RegistryError
from homeostat.flows.alerts import list_due, wake
from homeostat.flows.learning.proposals import SUBJECT
from homeostat.flows.loop import Loop
from homeostat.flows.posts import KEPT_FOR
from homeostat.installation import find_service_url
from homeostat.monitoring.alerts import deliver, route, sum_up
from homeostat.records import Alert, Document


def notify(loop: Loop, at: datetime) -> Document:
    """Deliver what waits in the inbox through the project's routes; a replay tells nobody about the past."""
    return deliver_waiting(loop, at, mark=True)


def deliver_waiting(loop: Loop, at: datetime, *, mark: bool) -> Document:
    """Deliver what waits, and `mark` the tick at `at` as done: between ticks that would lose a slot."""
    anchored = _anchor(loop)
    # While the loop catches up, the newest tick tells of all that was found on the way.
    waiting, woken = ([], set()) if loop.is_past(at) else list_due(loop, at)
    sent = [(alert, None) for alert in waiting] if loop.replaying else _send_all(loop, waiting, woken, at)
    outcome = {"sent": sum(problem is None for _, problem in sent)}
    with loop.store.write("notify") as write:
        for alert, problem in sent:
            write.put_delivery(alert.key, at if problem is None else None, problem)
        for key in sorted(woken):
            wake(write, key, at)
        if not loop.replaying:
            write.drop_posts(at - KEPT_FOR)
            write.drop_replies(at - KEPT_FOR)
        if mark:
            write.put_stage(at, "notify", outcome)
    return {**outcome, "anchored": anchored}


def _send_all(
    loop: Loop, waiting: Sequence[Alert], woken: Collection[str], at: datetime
) -> list[tuple[Alert, str | None]]:
    """Send alerts; those of long-past ticks, where there are several, in one message together."""
    recent = loop.told_at(at) - 2 * loop.project.loop.tick
    past = [alert for alert in waiting if alert.at < min(at, recent) and alert.key not in woken]
    if len(past) < 2:
        return [(alert, _send(loop, alert)) for alert in waiting]
    problem, summed = _send(loop, sum_up(past)), {alert.key for alert in past}
    return [(alert, problem if alert.key in summed else _send(loop, alert)) for alert in waiting]


def _anchor(loop: Loop) -> bool:
    """Keep the journal's head in MLflow too, where one who edits the store does not reach."""
    head = loop.store.journal_head()
    if head is None or loop.version_of("champion") is None:
        return False
    try:
        with commit("registry.anchor"):
            loop.models.anchor(head)
    except RegistryError:
        return False
    return True


def _send(loop: Loop, alert: Alert) -> str | None:
    addresses, problems = route(alert, loop.project, os.environ)
    delivery = deliver(_with_link(loop, alert), addresses)
    if not delivery.ok:
        problems = [*problems, delivery.problem or "not delivered"]
    return "; ".join(problems) or None


def _with_link(loop: Loop, alert: Alert) -> Alert:
    """The alert as it is sent: with the address of the page where a person sees to it, where one is served."""
    url = find_service_url(loop.project, "console", "HOMEOSTAT_CONSOLE_UI")
    if url is None:
        return alert
    tab = "approve" if alert.key.endswith(f"/{SUBJECT}") else "alerts"
    return dataclasses.replace(alert, body=f"{alert.body} {url}/projects/{quote(loop.project.name)}/{tab}")
