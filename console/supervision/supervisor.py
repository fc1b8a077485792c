"""Running the services of an installation from their start to their end."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from homeostat.console.supervision.board import Board
from homeostat.console.supervision.keeper import Keeper
from homeostat.console.supervision.notes import write_note
from homeostat.console.supervision.services import Service
from homeostat.durations import instant
from homeostat.errors import HomeostatError
from homeostat.installation import Found, Installation

LOOK_SECONDS = 2.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Late = Callable[[Sequence[Found], Sequence[Service]], Sequence[Service]]
"""Which services projects want besides those that run."""


class Screen(Protocol):
    """Where a person sees the services."""

    def change(self, keeper: Keeper) -> None:
        """Show that a service's condition has changed."""

    def ready(self) -> None:
        """Show that all are healthy for the first time."""

    def redraw(self) -> None:
        """Show how things are now."""

    def ending(self) -> None:
        """Show that the end has begun."""


class Supervisor:
    """The services of an installation, each with its keeper, and the note that says how they are."""

    def __init__(self, installation: Installation, services: Sequence[Service], note: Path, late: Late) -> None:
        """Prepare to run services; nothing is started yet. `late` is asked for more that are wanted by now."""
        self._changes: queue.SimpleQueue[Keeper | None] = queue.SimpleQueue()
        self.keepers = [Keeper(service, self._changes.put) for service in services]
        self._late = late
        self._places, self._note = [str(place) for place in installation.places], note
        self._began = datetime.now(UTC)

    def describe(self) -> dict[str, object]:
        """What `services.json` says."""
        return {
            "pid": os.getpid(),
            "started_at": instant(self._began),
            "places": self._places,
            "services": {keeper.service.name: keeper.describe() for keeper in self.keepers},
        }

    def run(self, screen: Screen, board: Board) -> None:
        """Run all services side by side until Ctrl-C, SIGTERM or SIGHUP; nothing of them is left afterwards."""
        with _on_signals(lambda: self._changes.put(None)):
            try:
                for thread in (*self.keepers, board):
                    thread.start()
                self._say()
                self._follow(screen, board)
            finally:
                board.end()
                with suppress(OSError):
                    screen.ending()
                self._end()
                self._note.unlink(missing_ok=True)

    def _follow(self, screen: Screen, board: Board) -> None:
        ready = False
        while True:
            with suppress(queue.Empty):
                changed = self._changes.get(timeout=LOOK_SECONDS)
                if changed is None:
                    return
                self._say()
                screen.change(changed)
            self._search(board)
            if not ready and all(keeper.condition.well for keeper in self.keepers):
                ready = True
                screen.ready()
            screen.redraw()

    def _search(self, board: Board) -> None:
        """Take up the services that projects have come to want; what cannot be found out now is asked for again."""
        with suppress(OSError, HomeostatError):
            for service in self._late(board.projects, [keeper.service for keeper in self.keepers]):
                keeper = Keeper(service, self._changes.put)
                self.keepers.append(keeper)
                keeper.start()
                self._changes.put(keeper)

    def _say(self) -> None:
        """Write the note; on a full disk the services go on without it."""
        with suppress(OSError):
            write_note(self._note, self.describe())

    def _end(self) -> None:
        """End the runner first, so that it can still report to the servers what it leaves undone."""
        first = [keeper for keeper in self.keepers if keeper.service.heartbeat is not None]
        for group in (first, self.keepers):
            for keeper in group:
                keeper.end()
            for keeper in group:
                if keeper.ident is not None:
                    keeper.join()


@contextmanager
def _on_signals(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` on a signal that asks for it, as often as it comes; one that was ignored stays so, as with nohup."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN or number == signal.SIGTERM:
            signal.signal(number, lambda *_: end())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
