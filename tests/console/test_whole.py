"""A person's day: `homeostat up` as a newcomer runs it, its page in a real browser, over real servers."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from browser import browser, list_violations  # noqa: F401 - a fixture
from prepared import lay_mlflow
from test_up import Up, answer_of, busy_ports, everybody, up, wait_until  # noqa: F401 - a fixture

from homeostat.flows.events import MODEL_APPROVED
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.orchestration.automations import WAKES, automation_name
from homeostat.flows.stages.sequence import due_slots, run_tick
from homeostat.records import ApprovalState, Scope, TaskState

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DAYS, BEFORE, ROWS_A_DAY = 8, 4, 100
LIVED = ("shop", "depot", "yard")
"""Nobody approves in the shop; on the page somebody approves in the depot, and a program does in the yard."""
FILE = """
[project]
name = "{name}"
task = "binary"
[data]
key = "id"
event_time = "at"
target = "y"
classes = ["no", "yes"]
numeric = ["x", "z"]
categorical = ["c"]
segments = ["c"]
[data.inputs]
uri = "inputs.parquet"
[data.feedback]
uri = "feedback.parquet"
known_at = "known_at"
horizon = "3d"
[loop]
tick = "1d"
start = "{start}"
[training]
candidates = ["linear"]
[gates]
approval = "human"
min_gain = -1.0
min_rows = 30
[monitoring]
min_rows = 30
[retraining]
policy = "periodic"
every = 3
[labeling]
budget = 40
"""


def make_project(folder: Path, name: str, now: datetime) -> Path:
    """A project that is eight days old; what is true turns after six, and of the last two nobody has said it yet."""
    folder.mkdir(parents=True)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - BEFORE)
    chance = np.random.default_rng(7)
    x, z, noise = chance.normal(size=(3, DAYS * ROWS_A_DAY))
    at = [start - timedelta(days=BEFORE) + timedelta(seconds=864 * i) for i in range(len(x))]
    rows = pl.DataFrame({"id": range(len(x)), "at": at, "x": x, "z": z, "c": ["a", "b"] * (len(x) // 2)})
    rows.write_parquet(folder / "inputs.parquet")
    true = 2 * np.where(np.arange(len(x)) > 600, z, x) + noise > 0
    labels = rows.select("id", y=pl.Series(np.where(true, "yes", "no")), known_at=pl.col("at") + timedelta(hours=18))
    labels.head((DAYS - 2) * ROWS_A_DAY).write_parquet(folder / "feedback.parquet")
    (folder / "homeostat.toml").write_text(FILE.format(name=name, start=start.isoformat()), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def shelf(busy_ports: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:  # noqa: F811
    """An installation of projects that have lived for a while, up where the usual ports are taken."""
    base = tmp_path_factory.mktemp("day")
    folder = base / "projects"
    now = datetime.now(UTC)
    # A mark makes the projects share the installation's MLflow store, as they would had `up` run all the time.
    lay_mlflow(folder / ".homeostat")
    (folder / ".homeostat" / "installation.json").write_text("{}", encoding="utf-8")
    for name in LIVED:
        made = make_project(folder / name, name, now)
        for slot in due_slots(made, now):
            run_tick(made, "live", slot)
    forget_open_loops()
    with up(folder, base / "out") as running:
        running.await_words("is up")
        yield running
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0, running.text()
    assert everybody(folder) == []


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:  # noqa: F811
    """A window of a browser in which no page may have a fault."""
    faults: list[str] = []
    with closing(browser.new_context(viewport={"width": 1280, "height": 900})) as context:
        opened = context.new_page()
        opened.on("pageerror", lambda fault: faults.append(str(fault)))
        yield opened
    assert faults == []


def console(shelf: Up) -> str:
    """The address of the page, as `up` prints it."""
    found = re.search(r"Console\s+(http://127\.0\.0\.1:\d+)", shelf.text())
    assert found is not None, shelf.text()
    return found[1]


def loop_of(shelf: Up, project: str = "shop") -> Loop:
    """The loop of a project, read as another process does."""
    forget_open_loops()
    return open_loop(shelf.folder / project, Scope.LIVE)


def told_of(shelf: Up, project: str) -> list[int]:
    """The versions whose approval Prefect was told of, the oldest first."""
    wanted = {
        "event": {"name": ["homeostat.model.approved"]},
        "resource": {"id": [f"homeostat.project.{project}"]},
        "order": "ASC",
    }
    found = answer_of(f"{shelf.services()['prefect']['url']}/api/events/filter", {"filter": wanted})
    return [each["payload"]["version"] for each in found["events"]]


def approved_in(shelf: Up, project: str) -> int:
    """The version that a program has approved in a project; it does so now if it has not yet."""
    store = loop_of(shelf, project).store
    for waiting in store.list_approvals(ApprovalState.OPEN):
        path = f"projects/{project}/approvals/{waiting.version}/approve"
        answer_of(f"{console(shelf)}/api/v1/{path}", {"why": "it follows the new price"})
    (approved,) = store.list_approvals(ApprovalState.APPROVED)
    return approved.version


def test_the_overview_says_how_the_project_and_every_service_is(shelf: Up, page: Page) -> None:
    page.goto(console(shelf))
    page.get_by_role("heading", name="shop").wait_for()
    card, said = page.locator(".project", has_text="shop").inner_text(), page.locator("main").inner_text()
    assert "1 challenger to approve" in card and "rows to label" in card
    assert all(part in said for part in ("Prefect", "MLflow", "Runner"))
    assert said.count("healthy") >= 4, said
    for name in ("Prefect", "MLflow"):
        url = page.get_by_role("link", name=f"Open {name}").get_attribute("href")
        assert url is not None and url.rsplit(":", 1)[1].strip("/") not in ("4200", "5000")
        answer_of(url)


def test_ten_rows_are_labelled_with_the_keyboard_alone(shelf: Up, page: Page) -> None:
    page.goto(f"{console(shelf)}/projects/shop/label")
    for number in range(10):
        page.locator(f".far strong >> text='{number}'").first.wait_for()
        page.keyboard.press("12"[number % 2])
    page.locator(".far strong >> text='10'").first.wait_for()
    given = loop_of(shelf).store.list_answers()
    assert [answer.label for answer in given] == ["no", "yes"] * 5
    assert len({answer.task for answer in given}) == 10
    told = [entry for entry in loop_of(shelf).store.list_journal() if entry.kind == "answer"]
    assert len(told) == 10 and {entry.body["how"] for entry in told} != {""}


def test_an_alert_is_acknowledged_with_what_is_being_done(shelf: Up, page: Page) -> None:
    page.goto(f"{console(shelf)}/projects/shop/alerts")
    first = page.locator("article.alert").first
    title = first.get_by_role("heading").inner_text()
    first.get_by_label("What is being done").fill("asked the depot")
    first.get_by_role("button", name="Acknowledge").click()
    page.get_by_text("Acknowledged.").wait_for()
    page.get_by_role("link", name="Acknowledged").click()
    page.get_by_text("asked the depot").first.wait_for()
    seen = [s for s in loop_of(shelf).store.list_alert_statuses().values() if s.note == "asked the depot"]
    assert len(seen) == 1 and any(a.key == seen[0].key and a.title in title for a in loop_of(shelf).store.list_alerts())


def test_a_challenger_is_looked_at_in_mlflow_and_approved(shelf: Up, page: Page) -> None:
    (asked,) = loop_of(shelf, "depot").store.list_approvals(ApprovalState.OPEN)
    page.goto(f"{console(shelf)}/projects/depot/approve")
    page.get_by_role("link", name=f"version {asked.version} in MLflow").first.click()
    page.get_by_role("heading", name=f"Version {asked.version}").wait_for(timeout=60_000)
    assert "depot" in page.locator("main, #root").first.inner_text()
    page.go_back()
    page.get_by_label("Reason").first.fill("it follows the new price")
    page.get_by_role("button", name=f"Approve version {asked.version}").click()
    page.get_by_role("button", name="Yes, approve").click()
    page.get_by_text("Approved.").wait_for()
    loop = loop_of(shelf, "depot")
    assert loop.models.get_alias("champion") == loop.version_of("champion") == asked.version
    (closed,) = loop.store.list_approvals(ApprovalState.APPROVED)
    assert closed.why == "it follows the new price"
    assert loop.store.verify_journal(loop.models.anchored()).sound
    wait_until(lambda: told_of(shelf, "depot") == [asked.version], lambda: told_of(shelf, "depot"), 60)


def listens_for_approvals(shelf: Up, project: str) -> bool:
    """Whether Prefect waits for a project's approvals already: an event before that wakes nothing."""
    name = automation_name(project, WAKES[MODEL_APPROVED][0])
    wanted = {"automations": {"name": {"any_": [name]}}}
    return len(answer_of(f"{shelf.services()['prefect']['url']}/api/automations/filter", wanted)) == 1


