"""Labeling at the terminal as a newcomer meets it: cards, one line for a mistake, everything under one's own name."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shells import Answer, warm

from homeostat.flows.loop import Loop, open_loop
from homeostat.flows.operations.manual import ingest
from homeostat.records import LabelTask, Purpose, Scope, TaskState

START = datetime(2020, 1, 7, tzinfo=UTC)
PROJECT = """
[project]
name = "tickets"
task = "{task}"
[data]
key = "id"
event_time = "at"
target = "topic"
{classes}
numeric = ["x"]
keep = ["words", "photo", "suggestion"]
[data.inputs]
uri = "inputs.parquet"
[loop]
tick = "1d"
start = "2020-01-07"
[labeling]
budget = 5
text = "words"
show = ["x", "suggestion"]
show_suggestion = true
{extra}
"""
NAMED = 'classes = ["bug", "praise"]'


def make_loop(folder: Path, *, task: str = "binary", classes: str = NAMED, extra: str = "") -> Loop:
    """A project with four rows in the lake and an open task for each."""
    folder.mkdir()
    frame = pl.DataFrame({"id": range(4), "at": [START + timedelta(minutes=i) for i in range(4)], "x": [0.5] * 4})
    words = pl.Series([f"[bold]words[/bold] {i}" for i in range(4)])
    frame.with_columns(words=words, photo=pl.lit("cat.png"), suggestion=pl.lit("l")).write_parquet(
        folder / "inputs.parquet"
    )
    text = PROJECT.format(task=task, classes=classes, extra=extra)
    (folder / "homeostat.toml").write_text(text, encoding="utf-8")
    loop = open_loop(folder, Scope.LIVE)
    ingest(loop, START + timedelta(days=1), "ann")
    at = datetime.now(UTC)
    with loop.store.write("tasks") as write:
        for key in range(4):
            due = at + timedelta(days=3, hours=key)
            write.put_task(LabelTask(f"t{key}", str(key), "b", Purpose.MEASURE, 1, at, due, 0.5, "praise"))
    return loop


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """The project."""
    return make_loop(tmp_path / "p")


@pytest.fixture
def label(loop: Loop) -> Callable[..., Answer]:
    """Run a command of `homeostat label` in the project's folder."""
    return lambda *args, **given: warm("label", *args, cwd=loop.project.folder, **given)


def given(loop: Loop) -> dict[str, tuple[str, str | None]]:
    """Who said what of each task."""
    return {answer.task: (answer.who, answer.label) for answer in loop.store.list_answers()}


def test_next_shows_a_card_a_task_and_takes_class_number_skip_undo_and_quit(loop: Loop, label: Any) -> None:
    answer = label("next", "--as", "ann", typed="1\npraise\nu\ns\nwhat\nq\n")
    assert answer.code == 0
    for words in (
        "id 0",
        "[bold]words[/bold] 0",
        "the model predicts praise",
        " 1  bug",
        "1 of 4",
        "due in 3 d",
        "3 of 4",
    ):
        assert words in answer.out, words
    assert "Took praise back." in answer.out and "2 answered, 2 left." in answer.out
    assert answer.told == ["homeostat: 'what': expected bug, praise, s, u or q."]
    assert given(loop) == {"t0": ("ann", "bug"), "t1": ("ann", None)}
    assert max(len(line) for line in answer.out.splitlines() if line[0] in "╭│╰") == 80


def test_what_is_done_is_journaled_with_names(loop: Loop, label: Any) -> None:
    assert label("next", "--as", "ann", "--answer", "bug").out == "ann labelled t0 as bug.\n"
    assert label("undo", "--as", "ann").out == "Took back bug for t0, by ann.\n"
    found = [(e.kind, e.body["who"], e.body["label"], bool(e.body["by"])) for e in loop.store.list_journal()[-2:]]
    assert found == [("answer", "ann", "bug", True), ("answer_undone", "ann", "bug", True)]
    assert given(loop) == {}
    assert loop.store.verify_journal().sound


