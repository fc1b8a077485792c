"""The page in a real browser: projects at a glance, a loop over time, its decisions, and why a row was scored so."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from browser import browser, list_violations, scrolls_sideways, serve  # noqa: F401 - the first is a fixture
from shells import PROJECT, copy_of, small, warm

from homeostat.flows.servers.local import mlflow_server
from homeostat.installation import SERVICES_FILE, digest_store
from homeostat.project import load_project
from homeostat.records import Scope
from homeostat.settings import find_paths

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = (
    "/",
    *(f"/projects/small/{name}" for name in ("overview", "decisions", "decisions?everything=true", "ask?key=400")),
)
NOW = datetime(2020, 1, 12, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of projects: one that has lived for four days, one that has not begun, one whose file is broken."""
    folder = tmp_path_factory.mktemp("shelf")
    small(folder / "small", days=4)
    assert warm("replay", folder / "small", "--no-prefect", "--adopt").code == 0
    small(folder / "young", project=PROJECT.replace('"small"', '"young"'))
    small(folder / "wrong", project=PROJECT.replace("binary", "binery"))
    return folder


@pytest.fixture(scope="module")
def base(shelf: Path) -> Iterator[str]:
    with serve(shelf / ".homeostat", [shelf], lambda: NOW) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:  # noqa: F811
    opened = browser.new_page()
    faults: list[str] = []
    ours = lambda: "/#/" not in opened.url  # noqa: E731 - MLflow's pages have faults of their own
    opened.on("pageerror", lambda fault: faults.append(str(fault)) if ours() else None)
    yield opened
    opened.close()
    assert faults == []


def get(address: str) -> tuple[int, Message, str]:
    """What an address answers: status, headers, text."""
    try:
        answer = urlopen(Request(address, headers={"Accept-Encoding": "gzip"}), timeout=30)
    except HTTPError as refused:
        answer = refused
    with answer:
        body = answer.read()
        packed = answer.headers["Content-Encoding"] == "gzip"
        return answer.status, answer.headers, (gzip.decompress(body) if packed else body).decode()


def test_the_overview_says_of_each_project_how_it_is(page: Page, base: str) -> None:
    page.goto(base)
    card = {name: page.locator(".project", has_text=name).inner_text() for name in ("small", "young", "wrong")}
    assert "Healthy" in card["small"] and "version" in card["small"] and "final" in card["small"]
    assert "2020-01-12 00:00 UTC" in card["small"] and "6 hours ago" in card["small"]
    assert page.get_by_role("img", name=re.compile("from 2020-01-08")).count() == 1
    assert "Not started" in card["young"] and "there is no champion yet" in card["young"]
    assert "Cannot be opened" in card["wrong"] and "binery" in card["wrong"]


def test_a_project_dropped_into_the_folder_appears_without_reload(page: Page, tmp_path: Path) -> None:
    (tmp_path / "shelf").mkdir()
    with serve(tmp_path / "root", [tmp_path / "shelf"]) as url:
        page.goto(url)
        assert "homeostat init" in page.locator("main").inner_text()
        small(tmp_path / "shelf" / "late", project=PROJECT.replace('"small"', '"late"'))
        page.get_by_role("link", name="late", exact=True).wait_for(timeout=30_000)


def test_what_has_not_changed_is_not_sent_again(base: str) -> None:
    for fragment in ("/fragments/projects", "/projects/small/fragments/standing"):
        _, _, text = get(base + fragment)
        found = re.search(r"state=(\w+)", text)
        assert found is not None
        assert get(f"{base}{fragment}?state={found[1]}")[0] == 204


def test_a_click_into_the_picture_goes_to_what_was_decided_then(page: Page, base: str) -> None:
    page.goto(f"{base}/projects/small/overview")
    page.locator("#picture-plots .u-over").first.click()
    page.wait_for_url("**/decisions?at=2020-01-*")
    page.locator("#proof.well").wait_for()
    chosen = page.locator(".chapter.chosen")
    assert chosen.count() == 1 and chosen.get_attribute("id", timeout=1000) in page.url.replace("%3A", ":")


