"""How often somebody may do something: token buckets, and a wait that grows with each wrong token."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

MOST_KEYS = 10_000


@dataclass(slots=True)
class Buckets:
    """A bucket of `burst` for each key, filled again at `rate` a second. Safe to use from several threads.

    Holds MOST_KEYS keys; beyond that, the one that was quiet for longest begins anew.
    """

    rate: float
    burst: float
    most: int = MOST_KEYS
    _kept: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: str, now: float) -> float:
        """Take one; 0.0 where there was one, else the seconds until there is, and nothing is taken.

        >>> buckets = Buckets(rate=2, burst=1)
        >>> buckets.take("ann", 10.0), buckets.take("ann", 10.0), buckets.take("ann", 10.5)
        (0.0, 0.5, 0.0)
        """
        with self._lock:
            left, since = self._kept.pop(key, (self.burst, now))
            left = min(self.burst, left + max(0.0, now - since) * self.rate)
            wait = 0.0 if left >= 1 else (1 - left) / self.rate
            self._kept[key] = (left - 1 if not wait else left, now)
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
            return wait

    def __len__(self) -> int:
        return len(self._kept)


@dataclass(slots=True)
class Attempts:
    """Wrong tokens by address: after `free` in a row each makes the next wait twice as long, up to `longest` seconds.

    What was counted is forgotten once an address was quiet for as long as the longest wait.
    """

    free: int = 3
    longest: float = 300.0
    most: int = MOST_KEYS
    _failed: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, key: str, now: float) -> float:
        """The seconds until this address may try again; 0.0 where it may."""
        with self._lock:
            return max(0.0, self._failed.get(key, (0, now))[1] - now)

    def fail(self, key: str, now: float) -> None:
        """Count a wrong token."""
        with self._lock:
            failed, until = self._failed.pop(key, (0, now))
            failed = 1 if now - until > self.longest else failed + 1
            delay = min(self.longest, 2.0 ** min(failed - self.free, 20)) if failed > self.free else 0.0
            self._failed[key] = (failed, now + delay)
            while len(self._failed) > self.most:
                self._failed.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forget what was counted: a right token came."""
        with self._lock:
            self._failed.pop(key, None)

    def __len__(self) -> int:
        return len(self._failed)