def test_the_end_of_the_input_is_to_quit_and_no_task_left_is_said(loop: Loop, label: Any) -> None:
    assert "2 answered, 2 left." in label("next", typed="1\n2\n").out
    assert "2 answered, 0 left." in label("next", typed="1\n2\n").out
    assert "No task waits for an answer from ben." in label("next", "--as", "ben").out
    answer = label("next", "--as", "ben", "--answer", "bug")
    assert (answer.code, answer.told) == (1, ["homeostat: no task waits for an answer from ben."])


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["next", "--task", "t9"], 2, "task 't9' does not wait for an answer from"),
        (["next", "--task", "t9", "--answer", "bug"], 1, "which is not a task of this project"),
        (["next", "--answer", "bugs"], 1, "with 'bugs'; expected one of bug, praise"),
        (["undo", "--as", "eve"], 2, "eve has given no answer that could be taken back"),
        (["export"], 2, "Give --out FILE"),
        (["export", "--out", "tasks.xlsx"], 2, ".csv, .parquet or .jsonl"),
        (["import", "nothing.csv"], 2, "no such file"),
        (["import", "homeostat.toml"], 2, ".csv, .parquet or .jsonl"),
        (["burn"], 2, "No such command 'burn'"),
    ],
)
def test_a_mistake_is_one_line(label: Any, args: list[str], code: int, words: str) -> None:
    answer = label(*args)
    assert (answer.code, answer.out, len(answer.told)) == (code, "", 1)
    assert words in answer.err


@pytest.mark.parametrize("action", ["next", "status", "tasks", "undo"])
def test_without_a_project_each_says_how_to_get_one(tmp_path: Path, action: str) -> None:
    answer = warm("label", action, cwd=tmp_path)
    assert (answer.code, answer.out, len(answer.told)) == (2, "", 1)
    assert "no such project file" in answer.err


def test_an_answer_to_a_settled_task_is_not_taken_back(loop: Loop, label: Any) -> None:
    label("next", "--as", "ann", "--answer", "bug")
    task = loop.store.get_task("t0")
    assert task is not None
    with loop.store.write("settled") as write:
        write.put_task(
            LabelTask("t0", "0", "b", Purpose.MEASURE, 1, task.asked_at, task.due_at, state=TaskState.SETTLED)
        )
    answer = label("undo", "--as", "ann")
    assert answer.told == ["homeostat: the last answer of ann, to '0', stays: it is settled already."]
    assert "t0" in given(loop)


