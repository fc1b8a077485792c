"""The intake: what is posted is held in the store before it is answered, many posts in one transaction.

One thread a project writes. While it writes, others gather, so the more come the more share a transaction and the wait
for the disk, and none is answered before the transaction that holds it is done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from homeostat.errors import HomeostatError
from homeostat.records import Post
from homeostat.settings import ProjectPaths
from homeostat.store import Store

GATHER_SECONDS = 0.004
"""How long a first post waits for others to share its transaction."""
MOST_POSTS, MOST_BYTES = 2_000, 100_000_000
"""How many posts, and how many bytes of them, may wait for the store."""
AT_ONCE = 1_000
_TICK = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Crowded(HomeostatError):
    """More wait to be held than can; what was refused was not kept."""


class NotKept(HomeostatError):
    """What was posted could not be held in the store."""


@dataclass(slots=True)
class _Waiting:
    post: Post
    size: int
    answer: Future[Post]


@dataclass(slots=True, eq=False)
class Intake:
    """Holds what is posted to one project; `open_store` opens its store, again where that failed."""

    open_store: Callable[[], Store]
    clock: Callable[[], datetime]
    _queue: list[_Waiting] = field(default_factory=list)
    _bytes: int = 0
    _change: threading.Condition = field(default_factory=threading.Condition)
    _store: Store | None = None
    _last: datetime = _EPOCH
    _thread: threading.Thread | None = None

    def submit(self, post: Post, size: int) -> Future[Post]:
        """Queue a post of `size` bytes; the answer is the post as it is held, or that of its id that came before.

        `received_at` is set when it is written, later than that of every post before. Raises Crowded; the answer may
        raise NotKept.
        """
        waiting = _Waiting(post, size, Future())
        with self._change:
            if len(self._queue) >= MOST_POSTS or self._bytes + size > MOST_BYTES:
                raise Crowded(
                    f"{len(self._queue)} posts are waiting to be stored already.", "Send it again in a moment."
                )
            self._queue.append(waiting)
            self._bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
                self._thread.start()
            self._change.notify()
        return waiting.answer

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: bool(self._queue))
            time.sleep(GATHER_SECONDS)
            with self._change:
                group, self._queue = self._queue[:AT_ONCE], self._queue[AT_ONCE:]
            try:
                self._hold(group)
            except Exception as fault:
                message = fault.message if isinstance(fault, HomeostatError) else f"{type(fault).__name__}: {fault}"
                self._refuse(group, NotKept(f"It was not stored: {message.rstrip('.')}.", "Send it again in a moment."))
            with self._change:
                self._bytes -= sum(waiting.size for waiting in group)

    def _hold(self, group: list[_Waiting]) -> None:
        if self._store is None:
            self._store = self.open_store()
        fresh: dict[str, Post] = {}
        for waiting in group:
            if waiting.post.id not in fresh:
                self._last = max(self.clock(), self._last + _TICK)
                fresh[waiting.post.id] = replace(waiting.post, received_at=self._last)
        with self._store.write("intake") as write:
            earlier = write.append_posts(list(fresh.values()))
        for waiting in group:
            waiting.answer.set_result(earlier.get(waiting.post.id) or fresh[waiting.post.id])

    def _refuse(self, group: list[_Waiting], fault: NotKept) -> None:
        for waiting in group:
            if not waiting.answer.done():
                waiting.answer.set_exception(fault)


@dataclass(slots=True, eq=False)
class Intakes:
    """The intakes of an installation's projects, each made when something is posted first."""

    clock: Callable[[], datetime]
    _made: dict[tuple[str, str], Intake] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, paths: ProjectPaths) -> Intake:
        """The intake of one project."""
        where = paths.store_url, paths.model_name
        with self._lock:
            if where not in self._made:
                self._made[where] = Intake(lambda: Store(*where, durable=True), self.clock)
            return self._made[where]
