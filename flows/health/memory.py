"""Where projects remember: the store, the lake, and who holds a lease."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from homeostat.errors import LakeError, StoreError
from homeostat.flows.health.findings import Clock, Finding
from homeostat.flows.health.machine import is_alive, tell_skew
from homeostat.records import Lease
from homeostat.store.engine import Standing, look_at

LEASE = "work"
NETWORKED = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "glusterfs", "ceph")


def check_store(name: str, url: str, clock: Clock) -> list[Finding]:
    """Whether the store can be reached and is at the migration that this release wants; nothing is migrated."""
    try:
        standing, now = look_at(url), clock()
    except StoreError as fault:
        advice = "Start its database, or mend HOMEOSTAT_STORE_URL."
        return [Finding(name, "problem", fault.message, fault.hint or advice)]
    findings = [_of_revision(name, standing)]
    if not standing.writable:
        advice = "Let its user write it; in PostgreSQL: GRANT CREATE ON SCHEMA public TO that user."
        findings.append(Finding(name, "problem", f"{standing.shown} can be read, but not written", advice))
    if standing.clock is not None:
        findings.append(tell_skew(f"the database of {name}", standing.clock, now))
    if standing.journal is not None:
        findings.append(_of_journal(name, url, standing))
    return findings


def _of_revision(name: str, standing: Standing) -> Finding:
    where, at = standing.shown, standing.revision
    if not standing.exists:
        return Finding(name, "ok", f"{where} is not there yet; the first tick makes it")
    if at is None:
        return Finding(name, "ok", f"{where} answers and is empty; the first tick lays it")
    if at == standing.wanted:
        return Finding(name, "ok", f"{where} is at migration {at}, as wanted")
    if at in standing.known:
        advice = "The next tick brings it up to date by itself; make a copy of it first."
        return Finding(name, "warning", f"{where} is at migration {at}, and {standing.wanted} is wanted", advice)
    message = f"{where} is at migration {at}, which this release does not know; it wants {standing.wanted}"
    return Finding(name, "problem", message, "Use the newer release of Homeostat that made it.")


def _of_journal(name: str, url: str, standing: Standing) -> Finding:
    title, file = f"SQLite of {name}", Path(url.partition(":///")[2])
    if (kind := file_system_of(file)).startswith(NETWORKED):
        advice = "Move the state to a disk of this machine, or set HOMEOSTAT_STORE_URL to a PostgreSQL database."
        return Finding(title, "problem", f"it lies on {kind}, over a network, where SQLite loses data", advice)
    if standing.journal == "wal" or standing.revision is None:
        return Finding(title, "ok", f"journal mode {standing.journal}, on {kind}")
    advice = "The next command that opens it sets WAL. If it does not, its file system cannot: move the state."
    return Finding(title, "warning", f"journal mode {standing.journal}, and wal is wanted", advice)


def file_system_of(path: Path) -> str:
    """The kind of file system a path lies on, as the kernel names it; "unknown" where it does not say."""
    best, kind = "", "unknown"
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
            _, mount, system, *_ = line.split()
            place = mount.replace("\\040", " ")
            if path.is_absolute() and path.is_relative_to(place) and len(place) >= len(best):
                best, kind = place, system
    return kind


def check_lake(name: str, uri: str) -> list[Finding]:
    """Whether the lake can be written: a file is really written and taken away again."""
    from homeostat.lake import probe

    try:
        return [Finding(name, "ok", f"a file was written at {probe(uri)} and taken away again")]
    except LakeError as fault:
        advice = "Let this user write there; for s3://, look at the variables that begin with AWS_."
        return [Finding(name, "problem", fault.message, advice)]


def tell_lease(name: str, lease: Lease | None, clock: Clock) -> list[Finding]:
    """Who works on a project, and whether they live; nothing where nobody does."""
    if lease is None:
        return []
    title, until = f"lease of {name}", f"{lease.until:%Y-%m-%d %H:%M:%S} UTC"
    if lease.until < clock():
        message = f"{lease.holder} held it until {until} and never gave it back: it died at work"
        return [Finding(title, "warning", message, "Nothing needs to be done: the next tick takes it over.")]
    if _is_dead(lease.holder):
        message = f"{lease.holder} holds it, and is dead"
        return [Finding(title, "warning", message, f"Nothing needs to be done: it ends by itself at {until}.")]
    return [Finding(title, "ok", f"{lease.holder} works on it")]


def _is_dead(holder: str) -> bool:
    """Whether a holder, named as HOST:FOLDER:PID:SECONDS, was a process of this machine and is gone."""
    parts = holder.split(":")
    return len(parts) == 4 and parts[0] == socket.gethostname() and parts[2].isdigit() and not is_alive(int(parts[2]))
