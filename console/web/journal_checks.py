"""Whether the journals hold, verified beside the pages: the whole chain once, then only what is newer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from homeostat.store.journal import Verdict

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop

AGAIN_SECONDS = 3600.0
"""After which time a whole chain is walked again: an edit of an old link is seen by then."""


@dataclass(slots=True)
class Proof:
    """What is known of one journal; `verdict` is None while it was never walked to its end."""

    verdict: Verdict | None = None
    whole_at: float = 0.0
    running: bool = False


@dataclass(slots=True, eq=False)
class Proofs:
    """What is known of the journals of an installation. Safe to use from several threads."""

    _known: dict[str, Proof] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def verdict(self, loop: Loop) -> Verdict | None:
        """What is known of a loop's journal up to its newest link; None while the first walk is under way."""
        owner = f"{loop.paths.root}/{loop.store.owner}"
        with self._lock:
            proof = self._known.setdefault(owner, Proof())
            due = time.monotonic() - proof.whole_at > AGAIN_SECONDS or proof.verdict is None
            if due and not proof.running:
                proof.running = True
                threading.Thread(target=self._walk, args=(loop, proof), daemon=True).start()
        known = proof.verdict
        if known is None or not known.sound:
            return known
        newest = loop.store.verify_journal(since=known)
        with self._lock:
            if proof.verdict is known:
                proof.verdict = newest
        return newest

    def _walk(self, loop: Loop, proof: Proof) -> None:
        try:
            verdict = loop.store.verify_journal()
            with self._lock:
                proof.verdict, proof.whole_at = verdict, time.monotonic()
        finally:
            proof.running = False
