"""Alerts reach people through real servers, wait where they do not, and never carry an address along."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import START, small_project
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.durations import instant
from homeostat.errors import HomeostatError
from homeostat.flows.alerts import acknowledge, reopen, snooze
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.stages.sequence import run_stage
from homeostat.records import Alert, Scope, Severity
from homeostat.store.schema import AlertRow

ROUTES = '[notify.routes]\ncritical = ["PAGER_URL", "CHAT_URL"]\nwarning = ["CHAT_URL"]'
ALERT = Alert("k", START, Severity.CRITICAL, "batch is held", "9 of 10 rows break a stated rule")
WARNED = Alert("w", START, Severity.WARNING, "rows were quarantined", "3 rows")
NEXT = START + timedelta(days=1)


class Receiver(BaseHTTPRequestHandler):
    """Takes what is posted, or refuses it, as its server says."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(body)))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Any]:
    """A real HTTP server; `received` holds what came, `answer` is what it answers."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.received, server.answer = [], 200
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Any) -> Iterator[Path]:
    """A project that routes alerts to the receiver, whose address is a secret of the environment."""
    for name, path in (("PAGER_URL", "pager"), ("CHAT_URL", "chat")):
        monkeypatch.setenv(name, f"json://user:s3cret@127.0.0.1:{receiver.server_port}/{path}")
    yield small_project(tmp_path, extra=ROUTES)
    forget_open_loops()


def raise_alert(folder: Path, alert: Alert = ALERT, scope: Scope = Scope.LIVE) -> Loop:
    """Put an alert into the inbox of a project."""
    loop = open_loop(folder, scope)
    with loop.store.write("test") as write:
        write.append_alert(alert)
    return loop


def notify_at(folder: Path, at: Any, scope: Scope = Scope.LIVE) -> dict[str, Any]:
    """Run the last stage of a tick."""
    return run_stage(folder, scope.value, "notify", instant(at))


def kept(loop: Loop) -> AlertRow:
    """The one alert as the store keeps it."""
    with Session(loop.store.engine) as session:
        return session.scalars(select(AlertRow)).one()


def test_an_alert_reaches_the_routes_of_its_severity_once(folder: Path, receiver: Any) -> None:
    loop = raise_alert(folder)
    assert notify_at(folder, START)["sent"] == 1
    assert sorted(path for path, _ in receiver.received) == ["/chat", "/pager"]
    assert {(m["title"], m["message"], m["type"]) for _, m in receiver.received} == {
        (ALERT.title, ALERT.body, "failure")
    }
    assert (kept(loop).delivered_at, kept(loop).problem) == (START, None)
    notify_at(folder, START)
    notify_at(folder, NEXT)
    assert len(receiver.received) == 2


def test_a_severity_goes_to_its_own_routes_and_one_without_any_to_the_inbox(folder: Path, receiver: Any) -> None:
    raise_alert(folder, Alert("w", START, Severity.WARNING, "rows were quarantined", "3 rows"))
    loop = raise_alert(folder, Alert("i", START, Severity.INFO, "promoted", "version 2"))
    assert notify_at(folder, START)["sent"] == 2
    assert [path for path, _ in receiver.received] == ["/chat"]
    assert loop.store.list_alerts(undelivered=True) == []


def test_what_a_server_refuses_waits_with_its_problem_and_is_sent_with_the_next_tick(
    folder: Path, receiver: Any
) -> None:
    loop = raise_alert(folder)
    receiver.answer = 503
    assert notify_at(folder, START)["sent"] == 0
    assert loop.store.list_alerts(undelivered=True) == [ALERT]
    assert "PAGER_URL" in (kept(loop).problem or "") and "CHAT_URL" in (kept(loop).problem or "")
    receiver.answer = 200
    assert notify_at(folder, NEXT)["sent"] == 1
    assert (kept(loop).delivered_at, kept(loop).problem) == (NEXT, None)


def test_a_variable_that_is_not_set_keeps_the_alert_and_the_other_route_still_gets_it(
    folder: Path, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAGER_URL")
    loop = raise_alert(folder)
    notify_at(folder, START)
    assert [path for path, _ in receiver.received] == ["/chat"]
    assert "PAGER_URL: not set" in (kept(loop).problem or "")
    assert loop.store.list_alerts(undelivered=True) == [ALERT]


@pytest.mark.parametrize("answer", [200, 503])
def test_an_address_never_reaches_a_log_a_store_or_a_screen(
    folder: Path, receiver: Any, answer: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.answer = answer
    raise_alert(folder)
    with caplog.at_level(logging.DEBUG):
        outcome = notify_at(folder, START)
    screen = capfd.readouterr()
    assert "s3cret" not in caplog.text + screen.out + screen.err + repr(outcome)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert any(file.name == "store.db" for file in files)
    assert not [file for file in files if b"s3cret" in file.read_bytes()]


def test_a_replay_tells_nobody_about_the_past(folder: Path, receiver: Any) -> None:
    loop = raise_alert(folder, scope=Scope.REPLAY)
    notify_at(folder, START, Scope.REPLAY)
    assert receiver.received == []
    assert loop.store.list_alerts() == [ALERT] and loop.store.list_alerts(undelivered=True) == []


def test_an_alert_that_is_snoozed_is_told_once_more_when_that_is_over(folder: Path, receiver: Any) -> None:
    loop = raise_alert(folder, WARNED)
    notify_at(folder, START)
    snooze(loop, START, "ann", "w", NEXT + timedelta(hours=1))
    assert notify_at(folder, NEXT)["sent"] == 0 and len(receiver.received) == 1
    assert notify_at(folder, NEXT + timedelta(days=1))["sent"] == 1 and len(receiver.received) == 2
    assert notify_at(folder, NEXT + timedelta(days=2))["sent"] == 0 and len(receiver.received) == 2
    assert kept(loop).snoozed_until is None
    told = [(entry.kind, entry.body.get("by")) for entry in loop.store.list_journal()]
    assert told == [("alert_snoozed", "ann"), ("alert_woke", None)]


def test_an_alert_that_was_snoozed_before_it_was_delivered_waits(folder: Path, receiver: Any) -> None:
    snooze(raise_alert(folder, WARNED), START, "ann", "w", NEXT)
    assert notify_at(folder, START)["sent"] == 0 and receiver.received == []
    assert notify_at(folder, NEXT)["sent"] == 1 and len(receiver.received) == 1


def test_an_alert_that_somebody_sees_to_is_not_told_again(folder: Path, receiver: Any) -> None:
    loop = raise_alert(folder, WARNED)
    notify_at(folder, START)
    snooze(loop, START, "ann", "w", NEXT)
    acknowledge(loop, START, "ben", "w", "the depot is asked")
    notify_at(folder, NEXT)
    assert len(receiver.received) == 1
    assert (kept(loop).acknowledged_by, kept(loop).note) == ("ben", "the depot is asked")
    reopen(loop, NEXT, "ann", "w")
    assert (kept(loop).acknowledged_by, kept(loop).note, kept(loop).snoozed_until) == (None, None, None)


def test_a_route_that_fails_when_a_snooze_is_over_is_tried_again(folder: Path, receiver: Any) -> None:
    loop = raise_alert(folder, WARNED)
    notify_at(folder, START)
    snooze(loop, START, "ann", "w", NEXT)
    receiver.answer = 500
    notify_at(folder, NEXT)
    assert kept(loop).delivered_at is None
    receiver.answer = 200
    assert notify_at(folder, NEXT + timedelta(days=1))["sent"] == 1


def test_what_is_said_of_an_alert_that_there_is_not_is_refused(folder: Path) -> None:
    loop = raise_alert(folder, WARNED)
    for act in (lambda: acknowledge(loop, START, "ann", "x"), lambda: snooze(loop, START, "ann", "x", NEXT)):
        with pytest.raises(HomeostatError, match="no such alert"):
            act()
    with pytest.raises(HomeostatError, match="has passed"):
        snooze(loop, NEXT, "ann", "w", START)
    assert loop.store.list_journal() == []


def test_an_alert_is_sent_with_the_address_of_the_page_where_one_is_served(
    folder: Path, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_CONSOLE_UI", "https://loop.example/")
    loop = raise_alert(folder, WARNED)
    raise_alert(folder, replace(WARNED, key="2020-01-07T00:00:00Z/approval"))
    notify_at(folder, START)
    sent = [message["message"] for _, message in receiver.received]
    assert sent == [
        "3 rows https://loop.example/projects/small/approve",
        "3 rows https://loop.example/projects/small/alerts",
    ]
    assert {alert.body for alert in loop.store.list_alerts()} == {"3 rows"}
