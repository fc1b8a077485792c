"""The lake: each batch once whatever happens, reads as of a time, and faults told in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from forked import fork, processes
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.errors import LakeError, RegistryError
from homeostat.lake import Lake
from homeostat.lake import tables as lake_module

START = datetime(2024, 1, 1, tzinfo=UTC)
KILLED_APPEND = """
import sys
sys.path[:0] = sys.argv[2:]
from test_lake import inputs_of
from homeostat.lake import Lake
Lake(sys.argv[1], "p").append("inputs", inputs_of(range(5), "b"), "inputs", "b")
"""
KILLED_STREAM = """
import os, signal, sys
sys.path[:0] = sys.argv[2:]
from test_lake import inputs_of
from homeostat.lake import Lake
def frames():
    yield inputs_of(range(3), "b")
    os.kill(os.getpid(), signal.SIGKILL)
Lake(sys.argv[1], "p").append("inputs", frames(), "inputs", "b")
"""


def at(hours: float) -> datetime:
    """So many hours after the start."""
    return START + timedelta(hours=hours)


def inputs_of(keys: Any, batch: str, known_at: datetime = START, **columns: Any) -> pl.DataFrame:
    """An INPUTS frame of these keys."""
    frame = pl.DataFrame({"id": list(keys)}, schema={"id": pl.Int64})
    times = pl.Datetime("us", "UTC")
    return frame.with_columns(
        event_at=pl.lit(START, times),
        known_at=pl.lit(known_at, times),
        x=pl.col("id").cast(pl.Float64),
        **columns,
        _batch=pl.lit(batch),
    )


def keys_in(lake: Lake) -> list[int]:
    """All keys of the inputs, sorted, each as often as it is there."""
    rows = lake.read("inputs", columns=["id"])
    return [] if rows is None else sorted(rows["id"])


def append_with_others(uri: str, ready: Any, batch: str, result: Any) -> None:
    """Append a batch at the same moment as other processes."""
    lake, rows = Lake(uri, "p"), inputs_of(range(3), batch)
    lake.appended("inputs", "inputs", batch)
    ready.wait()
    result.put(lake.append("inputs", rows, "inputs", batch))


def at_once(uri: str, batches: list[str]) -> list[bool]:
    """Append these batches from as many processes at once; what each call said."""
    ready, result = processes().Barrier(len(batches)), processes().Queue()
    workers = [fork(append_with_others, uri, ready, batch, result) for batch in batches]
    for worker in workers:
        worker.start()
    said = [result.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    return said


def test_a_batch_is_appended_once_however_often_it_is_asked(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), "p")
    assert lake.append("inputs", inputs_of(range(3), "b"), "inputs", "b")
    assert not lake.append("inputs", inputs_of(range(3), "b"), "inputs", "b")
    assert not Lake(str(tmp_path), "p").append("inputs", inputs_of(range(9), "b"), "inputs", "b")
    assert keys_in(lake) == [0, 1, 2]


def test_projects_steps_and_batches_do_not_hide_each_other(tmp_path: Path) -> None:
    asked = [("p", "inputs", "b"), ("p", "inputs", "c"), ("p", "other", "b"), ("q", "inputs", "b")]
    for i, (project, step, batch) in enumerate(asked):
        assert Lake(str(tmp_path), project).append("inputs", inputs_of([i], batch), step, batch)
    assert keys_in(Lake(str(tmp_path), "p")) == [0, 1, 2, 3]


def test_an_empty_batch_is_remembered_too(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), "p")
    assert lake.append("inputs", inputs_of([], "b"), "inputs", "b")
    assert lake.appended("inputs", "inputs", "b")
    assert not lake.append("inputs", inputs_of([1], "b"), "inputs", "b")


@pytest.mark.parametrize("there_already", [False, True], ids=["on a new table", "on an old table"])
def test_processes_that_append_one_batch_at_once_leave_it_once(tmp_path: Path, there_already: bool) -> None:
    lake = Lake(str(tmp_path), "p")
    if there_already:
        lake.append("inputs", inputs_of([9], "a"), "inputs", "a")
    said = at_once(str(tmp_path), ["b"] * 3)
    assert sorted(said) == [False, False, True]
    assert keys_in(lake) == [0, 1, 2] + [9] * there_already


def test_processes_that_append_different_batches_at_once_leave_all_of_them(tmp_path: Path) -> None:
    assert at_once(str(tmp_path), ["a", "b", "c"]) == [True, True, True]
    assert keys_in(Lake(str(tmp_path), "p")) == sorted([0, 1, 2] * 3)


@pytest.mark.parametrize(
    ("script", "boundary", "kept"),
    [
        (KILLED_APPEND, "lake.inputs:before", False),
        (KILLED_APPEND, "lake.inputs:after", True),
        (KILLED_STREAM, None, False),
    ],
    ids=["before the commit", "after the commit", "in the middle of a stream"],
)
def test_a_process_killed_around_its_append_leaves_all_or_nothing(
    tmp_path: Path, script: str, boundary: str | None, kept: bool
) -> None:
    environment = {**os.environ, **({"HOMEOSTAT_KILL_AT": boundary} if boundary else {})}
    command = [sys.executable, "-c", script, str(tmp_path / "lake"), *map(str, Path(__file__).parents[:2])]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    lake = Lake(str(tmp_path / "lake"), "p")
    assert lake.appended("inputs", "inputs", "b") is kept
    assert lake.append("inputs", inputs_of(range(5), "b"), "inputs", "b") is not kept
    assert keys_in(lake) == [0, 1, 2, 3, 4]


def test_a_stream_of_frames_is_one_commit(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), "p")
    lake.append("inputs", inputs_of([0], "a"), "inputs", "a")
    before = lake.versions()["inputs"]
    assert lake.append("inputs", (inputs_of([i], "b") for i in range(1, 6)), "inputs", "b")
    assert lake.versions()["inputs"] == before + 1
    assert keys_in(lake) == [0, 1, 2, 3, 4, 5]


def test_a_stream_that_breaks_leaves_nothing_and_says_what_broke(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), "p")

    def frames() -> Iterator[pl.DataFrame]:
        yield inputs_of([1], "b")
        raise RegistryError("the model went away")

    with pytest.raises(RegistryError, match=r"^the model went away$"):
        lake.append("inputs", frames(), "inputs", "b")
    assert keys_in(lake) == [] and not lake.appended("inputs", "inputs", "b")


def test_a_column_that_comes_later_is_null_before_and_one_that_goes_is_null_after(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), "p")
    lake.append("inputs", inputs_of([1], "a", gone=pl.lit("g")), "inputs", "a")
    lake.append("inputs", inputs_of([2], "b", new=pl.lit(True)), "inputs", "b")
    rows = lake.read("inputs")
    assert rows is not None
    assert rows.sort("id").select("id", "gone", "new").rows() == [(1, "g", None), (2, None, True)]


def test_without_a_table_there_is_nothing_to_read(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "nowhere"), "p")
    assert lake.scan("inputs") is None and lake.read("inputs") is None and lake.schema("inputs") is None
    assert lake.latest("inputs", "id", START) is None
    assert list(lake.stream("inputs", pl.lit(True))) == [] and lake.versions() == {}
    assert not lake.appended("inputs", "inputs", "b")


def test_compaction_keeps_every_row_and_every_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_module, "COMPACT_EVERY", 5)
    lake = Lake(str(tmp_path), "p")
    for i in range(23):
        lake.append("inputs", inputs_of([2 * i, 2 * i + 1], f"b{i}"), "inputs", f"b{i}")
    assert len(DeltaTable(str(tmp_path / "inputs")).file_uris()) < 10
    anew = Lake(str(tmp_path), "p")
    assert not any(anew.append("inputs", inputs_of([99], f"b{i}"), "inputs", f"b{i}") for i in range(23))
    assert keys_in(anew) == list(range(46))
    assert sum(frame.height for frame in anew.stream("inputs", pl.col("_batch") == "b7")) == 2


KEYS = st.integers(0, 3)
INPUT_ROWS = st.lists(st.tuples(KEYS, st.integers(0, 12)), max_size=5, unique=True)
LABEL_ROWS = st.lists(st.tuples(KEYS, st.integers(0, 12), st.integers(0, 12)), max_size=5, unique=True)


@settings(max_examples=15, deadline=None)
@given(st.lists(INPUT_ROWS, min_size=1, max_size=4), st.lists(st.integers(-1, 13), min_size=3, max_size=3))
def test_the_input_that_counts_is_the_last_one_known_by_then(
    batches: list[list[tuple[int, int]]], times: list[int]
) -> None:
    seen: dict[tuple[int, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder, "p")
        for b, rows in enumerate(batches):
            fresh = [row for row in rows if row not in seen]
            seen |= {row: float(b) for row in fresh}
            times_known = pl.Series([at(hour) for _, hour in fresh], dtype=pl.Datetime("us", "UTC"))
            frame = inputs_of([key for key, _ in fresh], str(b)).with_columns(known_at=times_known, x=pl.lit(float(b)))
            lake.append("inputs", frame, "inputs", str(b))
        for now in times:
            found = lake.latest("inputs", "id", at(now))
            assert found is not None
            known = sorted((key, hour, x) for (key, hour), x in seen.items() if hour <= now)
            assert dict(found.select("id", "x").iter_rows()) == {key: x for key, _, x in known}
            assert found["id"].to_list() == sorted(found["id"])


@settings(max_examples=15, deadline=None)
@given(st.lists(LABEL_ROWS, min_size=1, max_size=4), st.lists(st.integers(-1, 13), min_size=3, max_size=3))
def test_the_label_that_counts_was_known_and_taken_in_by_then_and_is_the_last_taken_in(
    batches: list[list[tuple[int, int, int]]], times: list[int]
) -> None:
    seen: dict[tuple[int, int, int], str] = {}
    schema = {"id": pl.Int64, "known_at": pl.Datetime("us", "UTC"), "ingested_at": pl.Datetime("us", "UTC")}
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder, "p")
        for b, rows in enumerate(batches):
            fresh = [row for row in rows if row not in seen]
            seen |= dict.fromkeys(fresh, f"{b}")
            frame = pl.DataFrame([(k, at(known), at(came)) for k, known, came in fresh], schema=schema, orient="row")
            frame = frame.with_columns(label=pl.lit(f"{b}"), provenance=pl.lit("observed"))
            lake.append("feedback", frame, "feedback", str(b))
        for now in times:
            found = lake.latest("feedback", "id", at(now))
            assert found is not None
            known = sorted((k, came, at, label) for (k, at, came), label in seen.items() if max(at, came) <= now)
            assert dict(found.select("id", "label").iter_rows()) == {key: label for key, _, _, label in known}


def test_a_label_by_rule_gives_way_and_a_withdrawn_label_counts_no_more(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), "p")
    rows = [
        (1, "a", 0, 1, "observed"),
        (1, "b", 0, 2, "programmatic"),
        (2, "a", 2, 2, "human"),
        (2, None, 1, 3, "observed"),
    ]
    columns = ["id", "label", "known_at", "ingested_at", "provenance"]
    made = [(key, label, at(known), at(came), origin) for key, label, known, came, origin in rows]
    lake.append("feedback", pl.DataFrame(made, schema=columns, orient="row"), "feedback", "a")
    counting = {now: lake.latest("feedback", "id", at(now)) for now in (2, 3)}
    assert {now: found.select("id", "label").rows() for now, found in counting.items() if found is not None} == {
        2: [(1, "a"), (2, "a")],
        3: [(1, "a")],
    }


def test_latest_may_be_asked_of_some_keys_and_some_rows_alone(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), "p")
    lake.append("inputs", inputs_of(range(4), "a"), "inputs", "a")
    lake.append("inputs", inputs_of([1, 2], "b", at(1)), "inputs", "b")
    some = lake.latest("inputs", "id", at(2), where=pl.col("_batch") == "a", keys=pl.Series("k", [1, 3, 7]))
    assert some is not None and some.select("id", "_batch").rows() == [(1, "a"), (3, "a")]


@pytest.mark.parametrize("prefix", ["", "k" * 200, "ü" * 60, "\U0010ffff" * 30], ids=["short", "long", "wide", "last"])
def test_latest_finds_text_keys_however_long_they_are(tmp_path: Path, prefix: str) -> None:
    lake = Lake(str(tmp_path), "p")
    for batch in range(4):
        rows = inputs_of(range(batch * 10, batch * 10 + 10), str(batch))
        text = pl.lit(prefix) + pl.col("id").cast(pl.String).str.zfill(3)
        lake.append("inputs", rows.with_columns(id=text), "inputs", str(batch))
    asked = pl.Series([f"{prefix}{n:03d}" for n in (0, 9, 25, 39, 77)])
    found = lake.latest("inputs", "id", at(1), keys=asked)
    assert found is not None and found["id"].to_list() == asked.to_list()[:4]
    none = lake.latest("inputs", "id", at(1), keys=asked.clear())
    assert none is not None and none.is_empty()


@pytest.mark.parametrize("name", ["a folder", "Bücher", "a+b#c"])
def test_a_lake_lies_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    lake = Lake(str(tmp_path / name), "p")
    lake.append("inputs", inputs_of(range(3), "b"), "inputs", "b")
    assert keys_in(lake) == [0, 1, 2]
    assert keys_in(Lake(str(tmp_path / name), "p")) == [0, 1, 2]


def break_log(table: Path) -> None:
    """Overwrite the table's first commit with what is none."""
    (table / "_delta_log" / f"{0:020}.json").write_text("garbage")


