"""The pages on which people act, driven by a real browser: they label, approve, reject, and see to alerts."""

from __future__ import annotations

import base64
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import polars as pl
import pytest
from browser import browser, list_violations, scrolls_sideways, serve  # noqa: F401 - a fixture

from homeostat.flows.learning.approvals import list_open
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.operations.manual import ingest
from homeostat.flows.stages.sequence import due_slots, run_tick
from homeostat.records import ApprovalState, LabelTask, Purpose, Scope, TaskState

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

START = datetime(2020, 1, 7, tzinfo=UTC)
NOW = START + timedelta(days=6, hours=1)
HEAD = """
[project]
name = "{name}"
task = "{task}"
[data]
key = "id"
event_time = "at"
target = "y"
numeric = ["x", "z"]
categorical = ["c"]
"""
ANIMALS = """classes = ["cat", "dog", "duck", "snake"]
keep = ["photo", "words"]
[data.inputs]
uri = "inputs.parquet"
[loop]
tick = "1d"
start = "2020-01-07"
[labeling]
budget = 5
image = "photo"
text = "words"
show = ["x"]
"""
PRICES = """[data.inputs]
uri = "inputs.parquet"
[loop]
tick = "1d"
start = "2020-01-07"
[labeling]
budget = 5
"""
ASKING = """segments = ["c"]
[data.inputs]
uri = "inputs.parquet"
[data.feedback]
uri = "feedback.parquet"
known_at = "known_at"
horizon = "2d"
[loop]
tick = "1d"
start = "2020-01-07"
[training]
candidates = ["linear"]
[gates]
approval = "human"
approval_within = "2d"
min_gain = -1.0
min_rows = 30
[monitoring]
min_rows = 30
[retraining]
policy = "periodic"
every = 3
"""


