"""What holds for every alert route, and for one that is added from outside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from homeostat.monitoring.alerts import ALERT_ROUTES, Address, can_read, deliver
from homeostat.records import Alert, Severity

ALERT = Alert("k", datetime(2024, 1, 1, tzinfo=UTC), Severity.CRITICAL, "champion refused", "golden rows differ")


class FileRoute:
    """Appends alerts to a file."""

    def takes(self, address: str) -> bool:
        return address.startswith("file:")

    def send(self, alert: Alert, address: str) -> str | None:
        try:
            with Path(address.removeprefix("file:")).open("a") as file:
                file.write(json.dumps({"title": alert.title, "message": alert.body}) + "\n")
        except OSError as fault:
            return f"{fault.strerror}."
        return None


class Way:
    """A route with an address that works, one that does not, and what has arrived."""

    def __init__(self, good: str, bad: str, arrived: Callable[[], list[dict[str, str]]]) -> None:
        self.good, self.bad, self.arrived = good, bad, arrived


@pytest.fixture(params=["apprise", "file"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    if request.param == "file":
        file = tmp_path / "alerts-s3cret"
        ALERT_ROUTES.add("file", FileRoute())
        yield Way(
            f"file:{file}",
            f"file:{tmp_path / 's3cret' / 'alerts'}",
            lambda: [json.loads(line) for line in file.read_text().splitlines()],
        )
        ALERT_ROUTES.remove("file")
        return
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if self.path == "/good" else 500)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    place = f"json://user:s3cret@127.0.0.1:{server.server_port}"
    yield Way(f"{place}/good", f"{place}/bad", lambda: received)
    server.shutdown()
    server.server_close()


def test_an_alert_arrives_with_its_title_and_body(way: Way) -> None:
    assert can_read(way.good)
    assert deliver(ALERT, [Address("PAGER", way.good)]).ok
    [message] = way.arrived()
    assert (message["title"], message["message"]) == (ALERT.title, ALERT.body)


def test_one_that_fails_is_a_problem_without_the_address_and_the_others_get_it(way: Way) -> None:
    result = deliver(ALERT, [Address("BROKEN", way.bad), Address("PAGER", way.good)])
    assert not result.ok and (result.problem or "").startswith("BROKEN: ")
    assert "s3cret" not in (result.problem or "") and "PAGER" not in (result.problem or "")
    assert way.arrived()[-1]["title"] == ALERT.title


def test_an_address_of_no_route_is_read_by_none(way: Way) -> None:
    assert not can_read("nosuch://s3cret@host")
    assert "PAGER: not an address" in (deliver(ALERT, [Address("PAGER", "nosuch://s3cret@host")]).problem or "")


def test_a_route_that_raises_is_a_problem_without_the_address() -> None:
    class Raises:
        def takes(self, address: str) -> bool:
            return address.startswith("raises:")

        def send(self, alert: Alert, address: str) -> str | None:
            raise RuntimeError(address)

    ALERT_ROUTES.add("raises", Raises())
    try:
        assert deliver(ALERT, [Address("PAGER", "raises:s3cret")]).problem == "PAGER: RuntimeError while sending."
    finally:
        ALERT_ROUTES.remove("raises")
