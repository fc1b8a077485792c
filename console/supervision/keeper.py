"""Keeping one service running: started, looked at, and started again with growing patience where it dies."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import Timeout

from homeostat.console.supervision.ports import is_free
from homeostat.console.supervision.services import Service
from homeostat.durations import instant
from homeostat.flows.orchestration.heartbeat import read_heartbeat
from homeostat.flows.servers.processes import spawn, stop, tail
from homeostat.flows.servers.spec import drop_address, home_lock, is_healthy, write_address

START_SECONDS = 180
SILENT_SECONDS = 60
WORRY_SECONDS = 15
STEADY_SECONDS = 60
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
EAGER, CALM = 0.25, 5.0
PROBE_SECONDS = 4
LARGEST_LOG = 10_000_000
GIST = 200


class State(StrEnum):
    """How a service is."""

    STARTING = "starting"
    HEALTHY = "healthy"
    FAILING = "failing"
    ADOPTED = "adopted"


WELL = (State.HEALTHY, State.ADOPTED)


@dataclass(frozen=True, slots=True)
class Condition:
    """How a service is, since when, how often it was started again, and what was wrong last."""

    state: State
    since: datetime
    restarts: int = 0
    pid: int | None = None
    problem: str | None = None

    @property
    def well(self) -> bool:
        """Whether nothing is wanting."""
        return self.state in WELL


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a process: how it ended, and seconds since its start and since it last answered."""

    ended: int | None
    age: float
    silent: float | None


def decide_end(seen: Seen) -> str | None:
    """Why a process has to be started again; None while it may go on.

    >>> decide_end(Seen(ended=-9, age=100, silent=1))
    'was killed (SIGKILL)'
    >>> decide_end(Seen(ended=None, age=100, silent=61))
    'did not answer for 60 s'
    >>> decide_end(Seen(ended=None, age=100, silent=None)) is None
    True
    """
    if seen.ended is not None:
        return f"was killed ({signal.Signals(-seen.ended).name})" if seen.ended < 0 else f"ended with {seen.ended}"
    if seen.silent is None:
        return f"did not answer within {START_SECONDS} s" if seen.age > START_SECONDS else None
    return f"did not answer for {SILENT_SECONDS} s" if seen.silent > SILENT_SECONDS else None


def decide_wait(deaths: int) -> float:
    """Seconds to wait before the next start, after so many deaths in a row: quick first, then with patience.

    >>> [decide_wait(n) for n in (1, 2, 3, 6, 7, 50)]
    [0.5, 1.0, 2.0, 16.0, 30.0, 30.0]
    """
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(deaths - 1, 10))


