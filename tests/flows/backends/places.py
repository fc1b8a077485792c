"""The places where people answer, each behind the same few words: hand out, see, answer, collect."""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from backends.studio import Studio
from typer.testing import CliRunner

from homeostat.console.main import app
from homeostat.errors import HomeostatError
from homeostat.flows.labeling.answers import Checked, check_now, keep_answers
from homeostat.flows.labeling.backends import Backend, Cursor, Fetched, Item
from homeostat.flows.labeling.items import list_items
from homeostat.flows.loop import Loop, open_loop
from homeostat.flows.operations.manual import ingest
from homeostat.records import Answer, LabelTask, Purpose, Scope

START = datetime(2020, 1, 7, tzinfo=UTC)
ANN, BEN = "ann@example.org", "ben@example.org"
PROJECT = """
[project]
name = "{name}"
task = "{task}"
[data]
key = "id"
event_time = "at"
target = "topic"
{classes}
numeric = ["x"]
keep = ["words"]
[data.inputs]
uri = "inputs.parquet"
[loop]
tick = "1d"
start = "2020-01-07"
[labeling]
backend = "{backend}"
annotators = 2
text = "words"
show = ["x"]
{extra}
"""
HOOK = """
import json
from pathlib import Path
import polars as pl

def annotate(rows, now):
    said = json.loads((Path(__file__).parent / "said.json").read_text())
    return pl.DataFrame(said, schema={"id": pl.String, "who": pl.String, "label": pl.String}, orient="row")
"""


def now() -> datetime:
    """The wall clock, which is also Label Studio's."""
    return datetime.now(UTC)


def make_loop(folder: Path, backend: str, *, task: str = "multiclass", extra: str = "", rows: int = 6) -> Loop:
    """A project with rows in the lake and no model, under a name of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    at = [START + timedelta(minutes=i) for i in range(rows)]
    words = [f"ticket {i}, “quoted”; and\nmore" for i in range(rows)]
    pl.DataFrame({"id": range(rows), "at": at, "x": [i / 2 for i in range(rows)], "words": words}).write_parquet(
        folder / "inputs.parquet"
    )
    classes = "" if task == "regression" else 'classes = ["bug", "praise", "question & more"]'
    name = f"tickets-{uuid.uuid4().hex[:8]}"
    text = PROJECT.format(name=name, task=task, classes=classes, backend=backend, extra=extra)
    (folder / "homeostat.toml").write_text(text, encoding="utf-8")
    # The same source is imported once, so each project has one of its own.
    (folder / "hooks.py").write_text(f"{HOOK}\n# {name}" if backend == "hook" else "", encoding="utf-8")
    (folder / "said.json").write_text("[]")
    loop = open_loop(folder, Scope.LIVE)
    ingest(loop, START + timedelta(days=1), "ann")
    return loop


def put_tasks(
    loop: Loop, count: int, *, due: timedelta = timedelta(days=1), suggestion: str | None = None
) -> list[str]:
    """Put open tasks for the first rows into the store, as the choice of rows does; returns their ids."""
    made = [
        LabelTask(f"2020-01-08/measure/{key}", str(key), "b", Purpose.MEASURE, 2, now(), now() + due, 0.5, suggestion)
        for key in range(count)
    ]
    with loop.store.write("tasks") as write:
        for task in made:
            write.put_task(task)
    return [task.id for task in made]


def take_answers(loop: Loop, answers: Sequence[Answer], at: datetime) -> Checked:
    """Check answers and keep them, as the stage that collects them does."""
    checked = check_now(loop, answers)
    with loop.store.write("answers") as write:
        keep_answers(write, checked, at)
    return checked


class Place:
    """A backend, and how a person answers there."""

    backend = "console"

    def __init__(self, folder: Path) -> None:
        self.loop = make_loop(folder, self.backend)
        self.cursor: Mapping[str, Any] = {}
        self.messages: list[str] = []

    def send(self) -> dict[str, str | None]:
        """Hand all tasks out, and note what the backend calls them."""
        items = list_items(self.loop, self.loop.store.list_tasks())
        sent = self.loop.backend().send(items)
        note_sent(self.loop, sent)
        return sent

    def see(self, task: str) -> dict[str, Any]:
        """What a person sees of a task's row."""
        waiting = {item["task"]: item for item in json.loads(self.run("next", "--as", "eve", "--json"))}
        return waiting[task]["shown"]

    def answer(self, task: str, who: str, label: str | None) -> None:
        """Answer; None passes."""
        self.messages.append(self.run("next", "--as", who, "--task", task, "--answer", label or "s"))

    def collect(self) -> str:
        """Take in what came; returns the messages about answers that do not count."""
        items = list_items(self.loop, self.loop.store.list_tasks())
        fetched = self.loop.backend().fetch(self.cursor, items, now())
        self.cursor = json.loads(json.dumps(fetched.cursor))
        checked = take_answers(self.loop, fetched.answers, now())
        messages, self.messages = [*self.messages, *(refused.detail for refused in checked.refused)], []
        return "\n".join(messages)

    def run(self, action: str, *args: str) -> str:
        """What a command of `homeostat label` says."""
        folder = str(self.loop.project.folder)
        given = [args[0], folder, *args[1:]] if action == "import" else [folder, *args]
        done = CliRunner().invoke(app, ["label", action, *given])
        assert done.exception is None or isinstance(done.exception, SystemExit | HomeostatError), done.exception
        return f"{done.output}{done.exception or ''}"


