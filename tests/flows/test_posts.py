"""What is posted reaches the lake, each row once, whatever is killed, and meets what the source gives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import START, small_project

from homeostat.durations import instant
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.posts import KEPT_FOR, PostRefused, check_rows, digest_rows
from homeostat.flows.stages.feedback import feedback
from homeostat.flows.stages.ingest import ingest
from homeostat.flows.stages.notify import notify
from homeostat.flows.stages.sequence import run_tick
from homeostat.project import load_project
from homeostat.records import Post, PostKind, Scope

MINUTE = timedelta(minutes=1)
BY_POST = (
    '[data.inputs]\nuri = "inputs.parquet"\n[data.feedback]\nuri = "feedback.parquet"\n',
    "[data.inputs]\nposted = true\n[data.feedback]\nposted = true\n",
)
IN, OUT = PostKind.INPUTS, PostKind.FEEDBACK


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    forget_open_loops()


@pytest.fixture(params=["sqlite", "postgresql"])
def stored(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the store in each kind of database."""
    monkeypatch.delenv("HOMEOSTAT_STORE_URL", raising=False)
    if request.param == "postgresql":
        monkeypatch.setenv("HOMEOSTAT_STORE_URL", request.getfixturevalue("postgresql_url"))


def posted_project(folder: Path, extra: str = "") -> Loop:
    """The small project, whose rows come by posts alone."""
    file = small_project(folder, extra=extra) / "homeostat.toml"
    file.write_text(file.read_text().replace(*BY_POST))
    for name in ("inputs.parquet", "feedback.parquet"):
        (folder / name).unlink()
    return open_loop(folder, Scope.LIVE)


def post(loop: Loop, kind: PostKind, rows: list[dict[str, Any]], at: Any, name: str = "") -> None:
    """Hold rows as the door does."""
    name = name or f"{kind.value}-{at.isoformat()}"
    sound = check_rows(loop.project, kind, rows)
    with loop.store.write("post") as write:
        write.append_posts([Post(name, kind, sound, digest_rows(kind, sound), at, "a system")])


def row(key: Any, x: Any = 0.5, at: str = "2020-01-06T12:00Z") -> dict[str, Any]:
    return {"id": key, "at": at, "x": x}


def lake(loop: Loop, table: str, *columns: str) -> list[Any]:
    found = loop.lake.read(table)
    return [] if found is None else sorted(found.select(columns).rows(), key=str)


def test_posts_become_rows_and_their_labels_follow(tmp_path: Path, stored: None) -> None:
    loop = posted_project(tmp_path / "p")
    post(loop, IN, [row(1), row(2, "2.5"), row("3", None), row(4, "soon"), row(5, 1, "soon"), row(None)], START)
    post(loop, OUT, [{"id": "1", "y": 1}, {"id": 2.0, "y": "0", "known_at": "2020-01-06T13:00Z"}], START + MINUTE)
    assert ingest(loop, START + MINUTE)["rows"] == 3
    assert feedback(loop, START + MINUTE) == {"labels": 2, "withdrawn": 0, "quarantined": 0}
    assert lake(loop, "inputs", "id", "x", "_posted") == [("1", 0.5, True), ("2", 2.5, True), ("3", None, True)]
    assert {rule for (rule,) in lake(loop, "quarantine", "rule")} == {"type:x", "time", "key"}
    dated = [("1", "1", START + MINUTE), ("2", "0", START - timedelta(hours=11))]
    assert lake(loop, "feedback", "id", "label", "known_at") == dated
    assert loop.store.count_waiting_posts(IN) == loop.store.count_waiting_posts(OUT) == 0


def test_a_loop_that_lives_by_posts_alone_trains_and_scores(tmp_path: Path) -> None:
    small = small_project(tmp_path / "source")
    inputs, labels = (pl.read_parquet(small / f"{name}.parquet") for name in ("inputs", "feedback"))
    loop = posted_project(tmp_path / "p", "[gates]\nmin_rows = 20\n[training]\ncandidates = ['linear']")
    run_tick(loop.project.folder, "live", instant(START - timedelta(days=1)))
    before = inputs["at"] < START
    as_json = inputs.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    post(loop, IN, as_json.filter(before).to_dicts(), START - MINUTE)
    early = labels.filter(pl.col("known_at") < START).with_columns(pl.col("known_at").dt.strftime("%Y-%m-%dT%H:%MZ"))
    post(loop, OUT, early.to_dicts(), START - MINUTE)
    run_tick(loop.project.folder, "live", instant(START))
    post(loop, IN, as_json.filter(~before).to_dicts(), START + timedelta(days=1))
    run_tick(loop.project.folder, "live", instant(START + timedelta(days=1)))
    assert loop.version_of("champion") == 1 and loop.lake.schema("inputs")["id"] == pl.Int64  # type: ignore[index]
    assert len(lake(loop, "predictions", "id")) == (~before).sum()