class Keeper(threading.Thread):
    """Keeps one service running in a thread of its own until `end`; `tell` hears every change of its condition."""

    def __init__(self, service: Service, tell: Callable[[Keeper], None]) -> None:
        """Prepare to keep a service; nothing is started before `start`."""
        super().__init__(name=f"keeper of {service.name}", daemon=True)
        self.service = service
        self.condition = Condition(State.ADOPTED if service.adopted else State.STARTING, _now())
        self._tell, self._ending, self._deaths = tell, threading.Event(), 0

    def end(self) -> None:
        """Ask for the end; the thread ends once nothing is left of the service."""
        self._ending.set()

    def describe(self) -> dict[str, object]:
        """The service and its condition, as `services.json` has it."""
        now = self.condition
        return {
            "url": self.service.url,
            "pid": now.pid,
            "state": now.state.value,
            "restarts": now.restarts,
            "since": instant(now.since),
            "log": str(self.service.log),
            "problem": now.problem,
            **({"serves": self.service.serves} if self.service.serves is not None else {}),
        }

    def run(self) -> None:
        """Start the service, look at it, start it again where it dies, and end it at last."""
        if self.service.adopted:
            self._watch_adopted()
            return
        with ExitStack() as held:
            if self.service.home is not None and not self._claim(self.service.home, held):
                return
            while not self._ending.is_set():
                try:
                    why = self._live()
                except OSError as fault:
                    why = f"could not be supervised: {fault}"
                if why is None:
                    return
                self._deaths += 1
                self._change(State.FAILING, pid=None, problem=why)
                self._ending.wait(decide_wait(self._deaths))
                self._change(State.STARTING, restarts=self.condition.restarts + 1)

    def _claim(self, home: Path, held: ExitStack) -> bool:
        """Wait for the server that another command runs in this home; whether it is ours now."""
        lock = home_lock(home)
        while not self._ending.is_set():
            try:
                held.enter_context(lock.acquire(timeout=0))
            except Timeout:
                self._change(State.STARTING, problem="waits for another command to stop its own server here")
                self._ending.wait(1)
                continue
            drop_address(home)
            held.callback(drop_address, home)
            return True
        return False

    def _live(self) -> str | None:
        """One life of the service, from start to end; why it ended, None where that was wanted."""
        if self.service.address is not None and not is_free(self.service.address[1], self.service.address[0]):
            return f"port {self.service.address[1]} is in use by another program"
        try:
            rotate(self.service.log)
            if self.service.heartbeat is not None:
                self.service.heartbeat.unlink(missing_ok=True)
            process = spawn(self.service.args, dict(self.service.env), self.service.log)
        except OSError as fault:
            return f"could not be started: {fault}"
        self._change(self.condition.state, pid=process.pid)
        try:
            why = self._watch(process)
        finally:
            stop(process)
            if self.service.home is not None:
                drop_address(self.service.home)
        words = tail(self.service.log, 1)[-GIST:]
        return f"{why}: {words}" if why and why.startswith("ended") else why

    def _watch(self, process: subprocess.Popen[bytes]) -> str | None:
        began, answered = time.monotonic(), None
        while not self._ending.is_set():
            ended = process.poll()
            if ended is None and self._answers():
                answered = time.monotonic()
                self._note_health(process, answered - began)
            now = time.monotonic()
            silent = None if answered is None else now - answered
            why = decide_end(Seen(ended, now - began, silent))
            if why is not None:
                return why
            if silent is not None and silent > WORRY_SECONDS and self.condition.well:
                self._change(State.FAILING, problem="does not answer")
            self._pause(process, CALM if self.condition.well else EAGER)
        return None

    def _pause(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        """Wait, but not for one that died meanwhile."""
        deadline = time.monotonic() + seconds
        while process.poll() is None and (left := deadline - time.monotonic()) > 0:
            if self._ending.wait(min(left, 1)):
                return

    def _note_health(self, process: subprocess.Popen[bytes], age: float) -> None:
        if age > STEADY_SECONDS:
            self._deaths = 0
        if self.condition.well:
            return
        if self.service.home is not None and self.service.url is not None:
            write_address(self.service.home, self.service.url, process.pid)
        self._change(State.HEALTHY, problem=None)

    def _answers(self) -> bool:
        if self.service.heartbeat is not None:
            return _beats(self.service.heartbeat)
        return self.service.health is not None and is_healthy(self.service.health, PROBE_SECONDS, direct=True)

    def _watch_adopted(self) -> None:
        answered = time.monotonic()
        while not self._ending.is_set():
            if self.service.health is not None and is_healthy(self.service.health, PROBE_SECONDS):
                answered = time.monotonic()
                self._change(State.ADOPTED, problem=None)
            elif time.monotonic() - answered > WORRY_SECONDS:
                self._change(State.FAILING, problem="does not answer; it was not started by Homeostat")
            self._ending.wait(CALM)

    def _change(self, state: State, **more: Any) -> None:
        now = replace(self.condition, state=state, **more)
        if now != self.condition:
            self.condition = replace(now, since=_now() if state is not self.condition.state else now.since)
            self._tell(self)


def rotate(log: Path) -> None:
    """Put a log that has grown large aside, in place of the one that was put aside before."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_suffix(".log.1"))


def _beats(file: Path) -> bool:
    """Whether a heartbeat was written within the last minute."""
    at, _ = read_heartbeat(file)
    return at is not None and (_now() - at).total_seconds() < SILENT_SECONDS


def _now() -> datetime:
    return datetime.now(UTC)
