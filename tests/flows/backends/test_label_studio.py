"""A real Label Studio server that fails in the middle: nothing is lost, nothing comes twice, one clear line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from backends.places import ANN, BEN, make_loop, note_sent, now, put_tasks, say, take_answers
from backends.studio import TOKEN, Proxy, Studio, broken_proxy

from homeostat.errors import HomeostatError
from homeostat.flows.labeling.answers import Checked
from homeostat.flows.labeling.backends import BackendError, Fetched
from homeostat.flows.labeling.collect import collect
from homeostat.flows.labeling.items import list_items
from homeostat.flows.labeling.label_studio import LabelStudio
from homeostat.flows.loop import Loop

FAULTS = [429, 500, 502, 503, "cut", "lost", "half", "slow"]


@dataclass
class Desk:
    """A project, the real server, and the proxy through which the project reaches it."""

    loop: Loop
    studio: Studio
    proxy: Proxy
    cursor: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the project is called there."""
        return self.loop.paths.model_name

    def send(self) -> dict[str, str | None]:
        """Push all tasks."""
        sent = self.loop.backend().send(list_items(self.loop, self.loop.store.list_tasks()))
        note_sent(self.loop, sent)
        return sent

    def fetch(self) -> Fetched:
        """Pull, and remember the cursor as the store would."""
        fetched = self.loop.backend().fetch(self.cursor, list_items(self.loop, self.loop.store.list_tasks()), now())
        self.cursor = json.loads(json.dumps(fetched.cursor))
        return fetched

    def take(self) -> Checked:
        """Pull and keep what counts."""
        return take_answers(self.loop, self.fetch().answers, now())

    def there(self) -> list[str]:
        """The tasks that the server holds, by our ids."""
        return sorted(task["data"]["homeostat_task"] for task in self.studio.tasks(self.title))


@pytest.fixture
def make_desk(
    studio: Studio,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    """A desk of a project with settings of its own; calls wait little, so that a fault costs a test little."""
    monkeypatch.setattr(LabelStudio, "timeout", 4.0)
    monkeypatch.setattr(LabelStudio, "waits", (0.01, 0.01, 0.01))
    with broken_proxy(studio.url) as proxy:
        monkeypatch.setenv("LABEL_STUDIO_URL", proxy.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
        yield lambda **settings: Desk(make_loop(tmp_path / "p", "label-studio", **settings), studio, proxy)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_push_that_is_disturbed_goes_on_and_makes_each_task_once(make_desk: Any, fault: int | str) -> None:
    desk = make_desk(rows=30)
    tasks = put_tasks(desk.loop, 30)
    desk.proxy.break_next("POST", "/import", None, fault)
    assert set(desk.send()) == set(tasks)
    assert desk.there() == sorted(tasks)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pull_that_is_disturbed_goes_on_and_brings_each_answer_once(make_desk: Any, fault: int | str) -> None:
    desk = make_desk()
    for task in put_tasks(desk.loop, 3) and desk.send().values():
        desk.studio.annotate(task, ANN, [say("bug")])
    desk.proxy.break_next("GET", "/api/tasks", fault, fault)
    assert len(desk.take().accepted) == 3
    assert desk.fetch().answers == ()
    assert len(desk.loop.store.list_answers()) == 3


def test_a_push_that_fails_for_good_says_so_in_one_line_and_the_next_makes_what_is_missing(make_desk: Any) -> None:
    desk = make_desk(rows=30)
    tasks = put_tasks(desk.loop, 30)
    desk.proxy.break_next("POST", "/import", None, *[503] * 4)
    with pytest.raises(BackendError) as told:
        desk.send()
    assert f"Label Studio at {desk.proxy.url} answered 503 while tasks were pushed" in one_line(told.value)
    assert len(desk.there()) == 20
    assert set(desk.send()) == set(tasks)
    assert desk.there() == sorted(tasks)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (500, "answered 500 while annotations were pulled: broken on purpose"),
        ("cut", "cannot be reached, or hung up, while annotations were pulled"),
        ("slow", "did not answer in time while annotations were pulled"),
    ],
)
def test_a_pull_that_fails_for_good_says_so_and_the_next_goes_on_from_the_cursor(
    make_desk: Any, fault: int | str, words: str
) -> None:
    desk = make_desk()
    put_tasks(desk.loop, 2)
    first, second = desk.send().values()
    desk.studio.annotate(first, ANN, [say("bug")])
    assert len(desk.take().accepted) == 1
    desk.studio.annotate(second, ANN, [say("praise")])
    desk.studio.annotate(second, BEN, [], skipped=True)
    before = desk.cursor
    desk.proxy.break_next("GET", "/api/tasks", *[fault] * 4)
    with pytest.raises(BackendError) as told:
        desk.fetch()
    assert words in one_line(told.value)
    assert desk.cursor == before
    assert [(a.who, a.label) for a in desk.take().accepted] == [(ANN, "praise"), (BEN, None)]
    assert desk.fetch().answers == ()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does not know the key in LABEL_STUDIO_API_KEY (401)"),
        (403, "refuses this account"),
        (404, "is not there"),
    ],
)
def test_what_will_not_pass_is_told_at_once(make_desk: Any, status: int, words: str) -> None:
    desk = make_desk()
    put_tasks(desk.loop, 1)
    desk.proxy.break_next("POST", "/import", status)
    with pytest.raises(BackendError) as told:
        desk.send()
    assert words in one_line(told.value)
    assert desk.proxy.seen.count("POST /import") <= 1 and desk.there() == []


