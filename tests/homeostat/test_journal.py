"""The journal: one unbroken chain whoever writes it, and nothing in it can be edited unseen."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from forked import fork, processes
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from homeostat.records import JournalEntry
from homeostat.store import Store, journal

AT = datetime(2024, 1, 1, tzinfo=UTC)
WRITERS, SAID_EACH = 4, 100
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
BODIES = st.dictionaries(st.text(max_size=3), VALUES, max_size=3)
SAYINGS = st.lists(st.tuples(st.integers(0, 10**9), st.sampled_from(["act", "decide_alarm"]), BODIES), max_size=6)
CHANGES: dict[str, Any] = {
    "seq": lambda e: e.seq + 1,
    "at": lambda e: e.at + timedelta(microseconds=1),
    "key": lambda e: e.key + "x",
    "kind": lambda e: e.kind + "x",
    "body": lambda e: {**e.body, "by": "mallory"},
    "previous_hash": lambda e: "0" * 64,
    "hash": lambda e: "0" * 64,
}


def chain(sayings: list[tuple[int, str, dict[str, Any]]]) -> list[JournalEntry]:
    """A sound chain that says these things."""
    entries: list[JournalEntry] = []
    for seconds, kind, body in sayings:
        previous = entries[-1].hash if entries else journal.GENESIS
        at = AT + timedelta(seconds=seconds)
        entries.append(journal.link(len(entries) + 1, at, f"k{len(entries)}", kind, body, previous))
    return entries


CHAINS = SAYINGS.filter(bool).map(chain)


@given(SAYINGS)
def test_a_chain_that_nobody_touched_is_sound_and_holds_every_head_it_had(sayings: list[Any]) -> None:
    entries = chain(sayings)
    head = entries[-1].hash if entries else journal.GENESIS
    assert journal.verify(entries) == journal.Verdict(True, len(entries), head)
    assert all(journal.verify(entries, anchor=e.hash).sound for e in entries)


@given(CHAINS, st.data())
def test_a_changed_entry_is_found_where_it_is(entries: list[JournalEntry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    field = data.draw(st.sampled_from(sorted(CHANGES)))
    entries[at] = dataclasses.replace(entries[at], **{field: CHANGES[field](entries[at])})
    verdict = journal.verify(entries)
    assert not verdict.sound and verdict.broken_at == at + 1 and verdict.reason


@given(CHAINS, st.data())
def test_an_entry_taken_out_of_the_middle_is_found(entries: list[JournalEntry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    head = entries[-1].hash
    del entries[at]
    cut_off = at == len(entries)
    assert journal.verify(entries).sound is cut_off
    assert not journal.verify(entries, anchor=head).sound


@given(CHAINS, st.data())
def test_an_entry_put_in_is_found(entries: list[JournalEntry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    previous = entries[at - 1].hash if at else journal.GENESIS
    entries.insert(at, journal.link(at + 1, AT, "put in", "act", {}, previous))
    assert not journal.verify(entries).sound


@given(CHAINS, st.data())
def test_entries_that_change_places_are_found(entries: list[JournalEntry], data: st.DataObject) -> None:
    one, other = data.draw(st.integers(0, len(entries) - 1)), data.draw(st.integers(0, len(entries) - 1))
    entries[one], entries[other] = entries[other], entries[one]
    assert journal.verify(entries).sound is (one == other)


@given(CHAINS, st.data())
def test_a_chain_forged_anew_from_an_entry_on_is_found_by_the_anchor(
    entries: list[JournalEntry], data: st.DataObject
) -> None:
    at, head = data.draw(st.integers(0, len(entries) - 1)), entries[-1].hash
    for i in range(at, len(entries)):
        old, previous = entries[i], entries[i - 1].hash if i else journal.GENESIS
        entries[i] = journal.link(old.seq, old.at, old.key, old.kind, {**old.body, "by": "mallory"}, previous)
    assert journal.verify(entries).sound
    verdict = journal.verify(entries, anchor=head)
    assert not verdict.sound and "anchored head" in (verdict.reason or "")


@given(CHAINS, st.data())
def test_a_walk_from_where_it_was_found_sound_says_what_a_whole_walk_says(
    entries: list[JournalEntry], data: st.DataObject
) -> None:
    known = data.draw(st.integers(1, len(entries)))
    since = journal.verify(entries[:known])
    assert journal.verify(entries[known - 1 :], since=since) == journal.verify(entries)
    at = data.draw(st.integers(known - 1, len(entries) - 1))
    field = data.draw(st.sampled_from(sorted(CHANGES)))
    entries[at] = dataclasses.replace(entries[at], **{field: CHANGES[field](entries[at])})
    assert not journal.verify(entries[known - 1 :], since=since).sound
    assert not journal.verify([], since=since).sound
    assert not journal.verify_end(entries[known - 1 :]).sound


def say(url: str, who: int, ready: Any) -> None:
    """Write entries of one's own at the same time as others."""
    store = Store(url, "p")
    ready.wait()
    for i in range(SAID_EACH):
        with store.write("test") as write:
            write.append_journal(AT + timedelta(seconds=i), f"{who}/{i}", "act", {"by": who, "share": i / 3})


def test_four_processes_that_write_at_once_leave_one_unbroken_chain(store_url: str) -> None:
    ready = processes().Barrier(WRITERS)
    writers = [fork(say, store_url, who, ready) for who in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    store = Store(store_url, "p")
    verdict = store.verify_journal(anchor=store.journal_head())
    assert (verdict.sound, verdict.entries) == (True, WRITERS * SAID_EACH)
    said = [entry.key for entry in store.list_journal()]
    assert set(said) == {f"{who}/{i}" for who in range(WRITERS) for i in range(SAID_EACH)}
    for who in range(WRITERS):
        assert [key for key in said if key.startswith(f"{who}/")] == [f"{who}/{i}" for i in range(SAID_EACH)]


@pytest.mark.parametrize(
    ("edit", "broken_at"),
    [
        ('UPDATE journal SET body = \'{"by": "mallory"}\' WHERE seq = 2', 2),
        ("UPDATE journal SET kind = 'nothing' WHERE seq = 3", 3),
        ("DELETE FROM journal WHERE seq = 2", 2),
        ("DELETE FROM journal WHERE seq = 4", 3),
    ],
    ids=["a body is changed", "a kind is changed", "an entry is taken out", "the end is cut off"],
)
def test_an_edit_of_the_database_itself_is_found(store_url: str, edit: str, broken_at: int) -> None:
    store = Store(store_url, "p")
    for i in range(4):
        with store.write("test") as write:
            write.append_journal(AT, f"k{i}", "act", {"share": i / 3, "größe": [1, None, True]})
    anchor = store.journal_head()
    assert store.verify_journal(anchor).sound
    with store.engine.begin() as connection:
        connection.execute(sa.text(edit.replace(":", "\\:")))
    verdict = store.verify_journal(anchor)
    assert (verdict.sound, verdict.broken_at) == (False, broken_at)


def test_the_database_itself_refuses_a_second_successor(store_url: str) -> None:
    store = Store(store_url, "p")
    with store.write("test") as write:
        write.append_journal(AT, "k", "act", {})
    with pytest.raises(IntegrityError), store.engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO journal SELECT owner, seq + 1, at, 'other', kind, body, previous_hash, hash FROM journal"
            )
        )
