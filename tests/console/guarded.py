"""The real application behind its guard, on a real port, with a clock that can be moved, and routes to try it on."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI, Form, Request, Response, UploadFile
from fastapi.responses import HTMLResponse

from homeostat.console.web.security.dependencies import Person, Role, at_least
from homeostat.console.web.security.settings import AccessSettings
from homeostat.console.web.security.users import make_token, new_entry, read_people, write_people

SECRET = "the-password-of-a-base"
PAGE = """<!doctype html><html lang="en"><head><title>x</title><meta name="htmx-config"
content='{"includeIndicatorStyles": false, "allowEval": false}'><link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/uPlot.min.css">
<script src="/static/htmx.min.js" defer></script><script src="/static/uPlot.iife.min.js" defer></script>
<script src="/probe.js" defer></script></head><body hx-headers='{"X-CSRF-Token": "TOKEN"}'><main id="chart"></main>
<button hx-post="/probe/1" hx-target="#got">Go</button><p id="got"></p></body></html>"""
SCRIPT = """new uPlot({width: 300, height: 150, series: [{}, {stroke: "#08f", fill: "#08f3"}]},
[[1, 2, 3], [2, 1, 3]], document.getElementById("chart"));"""


@dataclass
class Clock:
    """The time of the console."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Console:
    """A console that runs: its address, its access file, and the tokens of those in it."""

    url: str
    root: Path
    people: Path
    clock: Clock
    app: FastAPI
    tokens: dict[str, str]

    @contextmanager
    def browser(self, **headers: str) -> Iterator[httpx.Client]:
        """A client that keeps cookies, as a browser does, and sends these headers along."""
        with httpx.Client(base_url=self.url, headers=headers, trust_env=False) as client:
            yield client

    def change(self, name: str, role: Role | None, renew: bool = False) -> None:
        """Give somebody another role or token, or, with None, shut them out."""
        people = read_people(self.people)
        entry = people.pop(name, None) or new_entry(name, role or Role.VIEWER, None, self.clock())
        if role is not None:
            digest = make_token()[1] if renew else entry.digest
            people[name] = replace(entry, person=Person(name, role), digest=digest)
        write_people(self.people, people)


def csrf_of(client: httpx.Client, path: str = "/") -> str:
    """The token that a page of ours carries."""
    found = re.search(r'X-CSRF-Token": "(\w+)"', client.get(path).text)
    assert found, "the page carries no token"
    return found[1]


def sign_in(client: httpx.Client, token: str, **more: Any) -> httpx.Response:
    """Give the form of the sign-in page a token."""
    form = {"token": token, "csrf_token": csrf_of(client, "/login"), **more}
    return client.post("/login", data=form)


@contextmanager
def console(root: Path, *, opened: bool = True, people: bool = True, **settings: Any) -> Iterator[Console]:
    """Serve the application with these settings; opened up, `ann` is viewer, `bob` annotator and so on."""
    from homeostat.console.web.app import make_app
    from homeostat.console.web.site import Site

    clock, file, tokens = Clock(), root / "access.toml", dict[str, str]()
    if opened and people:
        entries = {}
        for name, role in zip(("ann", "bob", "cem", "dora"), list(Role)[1:], strict=True):
            tokens[name], digest = make_token()
            entries[name] = new_entry(name, role, digest, clock())
        write_people(file, entries)
    (shelf := root / "projects").mkdir(parents=True)
    access = AccessSettings(opened=opened, owner="me", people=file, **settings)
    app = make_app(Site(root, (shelf,), clock), access)
    with run(add_probes(app)) as url:
        yield Console(url, root, file, clock, app, tokens)


@contextmanager
def run(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port; yields its address."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


def add_probes(app: FastAPI) -> FastAPI:
    """Routes of each kind, for the tests alone: acts of each role, forms, files, posts, faults, a chart."""
    for role in Role:
        app.add_api_route(f"/probe/{int(role)}", _act, methods=["POST"], dependencies=[Depends(at_least(role))])
    app.add_api_route("/probe/form", _form, methods=["POST"])
    app.add_api_route("/probe/file", _file, methods=["POST"])
    app.add_api_route("/api/v1/probe", _post, methods=["POST"], dependencies=[Depends(at_least(Role.ANNOTATOR))])
    app.add_api_route("/api/v1/probe/{role}", _act, methods=["DELETE"], dependencies=[Depends(at_least(Role.ADMIN))])
    app.add_api_route("/probe/fault", _fail)
    app.add_api_route("/api/v1/fault", _fail)
    app.add_api_route("/probe/chart", _chart)
    app.add_api_route("/probe.js", lambda: Response(SCRIPT, media_type="text/javascript"))
    return app


def _act(request: Request) -> HTMLResponse:
    return HTMLResponse(request.state.person.name)


def _form(why: Annotated[str, Form()]) -> dict[str, str]:
    return {"why": why}


async def _file(sheet: UploadFile, why: Annotated[str, Form()]) -> dict[str, Any]:
    return {"why": why, "size": len(await sheet.read())}


def _post(given: dict[str, Any]) -> dict[str, Any]:
    return given


def _fail() -> None:
    raise RuntimeError(f"cannot reach the base with {SECRET}")


def _chart(request: Request) -> HTMLResponse:
    return HTMLResponse(PAGE.replace("TOKEN", request.state.csrf))
