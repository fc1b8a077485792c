"""What holds wherever people answer: the console, a sheet, a hook, a real Label Studio server, a backend of others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from backends.places import ANN, BEN, Console, Folder, FolderBackend, Hook, LabelStudioPlace, Place, Sheet, put_tasks
from backends.studio import TOKEN

from homeostat.errors import ProjectError
from homeostat.flows.labeling.backends import BACKENDS
from homeostat.flows.loop import open_loop
from homeostat.records import Scope

PLACES = {"console": Console, "sheet": Sheet, "hook": Hook, "folder": Folder}


@pytest.fixture(params=[*PLACES, "label-studio"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A place where people answer, of each kind."""
    if request.param == "folder":
        BACKENDS.add("folder", FolderBackend)
        request.addfinalizer(lambda: BACKENDS.remove("folder"))
    if request.param in PLACES:
        yield PLACES[request.param](tmp_path / "p")
        return
    server = request.getfixturevalue("studio")
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    yield LabelStudioPlace(tmp_path / "p", server)


def given(place: Place) -> list[tuple[str, str, str | None]]:
    """The answers that count: the row's key, who and what."""
    return sorted((a.task.rpartition("/")[2], a.who, a.label or "") for a in place.loop.store.list_answers())


def refusals(place: Place) -> list[str]:
    """The rules of the answers that the journal says were refused."""
    return [entry.body["rule"] for entry in place.loop.store.list_journal() if entry.kind == "answer_refused"]


def test_a_task_is_seen_with_its_shown_columns(place: Place) -> None:
    tasks = put_tasks(place.loop, 2)
    place.send()
    assert place.see(tasks[1]) == {"words": "ticket 1, “quoted”; and\nmore", "x": 0.5}


def test_answers_of_two_people_and_a_skip_come_back_once(place: Place) -> None:
    tasks = put_tasks(place.loop, 3)
    place.send()
    place.answer(tasks[0], ANN, "bug")
    place.answer(tasks[0], BEN, "praise")
    place.answer(tasks[1], ANN, None)
    place.collect()
    wanted = [("0", ANN, "bug"), ("0", BEN, "praise"), ("1", ANN, "")]
    assert given(place) == wanted
    place.collect()
    assert given(place) == wanted
    place.answer(tasks[2], BEN, "question & more")
    place.collect()
    assert given(place) == [*wanted, ("2", BEN, "question & more")]
    assert refusals(place) == []
    assert place.loop.store.verify_journal().sound


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("class", "with 'praise!'; expected one of bug, praise, question & more"),
        ("answered_twice", f"{ANN} had answered '0' with 'bug' and now says 'praise'"),
        ("late", "it was due by"),
        ("unknown_task", "which is not a task of this project"),
    ],
)
def test_an_answer_that_breaks_a_rule_is_refused_told_and_journaled_once(place: Place, rule: str, words: str) -> None:
    [task] = put_tasks(place.loop, 1, due=timedelta(days=-1 if rule == "late" else 1))
    place.send()
    if rule == "answered_twice":
        place.answer(task, ANN, "bug")
        place.collect()
    before = given(place)
    place.answer("nothing" if rule == "unknown_task" else task, ANN, "praise!" if rule == "class" else "praise")
    assert words in " ".join(place.collect().split())
    assert (given(place), refusals(place)) == (before, [rule])
    place.collect()
    assert (given(place), refusals(place)) == (before, [rule])


def test_a_task_that_is_sent_again_is_the_same_task(place: Place) -> None:
    tasks = put_tasks(place.loop, 3)
    sent = place.send()
    assert set(sent) == set(tasks)
    assert place.send() == sent
    place.answer(tasks[0], ANN, "bug")
    place.collect()
    assert given(place) == [("0", ANN, "bug")]


def test_a_backend_that_nobody_knows_is_told_with_its_key(tmp_path: Path) -> None:
    folder = Console(tmp_path / "p").loop.project.folder
    file = folder / "homeostat.toml"
    file.write_text(file.read_text().replace('"console"', '"consul"'))
    with pytest.raises(ProjectError, match=r"toml: labeling.backend: there is no labeling backend named 'consul'"):
        open_loop(folder, Scope.LIVE)
