"""How access is controlled, read once when the console starts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from homeostat.console.web.security.origins import Network, is_loopback, parse_networks, split_host
from homeostat.console.web.security.roles import Role, parse_role
from homeostat.console.web.security.users import ACCESS_FILE, read_people
from homeostat.errors import HomeostatError

TRUSTED, RATE = "127.0.0.0/8, ::1", "1000"
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_TAKEN = {"authorization", "cookie", "host", "origin", "content-type", "content-length", "x-csrf-token"}


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """How access is controlled. `opened` is False where everybody who reaches the console is its `owner`, an admin.

    `people` is the access file, which need not exist; `user_header` (lower case) is believed from `trusted` peers;
    `hosts` are the names by which it may be called, any where there are none; `rate` is posts a second and person.
    """

    opened: bool
    owner: str
    people: Path
    user_header: str | None = None
    trusted: tuple[Network, ...] = parse_networks(TRUSTED)
    default_role: Role | None = None
    hosts: frozenset[str] = frozenset()
    service_key: str = field(default="", repr=False)
    rate: float = float(RATE)


def access_file(root: Path, environ: Mapping[str, str]) -> Path:
    """Where an installation's access file lies, whether it is there or not."""
    named = environ.get("HOMEOSTAT_ACCESS")
    return Path(named).expanduser().resolve() if named else root / ACCESS_FILE


def read_access_settings(root: Path, host: str, owner: str, environ: Mapping[str, str]) -> AccessSettings:
    """The settings of a console that listens on `host`. Raises HomeostatError where they are unsound or unsafe."""
    people, header = access_file(root, environ), environ.get("HOMEOSTAT_USER_HEADER") or None
    named = bool(environ.get("HOMEOSTAT_ACCESS"))
    if named and not people.is_file():
        hint = "Create it with 'homeostat access add NAME --role admin'."
        raise HomeostatError(f"HOMEOSTAT_ACCESS: {people}: no such file.", hint)
    settings = AccessSettings(
        opened=not is_loopback(host) or named or header is not None or people.exists(),
        owner=owner,
        people=people,
        user_header=_header(header),
        trusted=_trusted(environ.get("HOMEOSTAT_TRUSTED_PROXIES") or TRUSTED),
        default_role=_role(environ.get("HOMEOSTAT_DEFAULT_ROLE") or None, header),
        hosts=_hosts(environ.get("HOMEOSTAT_HOSTS", "")),
        service_key=environ.get("HOMEOSTAT_SERVICE_KEY", ""),
        rate=_rate(environ.get("HOMEOSTAT_RATE") or RATE),
    )
    if settings.opened:
        _refuse_unsafe(settings, host)
    return settings


def _refuse_unsafe(settings: AccessSettings, host: str) -> None:
    people = read_people(settings.people)
    if settings.user_header and (people or settings.default_role):
        return
    if settings.user_header:
        hint = "Set HOMEOSTAT_DEFAULT_ROLE, or add people with 'homeostat access add NAME --role ROLE --no-token'."
        raise HomeostatError("HOMEOSTAT_USER_HEADER is set, but nobody has a role.", hint)
    if not any(entry.digest for entry in people.values()):
        why = f"--host {host}: others could reach the console, but" if not is_loopback(host) else f"{settings.people}:"
        hint = (
            "Run 'homeostat access add NAME --role admin' first, or set HOMEOSTAT_USER_HEADER;"
            " see docs/guides/access.md."
        )
        raise HomeostatError(f"{why} nobody can sign in.", hint)


def _header(name: str | None) -> str | None:
    if name is not None and (not _HEADER.fullmatch(name) or name.lower() in _TAKEN):
        raise HomeostatError(
            f"HOMEOSTAT_USER_HEADER: {name!r} cannot be used.", "Expected the name of a header, as in X-Forwarded-User."
        )
    return name.lower() if name else None


def _trusted(text: str) -> tuple[Network, ...]:
    try:
        return parse_networks(text)
    except ValueError as fault:
        hint = "Expected addresses and networks, separated by commas, as in 10.0.0.4, 172.16.0.0/12."
        raise HomeostatError(f"HOMEOSTAT_TRUSTED_PROXIES: {fault}.", hint) from None


def _role(name: str | None, header: str | None) -> Role | None:
    if name is not None and header is None:
        raise HomeostatError(
            "HOMEOSTAT_DEFAULT_ROLE does nothing without HOMEOSTAT_USER_HEADER.", "Set both or neither."
        )
    return parse_role(name, "HOMEOSTAT_DEFAULT_ROLE") if name else None


def _hosts(text: str) -> frozenset[str]:
    hosts = set[str]()
    for name in filter(None, re.split(r"[,\s]+", text.strip())):
        parts = split_host(name)
        if parts is None or parts[1]:
            hint = "Expected names without ports, separated by commas, as in homeostat.example.org."
            raise HomeostatError(f"HOMEOSTAT_HOSTS: {name!r} is not a host name.", hint)
        hosts.add(parts[0])
    return frozenset(hosts)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise HomeostatError(f"HOMEOSTAT_RATE: {text!r} is not a rate.", "Expected posts per second, as in 1000.")
    return rate