def test_an_approval_and_a_rollback_are_events_that_wake_the_delivery(shelf: Up) -> None:
    wait_until(lambda: listens_for_approvals(shelf, "yard"), shelf.text)
    version = approved_in(shelf, "yard")

    def told() -> list[int]:
        return told_of(shelf, "yard")

    wait_until(lambda: told() == [version], told, 60)
    api = f"{console(shelf)}/api/v1/projects/yard"
    assert answer_of(f"{api}/rollback", {"version": 1, "why": "the old price is back"}) == {"version": 1}
    wait_until(lambda: told() == [version, 1], told, 60)
    assert answer_of(f"{api}/rollback", {"version": version, "why": "a mistake"}) == {"version": version}

    def delivered() -> list[str]:
        wanted = {"deployments": {"name": {"any_": ["yard"]}}, "flows": {"name": {"any_": ["deliver"]}}}
        found = answer_of(f"{shelf.services()['prefect']['url']}/api/flow_runs/filter", wanted)
        return [run["state_type"] for run in found]

    wait_until(lambda: "COMPLETED" in delivered(), delivered, 120)


def test_what_a_person_did_stands_in_the_story_and_the_key_is_answered(shelf: Up, page: Page) -> None:
    approved_in(shelf, "yard")
    page.goto(f"{console(shelf)}/projects/yard/decisions")
    page.get_by_text("approved version").first.wait_for()
    page.get_by_text("Journal intact").wait_for()
    page.goto(f"{console(shelf)}/projects/yard/ask")
    page.get_by_role("textbox").fill("500")
    page.keyboard.press("Enter")
    page.get_by_text("Why this score").first.wait_for(timeout=60_000)


@pytest.mark.parametrize("tab", ["overview", "decisions", "label", "approve", "alerts", "ask"])
def test_no_page_over_real_servers_keeps_anybody_out(shelf: Up, page: Page, tab: str) -> None:
    page.goto(f"{console(shelf)}/projects/shop/{tab}")
    page.wait_for_load_state("networkidle")
    assert list_violations(page) == []


def test_a_project_that_is_dropped_in_starts_looping_by_itself(shelf: Up) -> None:
    made = make_project(shelf.folder / ".making", "late", datetime.now(UTC))
    made.rename(shelf.folder / "late")

    def told() -> dict[str, object]:
        found = answer_of(f"{console(shelf)}/api/v1/projects")
        return next((each for each in found if each["name"] == "late"), {})

    wait_until(lambda: told().get("labels_waiting"), told, 240)
    loop = open_loop(shelf.folder / "late", Scope.LIVE)
    wait_until(
        lambda: due_slots(shelf.folder / "late", datetime.now(UTC)) == [], lambda: loop.store.list_batches(), 120
    )
    ticks = loop.store.count_ticks("notify")
    assert ticks == len(loop.store.list_batches()) == DAYS - BEFORE + 1
    assert loop.store.list_tasks(TaskState.OPEN)
