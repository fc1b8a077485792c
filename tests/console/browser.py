"""A real browser on the real page: Chromium, driven, and the application served as it is in life."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from installed import find_chromium, missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window; the test is skipped where it is not installed.

    Not for the session: as long as it is driven, an event loop runs in this thread, in which others cannot run theirs.
    """
    program = find_chromium()
    if program is None:
        pytest.skip(missing("Chromium"))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def serve(root: Path, places: Sequence[Path], clock: Callable[[], datetime] | None = None) -> Iterator[str]:
    """The page of an installation on a free port of this machine; yields its address, without a slash at its end."""
    import uvicorn

    from homeostat.console.web.app import make_app
    from homeostat.console.web.site import Site

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = make_app(Site(root, tuple(places), clock or (lambda: datetime.now(UTC))))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "the page did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


def list_violations(page: Page) -> list[str]:
    """What axe finds on a page that is serious or critical: the rule, and where."""
    from axe_playwright_python.sync_playwright import Axe

    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    loud = [rule for rule in found if rule["impact"] in SERIOUS]
    return [f"{rule['id']}: {node['target']} {node['html'][:120]}" for rule in loud for node in rule["nodes"]]


def scrolls_sideways(page: Page) -> bool:
    """Whether a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
