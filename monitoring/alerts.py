"""Carry alerts to people through Apprise; addresses hold secrets and are never shown."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeostat.project import Project
from homeostat.records import Alert, Severity

log = logging.getLogger("homeostat.alerts")
_LEVELS = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.CRITICAL: logging.ERROR}


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


def can_read(address: str) -> bool:
    """Whether Apprise can make sense of an address; nothing is sent."""
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    return bool(apprise.Apprise().add(address))


def _send(alert: Alert, address: Address) -> str | None:
    import apprise

    kinds = {
        Severity.INFO: apprise.NotifyType.INFO,
        Severity.WARNING: apprise.NotifyType.WARNING,
        Severity.CRITICAL: apprise.NotifyType.FAILURE,
    }
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    try:
        service = apprise.Apprise()
        if not service.add(address.url):
            return f"{address.name}: not an address Apprise can read; see its list of services."
        sent = service.notify(title=alert.title, body=alert.body, notify_type=kinds[alert.severity])
    except Exception as fault:
        return f"{address.name}: {type(fault).__name__} while sending."
    return None if sent else f"{address.name}: its server refused the alert or cannot be reached."