def lose_file(table: Path) -> None:
    """Take the table's data away."""
    next(table.glob("*.parquet")).unlink()


def cut_file(table: Path) -> None:
    """Cut the table's data short."""
    file = next(table.glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:200])


@pytest.mark.parametrize("damage", [break_log, lose_file, cut_file])
def test_a_damaged_table_is_one_line_and_never_read_as_empty(tmp_path: Path, damage: Any) -> None:
    Lake(str(tmp_path), "p").append("inputs", inputs_of(range(3), "b"), "inputs", "b")
    damage(tmp_path / "inputs")
    lake = Lake(str(tmp_path), "p")
    reads = [
        lambda: lake.read("inputs"),
        lambda: lake.latest("inputs", "id", at(1)),
        lambda: list(lake.stream("inputs", pl.col("_batch") == "b")),
    ]
    for read in reads:
        with pytest.raises(LakeError, match=r"^the lake table 'inputs' under .* cannot be read: ") as told:
            read()
        assert "\n" not in str(told.value)


def test_a_lake_where_there_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("not a folder")
    with pytest.raises(LakeError, match=r"^the lake table 'inputs' under .*/lake cannot be written: .*File exists"):
        Lake(str(tmp_path / "lake"), "p").append("inputs", inputs_of([1], "b"), "inputs", "b")