def test_of_a_row_that_is_posted_and_in_the_source_what_was_posted_counts(tmp_path: Path) -> None:
    loop = open_loop(small_project(tmp_path / "p"), Scope.LIVE)
    ingest(loop, START)
    feedback(loop, START)
    said = pl.read_parquet(tmp_path / "p" / "feedback.parquet").row(0, named=True)["y"]
    post(loop, IN, [row(0, 9, "2020-01-01T00:00Z"), row("9999", 1)], START + MINUTE)
    post(loop, OUT, [{"id": 0, "y": 1 - said}, {"id": 9999, "y": 1}], START + MINUTE)
    for tick in (1, 2, 3):
        ingest(loop, START + tick * timedelta(hours=1))
        feedback(loop, START + tick * timedelta(hours=1))
    keys, now = pl.Series([0, 9999]), START + timedelta(days=9)
    known, labels = (loop.lake.latest(table, "id", now, keys=keys) for table in ("inputs", "feedback"))
    assert known is not None and known.select("x", "_correction").rows() == [(9.0, True), (1.0, False)]
    assert labels is not None and labels["label"].to_list() == [str(1 - said), "1"]
    assert [len([k for (k,) in lake(loop, table, "id") if k == 0]) for table in ("inputs", "feedback")] == [2, 2]
    assert len(lake(loop, "inputs", "id")) == 6 * 72 + 9 + 2


def test_a_label_waits_a_tick_for_its_input_and_the_rest_of_its_post_does_not(tmp_path: Path, stored: None) -> None:
    loop = posted_project(tmp_path / "p")
    post(loop, IN, [row(1)], START)
    post(loop, OUT, [{"id": 1, "y": 0}, {"id": 2, "y": 1}, {"id": 3, "y": 1}], START)
    ingest(loop, START)
    feedback(loop, START + MINUTE)
    assert lake(loop, "feedback", "id", "label") == [(1, "0")] and loop.store.count_waiting_posts(OUT) == 1
    post(loop, IN, [row(2)], START + MINUTE)
    ingest(loop, START + 2 * MINUTE)
    feedback(loop, START + 3 * MINUTE)
    assert lake(loop, "feedback", "id", "label") == [(1, "0"), (2, "1")]
    feedback(loop, START + timedelta(days=1))
    assert lake(loop, "quarantine", "key", "rule") == [("3", "unknown_key")]
    assert loop.store.count_waiting_posts(OUT) == 0


def test_a_replay_is_given_nothing_and_old_posts_are_forgotten(tmp_path: Path) -> None:
    folder = small_project(tmp_path / "p")
    replay, live = open_loop(folder, Scope.REPLAY), open_loop(folder, Scope.LIVE)
    for loop in (replay, live):
        post(loop, IN, [row(7000)], START)
        ingest(loop, START + MINUTE)
        notify(loop, START + MINUTE + KEPT_FOR)
    assert replay.store.count_waiting_posts(IN) == 1 and live.store.list_batch_posts(IN, instant(START + MINUTE)) == []


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({}, "rows: expected a list"),
        ([], "rows: expected a list"),
        ([1], r"rows\[0\]: expected an object, not 1"),
        ([row(1), {"id": 1, "x": 1}], r"rows\[1\]: the column 'at' is missing"),
        ([row(1) | {"X": 1}], "'X' is not a column of this project"),
        ([row(1) | {"att": 1}], "did you mean 'at'"),
        ([row(1, [1])], r"x: \[1\] is not a single value"),
        ([row(1, float("nan"))], "x: nan is not a number that JSON knows"),
        ([row("\ud800")], "surrogate"),
        ([row(1)] * 10_001, "10,001 rows; a post has at most 10,000"),
    ],
)
def test_what_has_not_the_form_of_rows_is_refused_in_words(tmp_path: Path, rows: Any, words: str) -> None:
    with pytest.raises(PostRefused, match=words):
        check_rows(load_project(small_project(tmp_path)), IN, rows)
