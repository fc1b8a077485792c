"""The machine itself: ports, disks, clocks, and who may read files that hold secrets."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from homeostat.flows.health.findings import Finding

PORTS = {"prefect": 4200, "mlflow": 5000, "console": 8321}
LITTLE_BYTES, TOO_LITTLE_BYTES = 5 * 2**30, 2**30
MOST_SKEW_SECONDS = 5.0


def check_ports(
    ours: Mapping[str, str], elsewhere: Mapping[str, str], ports: Mapping[str, int] = PORTS
) -> list[Finding]:
    """Whether each service can have its usual port.

    `ours` are the addresses of services that `homeostat up` runs here, `elsewhere` the variables that name a server
    which is used instead of one here.
    """
    return [_of_port(name, port, ours.get(name), elsewhere.get(name)) for name, port in ports.items()]


def _of_port(name: str, port: int, ours: str | None, elsewhere: str | None) -> Finding:
    title = f"port of {name}"
    if ours:
        return Finding(title, "ok", f"ours: {ours}")
    if elsewhere:
        return Finding(title, "ok", f"not needed: {elsewhere} names a server")
    if is_free(port):
        return Finding(title, "ok", f"{port} is free")
    advice = "Nothing needs to be done: 'homeostat up' takes a free one and prints its address."
    return Finding(title, "warning", f"{port} is taken by something else", advice)


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def check_disks(
    places: Mapping[str, Path], little: int = LITTLE_BYTES, too_little: int = TOO_LITTLE_BYTES
) -> list[Finding]:
    """Whether there is room on the disk of each place, by its title; a place may not be there yet."""
    return [_of_disk(title, place, little, too_little) for title, place in places.items()]


def _of_disk(title: str, place: Path, little: int, too_little: int) -> Finding:
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    state = "problem" if free < too_little else "warning" if free < little else "ok"
    room = f"{_size(free)} free at {place}"
    if state == "ok":
        return Finding(title, state, room)
    limit = f"below {_size(too_little if state == 'problem' else little)}"
    return Finding(title, state, f"{room}, {limit}", "Make room, or move the state with HOMEOSTAT_HOME.")


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB"


def check_time_zone(zone: str | None, link: Path = Path("/etc/localtime")) -> Finding:
    """Whether the machine knows its time zone: by TZ, else by its link."""
    local = datetime.now(UTC).astimezone().tzname()
    if zone:
        known = zone.startswith(":") or zone in _zones()
        if known:
            return Finding("time zone", "ok", zone)
        return Finding("time zone", "warning", f"TZ is {zone!r}, which is none", "Set it, as in Europe/Berlin.")
    if link.exists():
        return Finding("time zone", "ok", str(local))
    return Finding("time zone", "warning", "none is set, times are shown in UTC", "Set TZ, as in TZ=Europe/Berlin.")


def _zones() -> set[str]:
    from zoneinfo import available_timezones

    return available_timezones()


def tell_skew(name: str, theirs: datetime, ours: datetime) -> Finding:
    """How far a clock is off from this machine's, both read at the same moment."""
    skew = (theirs - ours).total_seconds()
    title = f"clock of {name}"
    if abs(skew) <= MOST_SKEW_SECONDS:
        return Finding(title, "ok", f"within {MOST_SKEW_SECONDS:.0f} s of this machine's")
    message = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    advice = "Let NTP set both: what is due, and what was known by then, hangs on them."
    return Finding(title, "warning", message, advice)


def check_secret_files(files: Sequence[Path]) -> list[Finding]:
    """Whether nobody but their owner may read files that hold secrets; those that are not there are left out."""
    there = [file for file in files if file.is_file()]
    open_ones = [file for file in there if stat.S_IMODE(file.stat().st_mode) & 0o077]
    findings = [
        Finding("secrets", "problem", f"{file} may be read by others", f"Run 'chmod 600 {file}'.") for file in open_ones
    ]
    if findings or not there:
        return findings
    return [Finding("secrets", "ok", f"only their owner may read {', '.join(str(file) for file in there)}")]


def is_alive(pid: int) -> bool:
    """Whether a process of this machine lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