def test_the_picture_can_be_read_and_zoomed_with_the_keyboard(page: Page, base: str) -> None:
    page.goto(f"{base}/projects/small/overview")
    picture = page.get_by_role("slider", name="Tick of the chart")
    page.wait_for_function(
        "() => document.getElementById('picture-plots').getAttribute('aria-valuetext').includes('2020-01-11')"
    )
    picture.press("ArrowLeft")
    assert "2020-01-10 00:00 UTC; AUC 0." in (picture.get_attribute("aria-valuetext") or "")
    page.get_by_role("button", name="Last month").click()
    page.get_by_role("button", name="All").click()
    page.locator("[data-part=all][aria-pressed=true]").wait_for()
    picture.press("Home")
    assert "promoted" in (picture.get_attribute("aria-valuetext") or "")
    picture.press("Enter")
    page.wait_for_url("**/decisions?at=*")
    assert "2020-01-08" in page.url


def test_the_picture_is_there_as_a_table_too(page: Page, base: str) -> None:
    page.goto(f"{base}/projects/small/overview")
    page.get_by_text("Show as a table").click()
    rows = page.locator("#picture-table tbody tr")
    rows.first.wait_for()
    told = json.loads(get(f"{base}/projects/small/series")[2])
    assert rows.count() == len(told["at"]) == told["ticks"]
    assert "2020-01-11 00:00" in rows.first.inner_text()


def test_the_series_of_a_part_of_the_time_hold_that_part_alone(base: str) -> None:
    whole = json.loads(get(f"{base}/projects/small/series")[2])
    start, end = whole["at"][1], whole["at"][2]
    part = json.loads(get(f"{base}/projects/small/series?from={start}&to={end}")[2])
    assert part["at"] == [start, end] and part["whole"] == whole["whole"]
    assert part["realized"] == whole["realized"][1:3]
    status, _, text = get(f"{base}/projects/small/series?from=soon")
    assert status == 400 and "soon" in text


def test_decisions_tell_what_changed_something_and_the_rest_when_asked(page: Page, base: str) -> None:
    page.goto(f"{base}/projects/small/decisions")
    few = page.locator(".entry").count()
    assert few > 0 and page.locator(".entry.quiet").count() == 0
    assert "Promoted version 1" in page.locator(".story").inner_text()
    page.get_by_label("include entries that changed nothing").check()
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**everything=true*")
    assert page.locator(".entry").count() > few and page.locator(".entry.quiet").count() > 0
    page.locator("select[name=kind]").select_option("decide_promotion")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**kind=decide_promotion*")
    assert {name.split(" version")[0] for name in page.locator(".entry h3").all_inner_texts()} <= {
        "Promoted",
        "Refused",
    }
    page.locator(".entry details summary").first.click()
    assert page.locator(".entry details .evidence dd").first.is_visible()


def test_an_edited_journal_is_seen(page: Page, shelf: Path, tmp_path: Path) -> None:
    folder = copy_of(shelf / "small", tmp_path / "small")
    paths = find_paths(load_project(folder), Scope.LIVE)
    with closing(sqlite3.connect(paths.store_url.removeprefix("sqlite:///"))) as database, database:
        database.execute("UPDATE journal SET body = '{}' WHERE seq = 2")
    with serve(tmp_path / "root", [folder]) as url:
        page.goto(f"{url}/projects/small/decisions")
        page.locator("#proof.ill").wait_for()
        assert "is broken at link 2" in page.locator("#proof").inner_text()
        page.goto(url)
        assert "the journal was edited" in page.locator(".project").inner_text()


