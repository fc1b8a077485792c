"""Whatever is killed, in whatever order things come: each row that was posted is in the lake once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import KILLED, START, boundaries, run_apart

from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.posts import check_rows, digest_rows
from homeostat.records import Post, PostKind, Scope

MINUTE = timedelta(minutes=1)
POSTED = (
    worlds.PROJECT.replace('uri = "inputs.parquet"\nknown_at = "seen_at"', "posted = true")
    .replace('uri = "feedback.parquet"\nknown_at = "known_at"', "posted = true")
    .replace('target = "y"', 'target = "y"\nclasses = [0, 1]')
)
BOUNDARIES = [
    f"{name}:{side}#{passing}"
    for name in (
        "store.posts", "lake.quarantine.inputs", "lake.inputs", "store.ingest", "lake.quarantine.feedback",
        "lake.feedback", "store.feedback",
    )
    for side in ("before", "after")
    for passing in ((1, 2) if name == "store.posts" else (1,))
]  # fmt: skip


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    forget_open_loops()


def drain(folder: str, at: str) -> None:
    """Take in what was posted, as the flows do."""
    from homeostat.flows.loop import open_loop
    from homeostat.flows.stages.feedback import feedback
    from homeostat.flows.stages.ingest import ingest
    from homeostat.records import Scope

    loop, now = open_loop(folder, Scope.LIVE), datetime.fromisoformat(at)
    ingest(loop, now)
    feedback(loop, now)


def project(folder: Path) -> Loop:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "homeostat.toml").write_text(POSTED)
    return open_loop(folder, Scope.LIVE)


def post(loop: Loop, kind: PostKind, rows: list[dict[str, Any]], at: datetime, name: str) -> None:
    sound = check_rows(loop.project, kind, rows)
    with loop.store.write("post") as write:
        write.append_posts([Post(name, kind, sound, digest_rows(kind, sound), at, "a system")])


def inputs(*keys: int, at: str = "2020-01-06T12:00Z") -> list[dict[str, Any]]:
    return [{"id": key, "at": at, "x": key % 7, "z": 0, "c": "c"} for key in keys]


def labels(*keys: int) -> list[dict[str, Any]]:
    return [{"id": key, "y": key % 2} for key in keys]


def keys_of(loop: Loop, table: str) -> list[int]:
    found = loop.lake.read(table, columns=["id"])
    return [] if found is None else sorted(found["id"].to_list())


def test_killed_at_every_boundary_each_row_is_there_once(
    tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_STORE_URL", store_url)
    loop, log = project(tmp_path), tmp_path / "log"
    kills = BOUNDARIES if store_url.startswith("sqlite") else BOUNDARIES[1::3]
    for number, boundary in enumerate([None, *kills]):
        base, at = number * 10, START + number * MINUTE
        post(loop, PostKind.INPUTS, [*inputs(base, base + 1), *inputs(base + 2, at="soon")], at, f"in-{number}")
        told = [*labels(base, base + 1), {"id": base, "y": 7}]
        post(loop, PostKind.FEEDBACK, told, at, f"out-{number}")
        killed = {"HOMEOSTAT_KILL_AT": boundary} if boundary else {"HOMEOSTAT_BOUNDARY_LOG": str(log)}
        assert run_apart(drain, str(tmp_path), at.isoformat(), HOMEOSTAT_STORE_URL=store_url, **killed) == (
            KILLED if boundary else 0
        ), boundary
        if number % 2:  # What was killed is done again; else the next comes first, as a flow that was started by hand.
            drain(str(tmp_path), at.isoformat())
    assert {name.rpartition("#")[0] for name in BOUNDARIES} <= set(boundaries(log))
    drain(str(tmp_path), (START + timedelta(days=2)).isoformat())
    wanted = [number * 10 + key for number in range(len(kills) + 1) for key in (0, 1)]
    assert keys_of(loop, "inputs") == keys_of(loop, "feedback") == wanted
    assert loop.store.count_waiting_posts(PostKind.INPUTS) == loop.store.count_waiting_posts(PostKind.FEEDBACK) == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("inputs"), st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True)),
        st.tuples(st.just("labels"), st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True)),
        st.tuples(st.just("drain"), st.sampled_from([None, None, *BOUNDARIES[:10]])),
    ),
    min_size=3,
    max_size=10,
)


def live_through(steps: list[tuple[str, Any]]) -> None:
    """Post and drain as the steps say, each post sent twice, then twice more drained; each row must be there once."""
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        store = f"sqlite:///{place}/store.db"
        patch.setenv("HOMEOSTAT_STORE_URL", store)
        loop, sent = project(Path(place)), {"inputs": set[int](), "labels": set[int]()}
        for number, (what, told) in enumerate(steps):
            at = START + number * MINUTE
            if what == "drain":
                killed = {"HOMEOSTAT_KILL_AT": told} if told else {}
                run_apart(drain, place, at.isoformat(), HOMEOSTAT_STORE_URL=store, **killed)
                continue
            kind, rows = (PostKind.INPUTS, inputs) if what == "inputs" else (PostKind.FEEDBACK, labels)
            sent[what] |= set(told)
            for _again in range(2):
                post(loop, kind, rows(*told), at, f"post-{number}")
        for days in (1, 2, 3):
            drain(place, (START + timedelta(days=days)).isoformat())
        assert keys_of(loop, "inputs") == sorted(sent["inputs"])
        assert keys_of(loop, "feedback") == sorted(sent["inputs"] & sent["labels"])
        found = loop.lake.read("quarantine", columns=["key"])
        rejected = set() if found is None else {int(key) for key in found["key"]}
        assert not sent["inputs"] or rejected == sent["labels"] - sent["inputs"]
        forget_open_loops()


@settings(max_examples=5)
@given(steps=STEPS)
def test_whatever_the_order_the_repeats_and_the_kills_each_row_is_there_once(steps: list[tuple[str, Any]]) -> None:
    live_through(steps)


@pytest.mark.long
@settings(max_examples=25)
@given(steps=STEPS)
def test_whatever_the_order_of_many_more_each_row_is_there_once(steps: list[tuple[str, Any]]) -> None:
    live_through(steps)