@pytest.mark.parametrize("value", [pl.lit("text"), pl.lit(1).cast(pl.Time)], ids=["another type", "no type of Delta's"])
def test_a_column_that_does_not_fit_is_one_line_and_nothing_is_kept(tmp_path: Path, value: pl.Expr) -> None:
    lake = Lake(str(tmp_path), "p")
    lake.append("inputs", inputs_of([1], "a"), "inputs", "a")
    with pytest.raises(LakeError) as told:
        lake.append("inputs", inputs_of([2], "b").with_columns(x=value), "inputs", "b")
    assert "\n" not in str(told.value)
    assert keys_in(lake) == [1] and not lake.appended("inputs", "inputs", "b")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def wide(batch: str) -> pl.DataFrame:
    """Rows that take four megabytes."""
    noise = [pl.col("id").hash(i).alias(f"n{i}").reinterpret(signed=True) for i in range(5)]
    return inputs_of(range(100_000), batch).with_columns(noise)


def again(frame: pl.DataFrame, streamed: bool) -> Any:
    """A frame as it is, or as a stream of its parts."""
    return iter(frame.iter_slices(20_000)) if streamed else frame


@pytest.mark.parametrize("streamed", [False, True], ids=["in one frame", "streamed"])
def test_a_disk_that_fills_in_the_middle_of_an_append_loses_nothing(small_disk: Path, streamed: bool) -> None:
    lake = Lake(str(small_disk / "lake"), "p")
    lake.append("inputs", inputs_of([-1], "a"), "inputs", "a")
    with pytest.raises(LakeError, match="no space is left on the disk") as told:
        lake.append("inputs", again(wide("b"), streamed), "inputs", "b")
    assert "\n" not in str(told.value)
    assert keys_in(lake) == keys_in(Lake(str(small_disk / "lake"), "p")) == [-1]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert lake.append("inputs", again(wide("b"), streamed), "inputs", "b")
    assert keys_in(lake) == list(range(-1, 100_000))