def png(shade: int) -> str:
    """A picture of two by two points as a data URI."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes([0, shade, 255 - shade] * 2))
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(whole).decode()


def make_tasks(folder: Path, task: str, rest: str, rows: int = 14) -> Path:
    """A project with open labeling tasks, due in the order of their keys."""
    folder.mkdir(parents=True)
    keys = list(range(rows))
    made = pl.DataFrame({"id": keys, "at": [START + timedelta(minutes=i) for i in keys], "x": [0.5] * rows})
    made = made.with_columns(z=pl.col("x"), c=pl.lit("c1"), words=pl.format("<b>row</b> {}", "id"))
    made.with_columns(photo=pl.Series([png(10 * i) for i in keys])).write_parquet(folder / "inputs.parquet")
    text = HEAD.format(name=folder.name, task=task) + rest
    (folder / "homeostat.toml").write_text(text, encoding="utf-8")
    loop = open_loop(folder, Scope.LIVE)
    ingest(loop, START + timedelta(days=1), "ann")
    with loop.store.write("tasks") as write:
        for i in keys:
            due = NOW + timedelta(days=1, minutes=i)
            write.put_task(LabelTask(f"t/{i}", str(i), "b", Purpose.LEARN, 1, START, due))
    return folder


def make_waiting(folder: Path) -> Path:
    """A life of six days: version 3 waits for a person, and there are alerts."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(7)
    count = 100 * 10
    x, z, noise = chance.normal(size=(3, count))
    at = [START - timedelta(days=4) + timedelta(seconds=864 * i) for i in range(count)]
    made = pl.DataFrame({"id": range(count), "at": at, "x": x, "z": z, "c": ["a", "b"] * (count // 2)})
    made = made.with_columns(pl.col("at").dt.replace_time_zone("UTC") if made["at"].dtype.time_zone is None else "at")
    y = pl.Series((2 * np.where(np.arange(count) > 600, z, x) + noise > 0).astype(int))
    made.write_parquet(folder / "inputs.parquet")
    known = pl.col("at") + timedelta(hours=18)
    made.select("id", y=y, known_at=known).write_parquet(folder / "feedback.parquet")
    text = HEAD.format(name=folder.name, task="binary") + ASKING
    (folder / "homeostat.toml").write_text(text, encoding="utf-8")
    for slot in due_slots(folder, START + timedelta(days=6)):
        run_tick(folder, "live", slot)
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("people")
    make_waiting(base / "waits")
    return base


@pytest.fixture
def place(places: Path, tmp_path: Path) -> Path:
    """A folder of projects, with a copy of the one in which a challenger waits."""
    shutil.copytree(places / "waits", tmp_path / "shop" / "waits")
    forget_open_loops()
    return tmp_path / "shop"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:  # noqa: F811
    context = browser.new_context(viewport={"width": 1240, "height": 900})
    yield context.new_page()
    context.close()


def clock() -> datetime:
    """A clock that goes on, so that what a person does comes one after the other."""
    return NOW + timedelta(microseconds=next(TICKS))


TICKS = iter(range(10**6))


def live(folder: Path) -> Loop:
    return open_loop(folder, Scope.LIVE)


def me(page: Page, url: str, project: str) -> str:
    """By which name the page knows who looks at it."""
    page.goto(f"{url}/projects/{project}/label")
    return page.locator(".lead strong").inner_text()


def kinds(loop: Loop) -> list[tuple[str, Any]]:
    return [(entry.kind, entry.body.get("by")) for entry in loop.store.list_journal()]


def title(page: Page, text: str) -> None:
    """Wait until the row that is shown has this title, and the focus is on it."""
    page.wait_for_function(
        "text => document.getElementById('item').innerText === text && document.activeElement.id === 'item'", arg=text
    )


def test_ten_rows_are_labelled_by_keys_with_a_skip_and_an_undo(tmp_path: Path, page: Page) -> None:
    folder = make_tasks(tmp_path / "animals", "multiclass", ANIMALS)
    with serve(tmp_path, [tmp_path], clock) as url:
        who = me(page, url, "animals")
        title(page, "id 0")
        assert page.locator("#work figure img").evaluate("image => image.naturalWidth") == 2
        assert page.locator("#work .text").inner_text() == "<b>row</b> 0"
        for row, key in enumerate(["1", "c", "2", "s", "4"]):
            title(page, f"id {row}")
            page.keyboard.press(key)
        title(page, "id 5")
        page.keyboard.press("u")
        title(page, "id 4")
        page.keyboard.press("3")
        title(page, "id 5")
        page.keyboard.press("d")
        assert page.locator(".choices .meant").all_inner_texts() == ["2 dog", "3 duck"]
        page.keyboard.press("Enter")
        title(page, "id 6")
        page.keyboard.press("d")
        page.keyboard.press("u")
        title(page, "id 7")
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Enter"):
            page.keyboard.press(key)
        for row in (8, 9, 10):
            title(page, f"id {row}")
            page.keyboard.press("1")
        title(page, "id 11")
        assert "10 today" in page.locator(".far").inner_text() and "3 left" in page.locator(".far").inner_text()
    loop = live(folder)
    said = {a.task: a.label for a in loop.store.list_answers(who=who)}
    told = ["cat", "cat", "dog", None, "duck", "dog", "duck", "cat", "cat", "cat", "cat"]
    assert said == {f"t/{row}": label for row, label in enumerate(told)}
    assert kinds(loop).count(("answer", who)) == 12 and ("answer_undone", who) in kinds(loop)


def test_a_number_is_typed_and_a_mistake_is_told_in_place(tmp_path: Path, page: Page) -> None:
    folder = make_tasks(tmp_path / "prices", "regression", PRICES, rows=3)
    with serve(tmp_path, [tmp_path], clock) as url:
        page.goto(f"{url}/projects/prices/label")
        page.wait_for_function("() => document.activeElement.id === 'number'")
        page.keyboard.type("4,2")
        page.keyboard.press("Enter")
        page.wait_for_selector("#work .mistake")
        assert "not a number" in page.locator("#work .mistake").inner_text()
        assert page.locator("#number").input_value() == "4,2"
        page.locator("#number").fill("4.2")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('item').innerText === 'id 1'")
    assert [(a.task, a.label) for a in live(folder).store.list_answers()] == [("t/0", "4.2")]


def test_labels_are_given_without_any_script(tmp_path: Path, browser: Browser) -> None:  # noqa: F811
    folder = make_tasks(tmp_path / "animals", "multiclass", ANIMALS, rows=3)
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    with serve(tmp_path, [tmp_path], clock) as url:
        plain.goto(f"{url}/projects/animals/label")
        plain.get_by_role("button", name="dog").click()
        assert plain.locator("#item").inner_text() == "id 1" and "Labelled id 0 as dog" in plain.content()
        plain.get_by_role("button", name="Undo").click()
        assert plain.locator("#item").inner_text() == "id 0"
        plain.get_by_role("button", name="Skip").click()
        assert plain.locator("#item").inner_text() == "id 1"
    context.close()
    assert [a.label for a in live(folder).store.list_answers()] == [None]


@pytest.mark.parametrize(
    "photo",
    ["../secret.png", "/etc/hostname", "link.png", "drawing.svg", "notes.png", "data:image/svg+xml;base64,PA=="],
)
def test_only_pictures_of_the_project_are_served(tmp_path: Path, photo: str) -> None:
    folder = make_tasks(tmp_path / "shop" / "animals", "multiclass", ANIMALS, rows=1)
    picture = base64.b64decode(png(1).partition(",")[2])
    (tmp_path / "shop" / "secret.png").write_bytes(picture)
    (folder / "good.png").write_bytes(picture)
    (folder / "link.png").symlink_to(tmp_path / "shop" / "secret.png")
    (folder / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    (folder / "notes.png").write_text("<script>alert(1)</script>")
    frame = pl.read_parquet(folder / "inputs.parquet")
    for at, each in enumerate(("good.png", photo), 1):
        frame.with_columns(id=pl.col("id") + 100 * at, photo=pl.lit(each)).write_parquet(folder / "inputs.parquet")
        ingest(live(folder), START + timedelta(days=1, hours=at), "ann")
    with live(folder).store.write("tasks") as write:
        for key in ("100", "200"):
            write.put_task(LabelTask(f"t/{key}", key, "b", Purpose.LEARN, 1, START, NOW + timedelta(days=1)))
    with serve(tmp_path, [tmp_path / "shop"], clock) as url:
        where = f"{url}/projects/animals/label/picture"
        good = httpx.get(where, params={"task": "t/100"}, trust_env=False)
        assert (good.status_code, good.headers["content-type"], good.content) == (200, "image/png", picture)
        assert "sandbox" in good.headers["content-security-policy"]
        assert good.headers["x-content-type-options"] == "nosniff"
        for task in ("t/200", "t/none"):
            assert httpx.get(where, params={"task": task}, trust_env=False).status_code == 404


def test_a_challenger_is_approved_by_the_keyboard(place: Path, page: Page) -> None:
    with serve(place, [place], clock) as url:
        who = me(page, url, "waits")
        page.goto(f"{url}/projects/waits/approve")
        shown = page.locator("article.case").inner_text()
        for part in ("Version 3 waits for approval", "AUC (watched)", "95% interval", "c = a", "Passed"):
            assert part in shown, shown
        page.locator("#why").focus()
        page.keyboard.type("it learned the new price")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=The journal will name")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Approved.")
        assert "No challenger waits for approval" in page.content()
    loop = live(place / "waits")
    assert loop.models.get_alias("champion") == loop.version_of("champion") == 3
    closed = loop.store.list_approvals(ApprovalState.APPROVED)[0]
    assert (closed.version, closed.by, closed.why) == (3, who, "it learned the new price")
    assert ("approval_approved", who) in kinds(loop)


def test_a_program_approves_and_goes_back_and_a_request_that_is_repeated_counts_once(place: Path) -> None:
    def ask(path: str, key: str, **said: object) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        return httpx.post(f"{url}/api/v1/projects/waits/{path}", json=said, headers=headers, trust_env=False)

    with serve(place, [place], clock) as url:
        for _ in range(2):
            answer = ask("approvals/3/approve", "a", why="it learned the new price")
            assert (answer.status_code, answer.json()["state"]) == (200, "approved"), answer.text
        assert ask("approvals/3/approve", "b").status_code == 409
        assert ask("rollback", "c", version=2).status_code == 422
        for _ in range(2):
            answer = ask("rollback", "d", version=2, why="it was slow")
            assert (answer.status_code, answer.json()) == (200, {"version": 2}), answer.text
        assert "version 2 is champion already" in ask("rollback", "e", version=2, why="again").json()["detail"]
        stands = httpx.get(f"{url}/api/v1/projects/waits/rollback", trust_env=False).json()
        assert (stands["champion"], stands["target"]) == (2, 1) and "rolled back from version 3" in stands["holds"]
        assert ask("rollback", "f", why="back").json() == {"version": 1}
        for _ in range(2):
            assert ask("rollback/lift", "g", why="all is well").json()["holds"] is None
        assert ask("rollback/lift", "h").status_code == 409
    loop = live(place / "waits")
    assert loop.models.get_alias("champion") == loop.version_of("champion") == 1
    made = loop.store.list_decisions("rollback")
    assert [(each.model_version, each.evidence["why"]) for each in made] == [(2, "it was slow"), (1, "back")]
    assert len([each for each in kinds(loop) if each[0] == "rollback_lifted"]) == 1
    assert len([each for each in kinds(loop) if each[0] == "approval_approved"]) == 1


def test_a_rejection_without_a_reason_is_told_in_place_and_one_with_a_reason_counts(place: Path, page: Page) -> None:
    with serve(place, [place], clock) as url:
        who = me(page, url, "waits")
        page.goto(f"{url}/projects/waits/approve")
        page.get_by_role("button", name="Reject version 3").click()
        assert "needs a reason" in page.locator("[role=alert]").inner_text()
        assert page.evaluate("document.activeElement.id") == "why"
        page.locator("#why").fill("the depot moved")
        page.get_by_role("button", name="Reject version 3").click()
        page.get_by_role("button", name="Yes, reject").click()
        page.wait_for_selector("text=Rejected.")
        assert "the depot moved" in page.locator("main").inner_text()
        page.locator("#back").select_option("2")
        page.locator("#why-back").fill("try the one before")
        page.get_by_role("button", name="Roll back…").click()
        page.get_by_role("button", name="Yes, roll back").click()
        page.wait_for_selector("text=Rolled back.")
        for part in ("A rollback holds", "try the one before", "After the last rejection nobody is asked again"):
            assert part in page.locator("main").inner_text()
        assert list_violations(page) == []
        page.get_by_role("button", name="Lift the rollback").click()
        page.get_by_role("button", name="Yes, lift it").click()
        page.wait_for_selector("text=The rollback is lifted")
        assert "A rollback holds" not in page.locator("main").inner_text()
    loop = live(place / "waits")
    assert loop.models.get_alias("challenger") is None and list_open(loop) == []
    assert ("approval_rejected", who) in kinds(loop)
    assert loop.models.get_alias("champion") == loop.version_of("champion") == 2


def test_an_alert_is_acknowledged_and_another_snoozed_by_the_keyboard(place: Path, page: Page) -> None:
    with serve(place, [place], clock) as url:
        who = me(page, url, "waits")
        page.goto(f"{url}/projects/waits/alerts")
        first, second = page.locator("article.alert h2").all_inner_texts()[:2]
        page.locator("#note1").focus()
        page.keyboard.type("asked the depot")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Acknowledged.")
        assert page.locator("article.alert h2").first.inner_text() == second != first
        page.locator("details.part summary").first.focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("End")
        assert page.locator("#span1").input_value() == "until"
        page.get_by_role("button", name="Snooze").first.press("Enter")
        page.wait_for_selector("[role=alert]")
        assert "Until when?" in page.locator("[role=alert]").inner_text()
        page.locator("#span1").select_option("1w")
        page.get_by_role("button", name="Snooze").first.press("Enter")
        page.wait_for_selector("text=Snoozed.")
        page.get_by_role("link", name="Acknowledged").click()
        page.wait_for_selector("text=asked the depot")
        assert who in page.locator("article.alert").first.inner_text()
    found = live(place / "waits").store.list_alert_statuses().values()
    assert [(s.acknowledged_by, s.note) for s in found if s.note == "asked the depot"] == [(who, "asked the depot")]
    (quiet,) = [s for s in found if s.snoozed_until is not None]
    assert quiet.snoozed_until is not None and NOW + timedelta(days=7) <= quiet.snoozed_until < NOW + timedelta(
        days=7, seconds=2
    )
    assert {("alert_acknowledged", who), ("alert_snoozed", who)} <= set(kinds(live(place / "waits")))


def test_what_a_person_is_writing_stays_when_the_list_is_sent_anew(place: Path, page: Page) -> None:
    from homeostat.flows.alerts import acknowledge

    loop = live(place / "waits")
    with serve(place, [place], clock) as url:
        page.goto(f"{url}/projects/waits/alerts")
        page.locator("#note1").fill("half a sent")
        acknowledge(loop, NOW, "ben", loop.store.list_alerts()[0].key, "mine")
        page.wait_for_selector("[data-news]:not([hidden])", timeout=30_000)
        assert page.locator("#note1").input_value() == "half a sent"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1240])
def test_the_pages_are_accessible_and_fit_every_width(
    place: Path,
    browser: Browser,  # noqa: F811
    scheme: Any,
    width: int,
) -> None:
    make_tasks(place / "animals", "multiclass", ANIMALS, rows=3)
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    with serve(place, [place], clock) as url:
        for where in ("animals/label", "waits/label", "waits/approve", "waits/alerts?show=all", "animals/approve"):
            page.goto(f"{url}/projects/{where}")
            page.wait_for_selector("main h1")
            assert list_violations(page) == [], where
            assert not scrolls_sideways(page), where
        page.goto(f"{url}/projects/waits/approve")
        page.get_by_role("button", name="Approve version 3").click()
        page.wait_for_selector("text=The journal will name")
        assert list_violations(page) == []
    context.close()


def post(url: str, project: str, **form: str) -> httpx.Response:
    """Send the form of a label page as a program that has read that page would."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        shown = client.get(f"/projects/{project}/label").text
        token = re.search(r'name="csrf_token" value="([^"]*)"', shown)
        assert token is not None
        sent = {**form, "csrf_token": token[1]}
        return client.post(f"/projects/{project}/label/answer", data=sent, headers={"Origin": url})


def test_a_row_is_answered_once_and_an_answer_that_does_not_count_is_told(tmp_path: Path) -> None:
    folder = make_tasks(tmp_path / "animals", "multiclass", ANIMALS, rows=2)
    with serve(tmp_path, [tmp_path], clock) as url:
        answer = post(url, "animals", task="t/0", label="dog")
        assert (answer.status_code, answer.headers["location"]) == (303, "/projects/animals/label?done=answer")
        for form, told in (
            ({"task": "t/0", "label": "cat"}, "had answered"),
            ({"task": "t/1", "label": "horse"}, "expected one of cat"),
            ({"task": "t/9", "label": "cat"}, "not a task of this project"),
            ({"task": "t/1"}, "Choose an answer"),
        ):
            answer = post(url, "animals", **form)
            assert answer.status_code == 409 and told in answer.text
    assert [(a.task, a.label) for a in live(folder).store.list_answers()] == [("t/0", "dog")]
    assert {task.state for task in live(folder).store.list_tasks()} == {TaskState.OPEN}
