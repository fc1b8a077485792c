"""Waking the loop: an event when something was posted, at most one every 30 seconds and project."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from homeostat.flows.events import INPUTS_ARRIVED, LABELS_ARRIVED, announce

AT_MOST_EVERY = 30.0
"""Seconds between two events of one kind and project."""
EVENTS = {"inputs": INPUTS_ARRIVED, "labels": LABELS_ARRIVED}


def send_event(what: str, project: str) -> bool:
    """Send the event now; False where it could not be sent, which the next sweep makes up for."""
    return announce(EVENTS[what], project, {})


@dataclass(slots=True, eq=False)
class Waker:
    """Sends events from a thread of its own, so that posting does not wait for them."""

    send: Callable[[str, str], object] = send_event
    every: float = AT_MOST_EVERY
    _sent: dict[tuple[str, str], float] = field(default_factory=dict)
    _wanted: dict[tuple[str, str], float] = field(default_factory=dict)
    _change: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None

    def arrived(self, what: str, project: str) -> None:
        """Say that "inputs" or "labels" of a project came: sent at once, or when the last event is old enough."""
        which = what, project
        with self._change:
            if which in self._wanted:
                return
            self._wanted[which] = max(time.monotonic(), self._sent.get(which, -self.every) + self.every)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
                self._thread.start()
            self._change.notify()

    def _run(self) -> None:
        while True:
            for what, project in self._due():
                self.send(what, project)

    def _due(self) -> list[tuple[str, str]]:
        with self._change:
            first = min(self._wanted.values(), default=None)
            self._change.wait(None if first is None else max(first - time.monotonic(), 0))
            now = time.monotonic()
            due = [which for which, at in self._wanted.items() if at <= now]
            for which in due:
                del self._wanted[which]
                self._sent[which] = now
            return due