def test_a_sheet_goes_out_and_comes_back_with_each_refused_line_told(loop: Loop, label: Any, tmp_path: Path) -> None:
    file = tmp_path / "out" / "tasks.csv"
    assert "4 open tasks written" in label("export", "--out", file).out
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["id", "task", "words", "x", "row.suggestion", "suggestion", "label", "who"]
    rows[0] |= {"label": "bug"}
    rows[1] |= {"label": "bugs", "who": "ben"}
    rows[2] |= {"label": "-", "who": "ben"}
    rows.append(rows[0] | {"task": "", "label": "praise"})
    with file.open("w", encoding="utf-8-sig", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    answer = label("import", file, "--as", "ann")
    assert (answer.code, answer.out) == (1, "2 answers imported.\n")
    assert answer.told == [
        f"homeostat: {file}, line 3: ben answered '1' with 'bugs'; expected one of bug, praise.",
        f"homeostat: {file}, line 6: 'praise' stands in a row without a task.",
    ]
    assert given(loop) == {"t0": ("ann", "bug"), "t2": ("ben", None)}
    again = json.loads(label("import", file, "--as", "ann", "--json").out)
    assert (again["counted"], again["known"], [r["line"] for r in again["refused"]]) == (0, 2, [3, 6])


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_sheet_has_other_forms(loop: Loop, label: Any, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"tasks.{ending}"
    assert json.loads(label("export", "--out", file, "--json").out)["tasks"] == 4
    frame = pl.read_parquet(file) if ending == "parquet" else pl.read_ndjson(file)
    filled = frame.with_columns(label=pl.when(pl.col("id") == "3").then(pl.lit("praise")).otherwise("label"))
    filled.write_parquet(file) if ending == "parquet" else filled.write_ndjson(file)
    assert label("import", file, "--as", "ann").out == "1 answers imported.\n"
    assert given(loop) == {"t3": ("ann", "praise")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"id,task\n1,t0\n", "no column 'label'"),
        (b"", "no column 'task'"),
        ("task,label\nt0,gr\xfc\xdfe\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_sheet_that_is_none_is_told(label: Any, tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "s.csv").write_bytes(text)
    answer = label("import", tmp_path / "s.csv")
    assert (answer.code, answer.out, len(answer.told)) == (2, "", 1)
    assert words in answer.err


def test_status_and_tasks_tell_people_and_programs(loop: Loop, label: Any) -> None:
    for task, who, said in (("t0", "ann", "bug"), ("t0", "ben", "bug"), ("t1", "ann", "praise"), ("t1", "ben", "s")):
        label("next", "--as", who, "--task", task, "--answer", said)
    found = json.loads(label("status", "--json").out)
    assert (found["asked"], found["open"], found["answered"], found["answers"]) == (4, 4, 2, 4)
    assert found["purposes"]["measure"] == {"open": 4, "settled": 0, "expired": 0}
    assert found["annotators"] == [{"who": "ann", "answers": 2, "passed": 0}, {"who": "ben", "answers": 1, "passed": 1}]
    assert {row["annotator"] for row in found["scoreboard"]} == {"ann", "ben"}
    shown = label("status")
    assert (shown.code, shown.err) == (0, "")
    assert "5 answers every 1w" in shown.out and max(map(len, shown.out.splitlines())) <= 80
    assert [task["id"] for task in json.loads(label("tasks", "--json").out)] == ["t0", "t1", "t2", "t3"]
    assert label("tasks").out.splitlines()[0] == "Labeling tasks"
    waiting = json.loads(label("next", "--as", "eve", "--json").out)
    assert [task["task"] for task in waiting] == ["t2", "t3"]
    assert waiting[0]["shown"] == {"words": "[bold]words[/bold] 2", "x": 0.5, "suggestion": "l"}


def test_numbers_are_asked_for_where_the_target_is_one_and_classes_that_are_numbers_have_no_other(
    tmp_path: Path,
) -> None:
    loop = make_loop(tmp_path / "r", task="regression", classes="")
    answer = warm("label", "next", loop.project.folder, "--as", "ann", typed="many\n2.5\nq\n")
    assert answer.told == ["homeostat: 'many': expected a number, s, u or q."]
    assert given(loop) == {"t0": ("ann", "2.5")}
    loop = make_loop(tmp_path / "b", classes="classes = [0, 1]")
    answer = warm("label", "next", loop.project.folder, "--as", "ann", typed="1\n0\nq\n")
    assert given(loop) == {"t0": ("ann", "1"), "t1": ("ann", "0")}


def test_a_picture_is_drawn_in_half_blocks_where_there_are_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image
    from rich.console import Console
    from rich.text import Text

    from homeostat.console import cards

    Image.new("RGB", (8, 8), "#ff0000").save(tmp_path / "cat.png")
    named = cards.make_picture("cat.png", tmp_path)
    assert isinstance(named, Text) and named.plain == "image: cat.png"
    monkeypatch.setattr(cards, "out", Console(force_terminal=True, width=80))
    drawn = cards.make_picture("cat.png", tmp_path)
    assert isinstance(drawn, Text) and drawn.plain == ("▀" * 8 + "\n") * 4
    assert str(drawn.spans[0].style) == "#ff0000 on #ff0000"
    (tmp_path / "torn.png").write_bytes(b"no picture")
    torn = cards.make_picture("torn.png", tmp_path)
    assert isinstance(torn, Text) and "cannot be read" in torn.plain