def test_a_wrong_key_and_a_server_that_is_not_there_are_one_line(
    make_desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk()
    put_tasks(desk.loop, 1)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "f" * 40)
    with pytest.raises(BackendError, match=r"does not know the key in LABEL_STUDIO_API_KEY"):
        desk.send()
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://ann:s3cret@127.0.0.1:9/studio/")
    with pytest.raises(BackendError) as told:
        desk.send()
    assert "Label Studio at http://127.0.0.1:9/studio cannot be reached" in one_line(told.value)
    assert "s3cret" not in str(told.value)


def test_a_personal_access_token_does_as_well(make_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = make_desk()
    put_tasks(desk.loop, 1)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", desk.studio.call("POST", "/api/token/")["token"])
    assert len(desk.send()) == len(desk.there()) == 1


@pytest.mark.parametrize("name", ["LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"])
def test_a_variable_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    loop = make_loop(tmp_path, "label-studio")
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    monkeypatch.delenv(name)
    with pytest.raises(HomeostatError, match=f"{name} is not set"):
        loop.backend()
    monkeypatch.setenv("LABEL_STUDIO_URL", "localhost:8080")
    with pytest.raises(HomeostatError, match="LABEL_STUDIO"):
        loop.backend()


def test_a_task_deleted_there_is_told_once_and_the_others_go_on(make_desk: Any) -> None:
    desk = make_desk()
    put_tasks(desk.loop, 2)
    first, second = desk.send().values()
    desk.studio.call("DELETE", f"/api/tasks/{first}")
    desk.studio.annotate(second, ANN, [say("bug")])
    fetched = desk.fetch()
    assert [answer.label for answer in fetched.answers] == ["bug"]
    assert [line.partition(": ")[2] for line in fetched.warnings] == [
        "the task of '0' was deleted there; nobody can answer it, and it expires."
    ]
    assert desk.fetch().warnings == ()


def test_a_project_deleted_there_is_told_and_made_anew_by_the_next_push(make_desk: Any) -> None:
    desk = make_desk()
    put_tasks(desk.loop, 2)
    desk.send()
    desk.studio.call("DELETE", f"/api/projects/{desk.studio.project(desk.title)['id']}")
    with pytest.raises(BackendError, match=f"the project '{desk.title}' was deleted there"):
        desk.fetch()
    tasks = desk.send()
    assert desk.there() == sorted(tasks)
    desk.studio.annotate(next(iter(tasks.values())), ANN, [say("bug")])
    assert len(desk.take().accepted) == 1


def test_before_anything_was_sent_there_is_nothing_to_fetch(make_desk: Any) -> None:
    desk = make_desk()
    assert desk.fetch().answers == ()
    assert desk.send() == {}


def test_an_answer_that_is_changed_there_comes_again_and_does_not_count_twice(make_desk: Any) -> None:
    desk = make_desk()
    put_tasks(desk.loop, 1)
    [task] = desk.send().values()
    number = desk.studio.annotate(task, ANN, [say("bug")])
    assert len(desk.take().accepted) == 1
    time.sleep(0.01)
    desk.studio.call("PATCH", f"/api/annotations/{number}", {"result": [say("praise")]})
    checked = desk.take()
    assert ([each.rule for each in checked.refused], checked.accepted) == (["answered_twice"], ())
    assert desk.take().refused == ()


def test_more_annotations_than_a_page_all_come(make_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeostat.flows.labeling.label_studio.PULLED", 4)
    desk = make_desk(rows=10)
    put_tasks(desk.loop, 10)
    for task in desk.send().values():
        desk.studio.annotate(task, ANN, [say("bug")])
    assert len(desk.take().accepted) == 10
    assert desk.fetch().answers == ()


def test_an_old_answer_of_a_task_that_changed_lately_comes_too(make_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeostat.flows.labeling.label_studio.OVERLAP", timedelta(seconds=0.2))
    desk = make_desk()
    put_tasks(desk.loop, 2)
    first, second = desk.send().values()
    for task, who in ((first, ANN), (second, ANN), (first, BEN)):
        desk.studio.annotate(task, who, [say("bug")])
        time.sleep(0.5)
    assert len(desk.take().accepted) == 3
    desk.studio.annotate(second, BEN, [say("bug")])
    assert [answer.who for answer in desk.fetch().answers] == [BEN]


@pytest.mark.parametrize("shown", [True, False])
def test_a_suggestion_is_shown_only_where_the_project_says_so(make_desk: Any, shown: bool) -> None:
    desk = make_desk(extra=f"show_suggestion = {str(shown).lower()}")
    put_tasks(desk.loop, 1, suggestion="praise")
    desk.send()
    [task] = desk.studio.tasks(desk.title)
    assert [each["result"][0]["value"] for each in task["predictions"]] == [{"choices": ["praise"]}] * shown
    assert desk.studio.project(desk.title)["show_collab_predictions"] is shown


def test_a_number_is_asked_for_where_the_target_is_one(make_desk: Any) -> None:
    desk = make_desk(task="regression", extra="show_suggestion = true")
    put_tasks(desk.loop, 1, suggestion="2.5")
    [task] = desk.send().values()
    number = {"from_name": "label", "to_name": "text", "type": "number", "value": {"number": 3.25}}
    desk.studio.annotate(task, ANN, [number])
    assert [answer.label for answer in desk.take().accepted] == ["3.25"]


def test_a_config_that_people_dressed_up_is_kept_and_one_that_lacks_a_class_is_mended(make_desk: Any) -> None:
    desk = make_desk()
    put_tasks(desk.loop, 1)
    desk.send()
    project = desk.studio.project(desk.title)
    path, made = f"/api/projects/{project['id']}", project["label_config"]
    dressed = made.replace("<View>", '<View><Header value="What is it about?"/>')
    desk.studio.call("PATCH", path, {"label_config": dressed})
    desk.send()
    assert "What is it about?" in desk.studio.call("GET", path)["label_config"]
    desk.studio.call("PATCH", path, {"label_config": made.replace('value="bug"', 'value="bugs"')})
    desk.send()
    assert 'value="bug"' in desk.studio.call("GET", path)["label_config"]


def test_a_task_due_while_the_server_was_down_is_refused_as_late_by_its_own_time(make_desk: Any) -> None:
    desk = make_desk()
    put_tasks(desk.loop, 1, due=timedelta(seconds=4))
    [task] = desk.send().values()
    desk.studio.annotate(task, ANN, [say("bug")])
    time.sleep(4)
    desk.studio.annotate(task, BEN, [say("bug")])
    checked = desk.take()
    assert [answer.who for answer in checked.accepted] == [ANN]
    assert [(each.answer.who, each.rule) for each in checked.refused] == [(BEN, "late")]


def test_the_loop_settles_what_people_answer_there_and_tells_a_server_that_fails(make_desk: Any) -> None:
    desk = make_desk()
    put_tasks(desk.loop, 2)
    first, second = desk.send().values()
    for who, word in ((ANN, "bug"), (BEN, "bug")):
        desk.studio.annotate(first, who, [say(word)])
    desk.studio.annotate(second, ANN, [say("praise")])
    desk.proxy.break_next("GET", "/api/tasks", *[503] * 4)
    outcome = collect(desk.loop, now())
    assert "answered 503 while annotations were pulled" in outcome["problem"]
    assert [alert.title for alert in desk.loop.store.list_alerts()] == ["answers cannot be fetched"]
    outcome = collect(desk.loop, now())
    assert (outcome["answers"], outcome["settled"], outcome["refused"]) == (3, 1, 0)
    found = desk.loop.lake.read("feedback")
    assert found is not None
    assert found.select("id", "label", "who").rows() == [(0, "bug", f"{ANN},{BEN}")]
    assert collect(desk.loop, now())["answers"] == 0


def one_line(fault: Exception) -> str:
    """What a person is told; one line."""
    assert len(str(fault).splitlines()) == 1
    return str(fault)
