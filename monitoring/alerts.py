"""Carry alerts to people. Addresses hold secrets and are never shown. A package adds its own way to `ALERT_ROUTES`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from homeostat.extensions import Extensions
from homeostat.project import Project
from homeostat.records import Alert, Severity

MOST_SUMMED = 20
log = logging.getLogger("homeostat.alerts")
_LEVELS = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.CRITICAL: logging.ERROR}


class AlertRoute(Protocol):
    """One way to carry alerts: what an address in a variable of `[notify.routes]` may look like, and how it is used."""

    def takes(self, address: str) -> bool:
        """Whether an address is of this kind; nothing is sent."""
        ...

    def send(self, alert: Alert, address: str) -> str | None:
        """Send an alert. Returns None, or why it was not delivered, without the address."""
        ...


class Apprise:
    """Every service that Apprise knows, by its addresses, as in `json://host/path`."""

    def takes(self, address: str) -> bool:
        """Whether Apprise can read the address."""
        import apprise

        _silence()
        return bool(apprise.Apprise().add(address))

    def send(self, alert: Alert, address: str) -> str | None:
        """Send an alert with its title, its body and its severity."""
        import apprise

        _silence()
        kinds = {
            Severity.INFO: apprise.NotifyType.INFO,
            Severity.WARNING: apprise.NotifyType.WARNING,
            Severity.CRITICAL: apprise.NotifyType.FAILURE,
        }
        service = apprise.Apprise()
        service.add(address)
        sent = service.notify(title=alert.title, body=alert.body, notify_type=kinds[alert.severity])
        return None if sent else "its server refused the alert or cannot be reached."


ALERT_ROUTES: Extensions[AlertRoute] = Extensions("alert route")
ALERT_ROUTES.add("apprise", Apprise())


@dataclass(frozen=True, slots=True)
class Address:
    """Where an alert goes: `name` is the environment variable, `url` what it holds; only the name is ever shown."""

    name: str
    url: str

    def __repr__(self) -> str:
        return f"Address({self.name!r})"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one alert; `problem` names the variables that failed, never their addresses."""

    ok: bool
    problem: str | None = None


def route(alert: Alert, project: Project, environ: Mapping[str, str]) -> tuple[list[Address], list[str]]:
    """Find where an alert of this severity goes: the addresses, and a problem for each variable that is not set."""
    addresses, problems = [], []
    for name in project.notify.routes.get(alert.severity, []):
        if url := environ.get(name, "").strip():
            addresses.append(Address(name, url))
        else:
            problems.append(f"{name}: not set; {project.file} routes alerts to it. Put an Apprise address in it.")
    return addresses, problems


def deliver(alert: Alert, addresses: Sequence[Address] = ()) -> Delivery:
    """Write the alert to the log and send it to every address; one that fails does not stop the others."""
    log.log(_LEVELS[alert.severity], "%s: %s", alert.title, alert.body)
    problems = [problem for address in addresses if (problem := _send(alert, address))]
    for problem in problems:
        log.warning("alert not delivered: %s", problem)
    return Delivery(not problems, "; ".join(problems) or None)


def sum_up(alerts: Sequence[Alert]) -> Alert:
    """One message of several alerts, oldest first, as grave as the gravest of them."""
    gravest = max(alerts, key=lambda item: list(Severity).index(item.severity)).severity
    first, last = alerts[0].at, alerts[-1].at
    title = f"{len(alerts)} alerts from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    lines = [f"{item.at:%Y-%m-%d %H:%M} UTC, {item.severity.value}: {item.title}" for item in alerts[:MOST_SUMMED]]
    more = [f"and {len(alerts) - MOST_SUMMED} more"] if len(alerts) > MOST_SUMMED else []
    body = "\n".join(["They are of the past, and were not told before.", *lines, *more])
    return Alert(alerts[-1].key, last, gravest, title, f"{body}\n'homeostat alerts' shows each whole.")


def can_read(address: str) -> bool:
    """Whether some alert route takes an address; nothing is sent."""
    return find_route(address) is not None


def find_route(address: str) -> AlertRoute | None:
    """The route that takes an address, of several the one added last; None where none does."""
    return next((known for _, known in reversed(list(ALERT_ROUTES.items())) if known.takes(address)), None)


def _send(alert: Alert, address: Address) -> str | None:
    try:
        known = find_route(address.url)
        if known is None:
            return f"{address.name}: not an address Apprise can read; see its list of services."
        problem = known.send(alert, address.url)
    except Exception as fault:
        return f"{address.name}: {type(fault).__name__} while sending."
    return None if problem is None else f"{address.name}: {problem}"


def _silence() -> None:
    """Keep addresses out of the log: Apprise and urllib3 write them."""
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
