"""One worker at a time: a scope is claimed before anything in it is changed.

A replay is claimed by a file lock alone: its state lies on one machine. Life is claimed by the file lock, which keeps
the processes of this machine apart, and by a lease in the store, which keeps machines apart that share one PostgreSQL.
What a person says in one transaction (an answer, an approval, an acknowledgement) needs neither.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from homeostat.boundaries import guarded
from homeostat.durations import instant
from homeostat.errors import BusyError, StoreError
from homeostat.project import load_project
from homeostat.records import Lease, Scope
from homeostat.settings import find_paths

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop
    from homeostat.store import Store

LEASE = "work"
WAIT = "Wait until it ends, or stop it; it can be resumed where it stopped."
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Terms:
    """For how long a lease holds that nobody renews, and how often its holder renews it."""

    ttl: timedelta = timedelta(seconds=60)
    beat: timedelta = timedelta(seconds=15)


TERMS = Terms()


@contextmanager
def exclusive(root: Path, what: str, wait: float = 0) -> Iterator[None]:
    """Hold the lock of a folder; the lock of a process that died is free. Raises BusyError after `wait` seconds."""
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / "lock")
    try:
        lock.acquire(timeout=wait, poll_interval=POLL_SECONDS)
    except Timeout:
        raise BusyError(f"{what} is running already.", WAIT) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def claim(folder: Path | str, scope: str, *, wait: float = 0, terms: Terms = TERMS) -> Iterator[Loop]:
    """Claim a project in a scope for a run that changes it, and open it.

    Raises BusyError where another run still has it after `wait` seconds, and, before the next durable write, where
    the claim was lost to another machine, as happens to a process that was suspended for longer than the lease.
    """
    from homeostat.flows.loop import open_loop

    project = load_project(folder)
    what = f"a run of {project.name!r}"
    root = find_paths(project, Scope(scope)).root
    deadline = time.monotonic() + wait
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / "lock")
    try:
        lock.acquire(timeout=wait, poll_interval=POLL_SECONDS)
    except Timeout:
        raise BusyError(_told(what, _holder_of(folder, scope)), WAIT) from None
    try:
        loop = open_loop(folder, Scope(scope))
        if loop.replaying:
            yield loop
            return
        with _leased(loop.store, what, _place(root), deadline, terms):
            yield loop
    finally:
        lock.release()


@contextmanager
def _leased(store: Store, what: str, place: str, deadline: float, terms: Terms) -> Iterator[None]:
    holder = f"{place}:{os.getpid()}:{int(time.time())}"
    while True:
        now = datetime.now(UTC)
        lease = Lease(LEASE, holder, now, now + terms.ttl)
        other = store.get_lease(LEASE)
        # Whoever held it at this very place is dead, or we would not have its file lock.
        sure = other is not None and other.holder.startswith(f"{place}:")
        with store.write("lease") as write:
            taken = write.take_lease(lease, sure=sure)
        if taken:
            break
        if time.monotonic() >= deadline:
            raise BusyError(_told(what, store.get_lease(LEASE)), WAIT)
        time.sleep(POLL_SECONDS)
    with _Heartbeat(store, what, lease, terms) as heart:
        try:
            with guarded(heart.insist):
                yield
        finally:
            heart.end()
            with suppress(StoreError), store.write("lease") as write:
                write.drop_lease(LEASE, holder)


class _Heartbeat(threading.Thread):
    """Renews a lease beside the work; knows when it is lost."""

    def __init__(self, store: Store, what: str, lease: Lease, terms: Terms) -> None:
        super().__init__(name="lease", daemon=True)
        self._store, self._what, self._lease, self._terms = store, what, lease, terms
        self._over, self._lost = threading.Event(), False
        self._good_until = time.monotonic() + terms.ttl.total_seconds()

    def __enter__(self) -> _Heartbeat:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def run(self) -> None:
        """Renew until told to end or until another has it; a store that does not answer is asked again."""
        while not self._over.wait(self._terms.beat.total_seconds()):
            asked = time.monotonic()
            with suppress(StoreError):
                lease = Lease(LEASE, self._lease.holder, self._lease.taken_at, datetime.now(UTC) + self._terms.ttl)
                with self._store.write("lease") as write:
                    mine = write.take_lease(lease)
                if not mine:
                    self._lost = True
                    return
                self._good_until = asked + self._terms.ttl.total_seconds()

    def insist(self) -> None:
        """Raise BusyError where the lease is lost or could not be renewed in time."""
        if self._lost or time.monotonic() > self._good_until:
            raise BusyError(
                f"{self._what} lost its lease: another machine may work on it now.",
                "Nothing more was written; the next tick goes on from there.",
            )

    def end(self) -> None:
        """Stop renewing."""
        self._over.set()
        if self.is_alive():
            self.join()


def _place(root: Path) -> str:
    """This host and this very folder: who holds the lock here knows that nobody else works from here."""
    stats = root.stat()
    digest = sha256(f"{root}:{stats.st_dev}:{stats.st_ino}".encode()).hexdigest()[:8]
    return f"{socket.gethostname().replace(':', '-')}:{digest}"


def _holder_of(folder: Path | str, scope: str) -> Lease | None:
    from homeostat.flows.loop import open_loop

    if Scope(scope) is not Scope.LIVE:
        return None
    with suppress(StoreError):
        return open_loop(folder, Scope.LIVE).store.get_lease(LEASE)
    return None


def _told(what: str, lease: Lease | None) -> str:
    if lease is None:
        return f"{what} is running already."
    host, _, pid, _ = lease.holder.rsplit(":", 3)
    return f"{what} is running already: process {pid} on {host}, since {instant(lease.taken_at)}."