def test_a_key_is_answered_with_its_story_and_an_unknown_one_with_what_is_wrong(page: Page, base: str) -> None:
    page.goto(f"{base}/projects/small/ask")
    page.get_by_label("id of the row").fill("400")
    page.keyboard.press("Enter")
    answer = page.locator(".answer")
    answer.wait_for(timeout=60_000)
    told = answer.inner_text()
    assert "id 400: predicted" in told and "Its label is" in told and "it is the first champion" in told
    assert page.locator(".bars tbody tr").count() == 1
    page.get_by_label("id of the row").fill("no-such-key")
    page.get_by_role("button", name="Why?").click()
    page.locator(".mistake").wait_for()
    assert "was never scored" in page.locator(".mistake").inner_text()


def test_links_lead_to_the_versions_and_reports_in_mlflow(
    page: Page, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = find_paths(load_project(shelf / "small"), Scope.LIVE)
    with mlflow_server(paths) as mlflow:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        services = {
            "mlflow": {"url": "http://127.0.0.1:9", "state": "healthy", "serves": digest_store("sqlite:///others.db")},
            "mlflow-small": {"url": mlflow, "state": "healthy", "serves": digest_store(paths.tracking_uri)},
            "prefect": {"url": "http://127.0.0.1:9", "state": "failing"},
        }
        tmp_path.joinpath(SERVICES_FILE).write_text(json.dumps({"services": services}))
        with serve(tmp_path, [shelf / "small"]) as url:
            page.goto(url)
            assert page.locator(".services .well", has_text="MLflow").count() == 2
            assert page.get_by_role("link", name="Open MLflow small").get_attribute("href") == mlflow
            page.goto(f"{url}/projects/small/decisions?kind=decide_promotion")
            flow = page.get_by_role("link", name="run in Prefect").first.get_attribute("href") or ""
            assert flow.startswith("http://127.0.0.1:9/runs?flow-run-search=small%20tick%202020-01-")
            page.get_by_role("link", name="version 1 in MLflow").last.click()
            page.get_by_text("Version 1").first.wait_for(timeout=60_000)
            page.goto(f"{url}/projects/small/decisions?at=2020-01-11T00:00:00Z")
            assert page.get_by_role("link", name="drift report").count() == 0, "too few rows were checked for a report"
            check = page.get_by_role("link", name="check in MLflow").get_attribute("href") or ""
            page.goto(check)
            page.get_by_text("small check 2020-01-11").first.wait_for(timeout=60_000)
            page.goto(f"{url}/projects/small/evidently/{check.rpartition('/')[2]}")
            page.wait_for_url("**/#/experiments/*/runs/*/artifacts/evidently.html")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1360), ("dark", 1360), ("light", 360)])
def test_a_page_can_be_used_by_anybody_on_any_screen(
    browser: Browser,  # noqa: F811
    base: str,
    path: str,
    scheme: str,
    width: int,
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 760})  # type: ignore[arg-type]
    page.goto(base + path)
    page.wait_for_load_state("networkidle")
    page.locator("main details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    assert list_violations(page) == []
    assert not scrolls_sideways(page)
    page.close()


def test_a_first_page_is_light_and_its_files_are_kept_by_the_browser(base: str) -> None:
    _, headers, text = get(f"{base}/projects/small/overview")
    assert headers["Content-Encoding"] == "gzip"
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', text)
    assert len(files) >= 5 and all("?v=" in name for name in files)
    for name in files:
        _, told, _ = get(base + name)
        assert "immutable" in told["Cache-Control"] and told["ETag"]
    packed = [Request(base + name, headers={"Accept-Encoding": "gzip"}) for name in files]
    assert sum(len(urlopen(each, timeout=30).read()) for each in packed) < 300_000
    assert get(f"{base}/static/look.css")[1]["Cache-Control"] == "no-cache"


def test_an_unknown_project_and_a_time_that_is_none_are_said_in_words(base: str) -> None:
    status, _, text = get(f"{base}/projects/nobody/overview")
    assert status == 404 and "no project" in text and "nobody" in text
    status, _, text = get(f"{base}/projects/small/decisions?before=yesterday")
    assert status == 400 and "is not a time" in text
