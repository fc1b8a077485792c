"""Label Studio as the place where people answer: tasks are pushed to a project there, annotations are pulled.

Both can be said again at any time: a task is known there by its `homeostat_task`, an annotation by its id and time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from homeostat.durations import instant
from homeostat.errors import HomeostatError
from homeostat.flows.labeling.exchange import Backend, BackendError, Cursor, Fetched, Item
from homeostat.flows.labeling.label_config import TASK, fits, make_config, make_task, read_label
from homeostat.flows.labeling.server_faults import asked_wait, describe_fault, may_pass, without_secrets
from homeostat.hooks import Hooks
from homeostat.project import Project, Task
from homeostat.records import Answer

URL, API_KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
# An annotation may be committed later than its own time says, so each pull looks back a little and knows what it saw.
OVERLAP = timedelta(minutes=5)
PUSHED, PULLED, LOOKED_UP = 20, 100, 100

T = TypeVar("T")


class LabelStudio(Backend):
    """A project of a Label Studio server, found by the name of the model or made."""

    timeout = 30.0
    waits = (1.0, 2.0, 4.0)

    def __init__(self, project: Project, hooks: Hooks, title: str) -> None:
        super().__init__(project, hooks, title)
        address = _needed(URL, os.environ.get("LABEL_STUDIO_URL"))
        key = _needed(API_KEY, os.environ.get("LABEL_STUDIO_API_KEY"))
        if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
            raise HomeostatError(f"{URL}: not an address.", "Expected http:// or https:// and a host.")
        self.url, self._people = without_secrets(address), dict[int, str]()
        self.client = _connect(address, key, self.timeout)

    def send(self, items: Sequence[Item]) -> dict[str, str | None]:
        """Push tasks; those that are there already are found, not made again. Raises BackendError."""
        if not items:
            return {}
        where = self._open_project(items[0].classes)
        sent: dict[str, str | None] = {}
        for start in range(0, len(items), PUSHED):
            chunk = items[start : start + PUSHED]
            sent |= self._try("tasks were pushed", lambda chunk=chunk: self._push(where, chunk))
        return sent

    def fetch(self, cursor: Cursor, tasks: Sequence[Item], now: datetime) -> Fetched:
        """Pull the annotations that came or changed since the cursor. Raises BackendError."""
        project = self._find_project()
        if project is None:
            return self._without_project(cursor, tasks)
        known = cursor if cursor.get("project") == project.id else {}
        seen, before = dict(known.get("seen", {})), _time(known.get("at"))
        answers, newest = list[Answer](), before
        for task in self._changed(project.id, before):
            answers += self._read(task, before, seen)
            newest = max(filter(None, (newest, _time(task.updated_at))))
        gone = self._gone(project.id, tasks)
        warnings = tuple(line for remote, line in gone.items() if remote not in known.get("gone", ()))
        kept = {name: at for name, at in seen.items() if newest and datetime.fromisoformat(at) >= newest - OVERLAP}
        at = None if newest is None else instant(newest)
        return Fetched(tuple(answers), {"project": project.id, "at": at, "seen": kept, "gone": sorted(gone)}, warnings)

    def _without_project(self, cursor: Cursor, tasks: Sequence[Item]) -> Fetched:
        """Nothing was answered where no project was made yet; one that was deleted is a fault."""
        if any(item.task.remote for item in tasks):
            raise BackendError(
                f"Label Studio at {self.url}: the project {self.title!r} was deleted there.",
                "Put it back from its backup, or let the open tasks expire; new tasks make a new project.",
            )
        return Fetched((), dict(cursor))

    def _find_project(self) -> Any:
        pages = self._try("its projects were listed", lambda: list(self.client.projects.list(title=self.title)))
        return next((project for project in pages if project.title == self.title), None)

    def _open_project(self, classes: Sequence[str]) -> int:
        """The id of the project, made where there is none; its labeling config is changed where it does not fit."""
        if not classes and self.project.task is not Task.REGRESSION:
            raise BackendError("Label Studio: no class is known yet.", "Name them in data.classes of the project file.")
        project, config = self._find_project(), make_config(self.project, classes)
        if project is None:
            return self._try("the project was made", lambda: self._make_project(config))
        if not fits(project.label_config or "", self.project, classes):
            change = lambda: self.client.projects.update(project.id, label_config=config)  # noqa: E731
            self._try("the labeling config was changed", change)
        return project.id

    def _make_project(self, config: str) -> int:
        # The name is looked up again: an earlier try may have made the project before its answer was lost.
        for project in self.client.projects.list(title=self.title):
            if project.title == self.title:
                return project.id
        return self.client.projects.create(
            title=self.title,
            label_config=config,
            maximum_annotations=self.project.labeling.annotators,
            show_skip_button=True,
            enable_empty_annotation=False,
            show_collab_predictions=self.project.labeling.show_suggestion,
        ).id

    def _push(self, where: int, items: Sequence[Item]) -> dict[str, str]:
        there = self._find_tasks(where, items)
        missing = [item for item in items if item.task.id not in there]
        if not missing:
            return there
        made: Any = [make_task(item, self.project, self.title) for item in missing]
        self.client.projects.import_tasks(where, request=made)
        return self._find_tasks(where, items)

    def _find_tasks(self, where: int, items: Sequence[Item]) -> dict[str, str]:
        """What the tasks are called there, by their own id; the first of those that are there twice."""
        ids = [item.task.id for item in items]
        rules = [_rule(f"data.{TASK}", "equal", "String", name) for name in ids]
        there: dict[str, int] = {}
        for task in self._list(where, {"filters": {"conjunction": "or", "items": rules}}):
            name = str((task.data or {}).get(TASK))
            there[name] = min(task.id, there.get(name, task.id))
        return {name: str(there[name]) for name in ids if name in there}

    def _list(self, where: int, query: Mapping[str, Any], fields: Any = "task_only", **page: int) -> list[Any]:
        page = {"page": 1, "page_size": LOOKED_UP} | page
        return list(self.client.tasks.list(project=where, query=json.dumps(query), fields=fields, **page).items or [])

    def _changed(self, where: int, newest: datetime | None) -> Iterator[Any]:
        """Tasks that changed since a time, those that changed first before the others; each state of one once."""
        since, page, seen = None if newest is None else newest - OVERLAP, 1, set()
        while True:
            rules = [] if since is None else [_rule("updated_at", "greater_or_equal", "Datetime", instant(since))]
            query = {"ordering": ["tasks:updated_at"], "filters": {"conjunction": "and", "items": rules}}
            tasks = self._try(
                "annotations were pulled",
                lambda q=query, p=page: self._list(where, q, "all", page=p, page_size=PULLED),
            )
            yield from (task for task in tasks if (task.id, str(task.updated_at)) not in seen)
            seen |= {(task.id, str(task.updated_at)) for task in tasks}
            if len(tasks) < PULLED:
                return
            last = _time(tasks[-1].updated_at)
            since, page = (last, 1) if last != since else (since, page + 1)

    def _read(self, task: Any, before: datetime | None, seen: dict[str, str]) -> list[Answer]:
        """The answers of a task that were not read before; what was read is noted in `seen`."""
        name, answers = (task.data or {}).get(TASK) or f"task {task.id} of Label Studio", []
        for given in task.annotations or []:
            annotation = given if isinstance(given, dict) else given.model_dump()
            number, at = str(annotation["id"]), _time(annotation["updated_at"])
            assert at is not None
            old = before is not None and number not in seen and at < before - OVERLAP
            if old or seen.get(number) == instant(at):
                continue
            seen[number] = instant(at)
            label = None if annotation["was_cancelled"] else read_label(annotation["result"] or [])
            answers.append(Answer(name, self._person(annotation["completed_by"]), label, at, number))
        return answers

    def _person(self, who: int | dict[str, Any]) -> str:
        if isinstance(who, dict):
            return who.get("email") or who.get("username") or f"user {who.get('id')}"
        if who not in self._people:
            users = self._try("its users were listed", lambda: list(self.client.users.list()))
            self._people |= {user.id: user.email or user.username for user in users}
        return self._people.setdefault(who, f"user {who}")

    def _gone(self, where: int, tasks: Sequence[Item]) -> dict[str, str]:
        """Open tasks that somebody deleted there, each with a line that says so, by what they were called there."""
        sent = {item.task.remote: item.task for item in tasks if item.task.remote}
        for start in range(0, len(names := list(sent)), LOOKED_UP):
            chosen = [int(name) for name in names[start : start + LOOKED_UP]]
            query = {"selectedItems": {"all": False, "included": chosen}}
            for task in self._try("tasks were looked up", lambda q=query: self._list(where, q)):
                sent.pop(str(task.id), None)
        lost = "was deleted there; nobody can answer it, and it expires"
        return {name: f"Label Studio at {self.url}: the task of {task.key!r} {lost}." for name, task in sent.items()}

    def _try(self, doing: str, call: Callable[[], T]) -> T:
        """Call, and again after a while where the fault may pass. Raises BackendError where it does not."""
        import httpx
        from label_studio_sdk.core.api_error import ApiError
        from label_studio_sdk.core.parse_error import ParsingError

        for wait in (*self.waits, None):
            try:
                return call()
            except (httpx.HTTPError, ApiError, ParsingError) as fault:
                if wait is None or not may_pass(fault):
                    raise describe_fault(fault, self.url, self.title, doing, API_KEY) from None
                time.sleep(max(wait, asked_wait(fault)))
        raise AssertionError("the last try returns or raises")


def _connect(url: str, key: str, timeout: float) -> Any:
    try:
        from label_studio_sdk import LabelStudio as Client
    except ModuleNotFoundError:
        hint = "Install it: pip install -c constraints.txt -e '.[label-studio]'."
        raise HomeostatError('labeling.backend "label-studio" needs label-studio-sdk.', hint) from None
    # A push that is sent again blindly makes tasks twice, so trying again is left to us.
    return Client(base_url=url, api_key=key, timeout=timeout, max_retries=0)


def _needed(name: str, value: str | None) -> str:
    if value and value.strip():
        return value.strip()
    what = {URL: "the address of the server, as in http://127.0.0.1:8080", API_KEY: "the token of an account there"}
    raise HomeostatError(f'{name} is not set; labeling.backend "label-studio" needs it.', f"Set it to {what[name]}.")


def _rule(column: str, operator: str, kind: str, value: str) -> dict[str, str]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def _time(value: object) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value))
