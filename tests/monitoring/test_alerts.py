import json
import logging
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from homeostat.monitoring.alerts import Address, deliver, route
from homeostat.project import Project
from homeostat.records import Alert, Severity

ALERT = Alert("k", datetime(2024, 1, 1, tzinfo=UTC), Severity.CRITICAL, "champion refused", "golden rows differ")
PROJECT = Project.model_validate(
    {
        "folder": Path("flights"),
        "project": {"name": "p", "task": "binary"},
        "data": {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]},
        "loop": {"tick": "7d", "start": datetime(2024, 1, 1, tzinfo=UTC)},
        "notify": {"routes": {"critical": ["PAGER", "CHAT"]}},
    }
)


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.received.append(json.loads(body))
            self.send_response(self.server.answer)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.received, server.answer = [], 200
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def address(server):
    return Address("PAGER", f"json://user:s3cret@127.0.0.1:{server.server_port}/hook")


def test_an_alert_reaches_a_real_server(server):
    assert deliver(ALERT, [address(server)]).ok
    (message,) = server.received
    assert (message["title"], message["message"], message["type"]) == (ALERT.title, ALERT.body, "failure")


def test_a_server_that_fails_is_a_problem_and_the_others_still_get_it(server, caplog, capfd):
    server.answer = 500
    with caplog.at_level(logging.DEBUG):
        result = deliver(ALERT, [address(server), Address("CHAT", f"json://127.0.0.1:{server.server_port}")])
    assert not result.ok and result.problem and "PAGER" in result.problem and "CHAT" in result.problem
    assert len(server.received) == 2
    output = capfd.readouterr()
    assert "s3cret" not in caplog.text + result.problem + output.out + output.err + repr(address(server))


def test_nobody_listening_is_a_problem(server):
    server.server_close()
    assert "cannot be reached" in (deliver(ALERT, [address(server)]).problem or "")


def test_an_address_that_cannot_be_read_is_a_problem_without_the_address():
    result = deliver(ALERT, [Address("PAGER", "nosuch://s3cret@host")])
    assert not result.ok and "s3cret" not in (result.problem or "")


def test_a_variable_that_is_not_set_is_told_by_name():
    addresses, problems = route(ALERT, PROJECT, {"CHAT": "json://localhost", "PAGER": " "})
    assert addresses == [Address("CHAT", "json://localhost")]
    assert len(problems) == 1 and "PAGER: not set" in problems[0] and "homeostat.toml" in problems[0]


def test_a_severity_without_a_route_is_logged_and_well(caplog):
    quiet = Alert("k", ALERT.at, Severity.INFO, "promoted", "version 2")
    assert route(quiet, PROJECT, {}) == ([], [])
    with caplog.at_level(logging.INFO, logger="homeostat.alerts"):
        assert deliver(quiet).ok
    assert "promoted: version 2" in caplog.text