class Console(Place):
    """`homeostat label next`."""


class Sheet(Place):
    """A CSV file, out and in."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / "sheet.csv"
        self.rows: list[tuple[str, str, str]] = []

    def see(self, task: str) -> dict[str, Any]:
        """The row of a task in the sheet."""
        self.run("export", "--out", str(self.file))
        with self.file.open(encoding="utf-8", newline="") as lines:
            row = {row["task"]: row for row in csv.DictReader(lines)}[task]
        return {"words": row["words"], "x": float(row["x"])}

    def answer(self, task: str, who: str, label: str | None) -> None:
        """Fill a row in."""
        self.rows.append((task, who, label or "-"))

    def collect(self) -> str:
        """Read the sheet back, whole each time."""
        with self.file.open("w", encoding="utf-8", newline="") as lines:
            csv.writer(lines).writerows([("task", "who", "label"), *self.rows])
        self.messages = [self.run("import", str(self.file))]
        return super().collect()


class Hook(Place):
    """The `annotate` hook."""

    backend = "hook"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.rows: list[tuple[str, str, str | None]] = []

    def answer(self, task: str, who: str, label: str | None) -> None:
        """Let the hook say it from now on."""
        self.rows.append((task.rpartition("/")[2], who, label))
        (self.folder / "said.json").write_text(json.dumps(self.rows))


class FolderBackend(Backend):
    """Tasks and answers in files of the project's folder: a backend as a package would add it."""

    def send(self, items: Sequence[Item]) -> dict[str, str | None]:
        """Write all tasks down, by their ids."""
        shown = {item.task.id: dict(item.shown) for item in items}
        (self.project.folder / "tasks.json").write_text(json.dumps(shown))
        return {name: f"tasks.json#{name}" for name in shown}

    def fetch(self, cursor: Cursor, tasks: Sequence[Item], now: datetime) -> Fetched:
        """Read the lines that were added since."""
        file, first = self.project.folder / "answers.jsonl", int(cursor.get("lines", 0))
        lines = file.read_text().splitlines() if file.exists() else []
        answers = [json.loads(line) for line in lines[first:]]
        given = tuple(Answer(task, who, label, datetime.fromisoformat(at)) for task, who, label, at in answers)
        return Fetched(given, {"lines": len(lines)})


class Folder(Place):
    """Files that a person edits."""

    backend = "folder"

    def see(self, task: str) -> dict[str, Any]:
        """What was written down of a task."""
        return json.loads((self.loop.project.folder / "tasks.json").read_text())[task]

    def answer(self, task: str, who: str, label: str | None) -> None:
        """Add a line."""
        with (self.loop.project.folder / "answers.jsonl").open("a") as file:
            file.write(json.dumps([task, who, label, now().isoformat()]) + "\n")


class LabelStudioPlace(Place):
    """A project of a Label Studio server."""

    backend = "label-studio"

    def __init__(self, folder: Path, studio: Studio) -> None:
        super().__init__(folder)
        self.studio = studio
        self.title = self.loop.paths.model_name

    def see(self, task: str) -> dict[str, Any]:
        """The task's data there."""
        data = self._tasks()[task]["data"]
        return {"words": data["text"], **data["row"]}

    def answer(self, task: str, who: str, label: str | None) -> None:
        """Submit an annotation, or skip; where there is no such task, somebody made one there by hand."""
        if task not in self._tasks():
            number, data = self.studio.project(self.title)["id"], {"homeostat_task": task, "text": "?", "row": {}}
            self.studio.call("POST", "/api/tasks/", {"project": number, "data": data})
        self.studio.annotate(self._tasks()[task]["id"], who, [] if label is None else [say(label)], label is None)

    def _tasks(self) -> dict[str, Any]:
        return {task["data"]["homeostat_task"]: task for task in self.studio.tasks(self.title)}


def say(label: str) -> dict[str, Any]:
    """A choice as Label Studio's page sends it."""
    return {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [label]}}


def note_sent(loop: Loop, sent: Mapping[str, str | None]) -> None:
    """Note what a backend calls the tasks that it was sent."""
    with loop.store.write("sent") as write:
        for name, remote in sent.items():
            task = loop.store.get_task(name)
            assert task is not None
            write.put_task(replace(task, sent_at=now(), remote=remote))
