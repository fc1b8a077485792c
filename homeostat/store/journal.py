"""The journal: an append-only, hash-chained record of every decision and act.

Each link's hash covers its content and the hash before it, so an entry that is changed, taken out or put in breaks
the chain from there on; the head is anchored outside of the store, so a chain cut at its end is seen too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from homeostat.durations import instant
from homeostat.records import JournalEntry

GENESIS = hashlib.sha256(b"homeostat journal").hexdigest()
"""The hash before the first link of every chain."""


def link(seq: int, at: datetime, key: str, kind: str, body: Mapping[str, Any], previous_hash: str) -> JournalEntry:
    """Make the link that follows `previous_hash`."""
    plain = json.loads(json.dumps(body))
    return JournalEntry(seq, at, key, kind, plain, previous_hash, _hash(seq, at, key, kind, plain, previous_hash))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying a chain found: `broken_at` is the first link that does not hold."""

    sound: bool
    entries: int
    head: str
    broken_at: int | None = None
    reason: str | None = None


def verify(entries: Iterable[JournalEntry], anchor: str | None = None, since: Verdict | None = None) -> Verdict:
    """Walk a chain from its genesis; with `anchor`, that hash must be one of its links.

    With `since`, what an earlier walk found sound, only the links after it are walked: `entries` are those from its
    head on, the head among them, so that a chain that was cut or forged anew behind it is seen too.
    """
    previous, count, seen = GENESIS, 0, {GENESIS}
    walked = iter(entries)
    if since is not None and since.entries:
        if not since.sound:
            return since
        head = next(walked, None)
        previous, count, seen = since.head, since.entries, {since.head}
        if head is None or head.seq != count or not _holds(head):
            return Verdict(False, count, previous, count, "a link that was there before is gone or was changed")
        if head.hash != previous:
            return Verdict(False, count, previous, count, "the chain is another than it was before")
    for entry in walked:
        count += 1
        if entry.seq != count or entry.previous_hash != previous:
            return Verdict(False, count, previous, count, "a link is missing, doubled or out of order")
        if not _holds(entry):
            return Verdict(False, count, previous, count, "the content of this link was changed")
        previous = entry.hash
        seen.add(previous)
    if anchor is not None and anchor not in seen:
        return Verdict(False, count, previous, count, "the anchored head is not in the chain: its end was cut off")
    return Verdict(True, count, previous)


def verify_end(entries: Sequence[JournalEntry]) -> Verdict:
    """Whether the newest links of a chain hold and follow each other; of those before the first it says nothing."""
    if not entries or entries[0].seq == 1:
        return verify(entries)
    return verify(entries, since=Verdict(True, entries[0].seq, entries[0].hash))


def _holds(entry: JournalEntry) -> bool:
    content = (entry.seq, entry.at, entry.key, entry.kind, entry.body, entry.previous_hash)
    return entry.hash == _hash(*content)


def _hash(seq: int, at: datetime, key: str, kind: str, body: Mapping[str, Any], previous_hash: str) -> str:
    content = [seq, instant(at), key, kind, body, previous_hash]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