@pytest.mark.parametrize("pages_left", [0, 1, 2, 3])
def test_a_disk_that_is_full_at_the_commit_itself_loses_nothing(small_disk: Path, pages_left: int) -> None:
    lake = Lake(str(small_disk / "lake"), "p")
    lake.append("inputs", inputs_of([-1], "a"), "inputs", "a")
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail - pages_left
    filler.write_bytes(b"\0" * (free * os.statvfs(small_disk).f_bsize))
    try:
        lake.append("inputs", inputs_of(range(5), "b"), "inputs", "b")
    except LakeError as told:
        assert "no space is left" in str(told)
        assert keys_in(Lake(str(small_disk / "lake"), "p")) == [-1]
    filler.unlink()
    lake.append("inputs", inputs_of(range(5), "b"), "inputs", "b")
    assert keys_in(lake) == keys_in(Lake(str(small_disk / "lake"), "p")) == [-1, 0, 1, 2, 3, 4]


def test_a_lake_that_may_only_be_read_is_one_line(small_disk: Path) -> None:
    lake = Lake(str(small_disk / "lake"), "p")
    lake.append("inputs", inputs_of([1], "a"), "inputs", "a")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(LakeError, match=r"cannot be written: .*Read-only file system") as told:
        lake.append("inputs", inputs_of([2], "b"), "inputs", "b")
    assert "\n" not in str(told.value)
    assert keys_in(lake) == [1]
