"""Each way past the access control, tried on a real console: at its own machine, opened up, and behind a proxy."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from browser import browser, list_violations, scrolls_sideways
from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from guarded import SECRET, Console, console, csrf_of, sign_in

from homeostat.console.web.app import make_app
from homeostat.console.web.security.dependencies import Role, role_wanted
from homeostat.console.web.security.middleware import HEADERS
from homeostat.console.web.security.origins import parse_networks
from homeostat.console.web.security.sessions import HOURS, Sessions, read_key
from homeostat.console.web.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console that only its own machine reaches."""
    with console(tmp_path_factory.mktemp("local"), opened=False) as served:
        yield served


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console with people in an access file."""
    with console(tmp_path_factory.mktemp("opened")) as served:
        yield served


@pytest.fixture(autouse=True)
def later(request: pytest.FixtureRequest) -> None:
    """Let time pass before a test, so that nobody waits because of the test before."""
    for name in {"local", "opened"} & set(request.fixturenames):
        request.getfixturevalue(name).clock.forward(2000)


def bearer(served: Console, name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {served.tokens[name]}"}


# A console of its own machine


def test_at_its_own_machine_whoever_started_it_may_do_all(local: Console) -> None:
    with local.browser() as client:
        done = client.post("/probe/4", headers={"x-csrf-token": csrf_of(client)})
        assert (done.status_code, done.text) == (200, "me")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "a b"])
def test_a_page_that_made_its_name_lead_here_gets_nothing(local: Console, host: str) -> None:
    for path in ("/", "/api/v1/openapi.json"):
        answer = httpx.get(local.url + path, headers={"host": host}, trust_env=False)
        assert answer.status_code == 421 if host else answer.status_code in {400, 421}
        assert "csrf_token" not in answer.text and "openapi" not in answer.text


@pytest.mark.parametrize("host", ["localhost:8321", "127.0.0.1:9", "[::1]:8321", "LOCALHOST"])
def test_the_names_of_this_machine_lead_here(local: Console, host: str) -> None:
    assert httpx.get(local.url, headers={"host": host}, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_site_does_nothing_even_with_the_right_token(local: Console, sent: dict[str, str]) -> None:
    with local.browser() as client:
        headers = {"x-csrf-token": csrf_of(client), **sent}
        assert client.post("/probe/1", headers=headers).status_code == 403
        assert client.post("/api/v1/probe", json={}, headers=headers).status_code == 403
        own = {"x-csrf-token": csrf_of(client), "origin": local.url, "sec-fetch-site": "same-origin"}
        assert client.post("/probe/1", headers=own).status_code == 200


@pytest.mark.parametrize("way", ["local", "opened"])
def test_an_act_wants_the_token_of_its_own_page(way: str, request: pytest.FixtureRequest) -> None:
    served: Console = request.getfixturevalue(way)
    with served.browser() as client, served.browser() as other:
        for each, name in ((client, "dora"), (other, "ann")):
            if way == "opened":
                assert sign_in(each, served.tokens[name]).status_code == 303
        right, foreign = csrf_of(client), csrf_of(other)
        assert right != csrf_of(client), "it is masked anew each time"
        for token in (None, "", "x", foreign, right[:-1], right[1:] + right[:1], "0" * len(right), "é" * len(right)):
            headers = {} if token is None else {"x-csrf-token": token.encode()}
            assert client.post("/probe/1", headers=headers).status_code == 403, token
            assert client.post("/probe/form", data={"why": "x", "csrf_token": token or ""}).status_code == 403
        assert client.post("/probe/1", headers={"x-csrf-token": right}).status_code == 200


def test_a_form_and_a_file_come_whole_to_who_wants_them(local: Console) -> None:
    with local.browser() as client:
        form, sheet = {"why": "a & b\n" * 5000, "csrf_token": csrf_of(client)}, os.urandom(300_000)
        assert client.post("/probe/form", data=form).json() == {"why": form["why"]}
        done = client.post("/probe/file", data=form, files={"sheet": sheet})
        assert done.json() == {"why": form["why"].replace("\n", "\r\n"), "size": len(sheet)} or done.json() == {
            "why": form["why"],
            "size": len(sheet),
        }


def test_what_is_too_large_is_sent_away(local: Console) -> None:
    with local.browser() as client:
        token = csrf_of(client)
        large = {"why": "x" * (2 << 20), "csrf_token": token}
        assert client.post("/probe/form", data=large).status_code == 413
        assert client.post("/probe/form", data=large, headers={"x-csrf-token": token}).status_code == 413
        assert client.post("/probe/form", data={"why": "x", "csrf_token": token}).status_code == 200


def test_a_program_of_this_machine_posts_json_without_more_and_a_form_cannot_pass_for_one(local: Console) -> None:
    url = f"{local.url}/api/v1/probe"
    assert httpx.post(url, json={"a": 1}, trust_env=False).json() == {"a": 1}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = httpx.post(url, content=b'{"a": 1}', headers={"content-type": kind}, trust_env=False)
        assert answer.status_code in {403, 415, 400}, kind
    assert httpx.delete(f"{url}/1", trust_env=False).text == "me"
    for sent in ({"origin": "null"}, {"sec-fetch-site": "same-origin"}, {"origin": local.url}):
        assert httpx.post(url, json={}, headers=sent, trust_env=False).status_code == 403
        assert httpx.delete(f"{url}/1", headers=sent, trust_env=False).status_code == 403


def test_a_proxy_that_nobody_spoke_of_is_sent_away_and_its_header_names_nobody(local: Console) -> None:
    answer = httpx.get(local.url, headers={"x-forwarded-for": "203.0.113.9"}, trust_env=False)
    assert answer.status_code == 403 and "HOMEOSTAT_USER_HEADER" in answer.text
    assert ">me<" in httpx.get(local.url, headers={"x-forwarded-user": "eve"}, trust_env=False).text


# Opened up


def test_without_a_token_there_is_only_the_door(opened: Console) -> None:
    with opened.browser() as client:
        page = client.get("/projects/a%20b/label?x=1&y=2")
        assert page.status_code == 303
        assert page.headers["location"] == "/login?next=%2Fprojects%2Fa%2520b%2Flabel%3Fx%3D1%26y%3D2"
        fragment = client.get("/", headers={"hx-request": "true", "hx-current-url": f"{opened.url}/projects/a?b=c"})
        assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/login?next=%2Fprojects%2Fa%3Fb%3Dc")
        for method, path in (("GET", "openapi.json"), ("POST", "probe"), ("GET", "nothing")):
            answer = client.request(method, f"/api/v1/{path}")
            assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
            assert "Authorization: Bearer" in answer.json()["detail"]
        assert client.post("/probe/0").status_code == 303
        assert client.get("/healthz").json()["healthy"] is True
        assert client.get("/static/look.css").status_code == 200
        assert client.get("/static/nothing.css").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/%2e%2e%2f%2e%2e%2fmain.py",
     "/static//etc/passwd", "/static/..%5capp.py", "/static/%00", "/static/../../../../../etc/passwd"],
)  # fmt: skip
def test_only_what_is_meant_for_browsers_can_be_read(opened: Console, path: str) -> None:
    import socket
    from urllib.parse import urlsplit

    # A client of its own would tidy the path up.
    address = urlsplit(opened.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert re.match(rb"HTTP/1.1 (400|404|303)", answer), answer[:200]
    assert b"def " not in answer and b"root:" not in answer


def test_a_token_signs_in_and_signing_out_ends_even_a_copied_session(opened: Console) -> None:
    with opened.browser() as client:
        done = sign_in(client, f" {opened.tokens['cem']} ", next="/probe/chart?a=b")
        assert (done.status_code, done.headers["location"]) == (303, "/probe/chart?a=b")
        kept = done.headers["set-cookie"]
        assert "HttpOnly" in kept and "SameSite=lax" in kept and f"Max-Age={HOURS * 3600}" in kept
        assert "Secure" not in kept and opened.tokens["cem"] not in kept
        assert ">cem<" in client.get("/").text and "Sign out" in client.get("/").text
        assert client.get("/login").headers["location"] == "/"
        stolen = dict(client.cookies)
        assert client.post("/logout", data={"csrf_token": csrf_of(client)}).status_code == 303
        assert client.get("/").status_code == 303
        assert httpx.get(opened.url, cookies=stolen, trust_env=False).status_code == 303


def test_over_https_the_session_stays_on_https(opened: Console) -> None:
    with opened.browser(**{"x-forwarded-proto": "https"}) as client:
        page = client.get("/login")
        assert page.headers["strict-transport-security"] and "Secure" in page.headers["set-cookie"]
        cookie = page.headers["set-cookie"].partition(";")[0]
        token = re.search(r'csrf_token" value="(\w+)"', page.text)
        assert token and cookie.startswith("__Host-")
        form = {"token": opened.tokens["ann"], "csrf_token": token[1]}
        done = client.post("/login", data=form, headers={"cookie": cookie})
        assert done.headers["set-cookie"].startswith("__Host-homeostat-") and "Secure" in done.headers["set-cookie"]
    with opened.browser() as client:
        assert "strict-transport-security" not in client.get("/login").headers


@pytest.mark.parametrize("next_", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example"])
def test_signing_in_leads_to_no_other_site(opened: Console, next_: str) -> None:
    with opened.browser() as client:
        assert "evil" not in client.get("/login", params={"next": next_}).text
        assert sign_in(client, opened.tokens["ann"], next=next_).headers["location"] == "/"


def test_a_session_cannot_be_made_up_or_used_too_late(opened: Console) -> None:
    with opened.browser() as client:
        sign_in(client, opened.tokens["dora"])
        (name, value), = [(n, v) for n, v in client.cookies.items() if "visit" not in n]  # fmt: skip
        forger = Sessions("0" * 64)
        entry = opened.app.state.gate.people.all()["dora"]
        body, _, seal = value.rpartition(".")
        for forged in (forger.begin(entry, opened.clock().timestamp()), f"{body}x.{seal}", f"{body}.", "x", "", body):
            answer = httpx.get(opened.url, headers={"cookie": f"{name}={forged}"}, trust_env=False)
            assert answer.status_code == 303, forged
        assert client.get("/").status_code == 200
        opened.clock.forward(HOURS * 3600 - 5)
        assert client.get("/").status_code == 200
        opened.clock.forward(10)
        assert httpx.get(opened.url, headers={"cookie": f"{name}={value}"}, trust_env=False).status_code == 303


def test_who_is_removed_or_renewed_or_has_another_role_is_so_at_once(tmp_path: Path) -> None:
    with console(tmp_path) as served, served.browser() as client:
        sign_in(client, served.tokens["cem"])
        token = {"x-csrf-token": csrf_of(client)}
        assert client.post("/probe/3", headers=token).status_code == 200
        served.change("cem", Role.VIEWER)
        refused = client.post("/probe/3", headers=token)
        assert refused.status_code == 403 and "cem is viewer here; this needs approver" in refused.text
        served.change("cem", Role.VIEWER, renew=True)
        assert client.get("/").status_code == 303
        headers = bearer(served, "bob")
        assert client.get("/api/v1/openapi.json", headers=headers).status_code == 200
        served.change("bob", None)
        assert client.get("/api/v1/openapi.json", headers=headers).status_code == 401
        served.people.write_text("people = 3")
        assert client.get("/api/v1/openapi.json", headers=bearer(served, "ann")).status_code == 503


@pytest.mark.parametrize(("name", "has"), [("ann", 1), ("bob", 2), ("cem", 3), ("dora", 4)])
def test_a_role_may_do_what_it_says_and_no_more(opened: Console, name: str, has: int) -> None:
    headers = bearer(opened, name)
    with opened.browser() as client:
        for wanted in range(1, 5):
            status = client.post(f"/probe/{wanted}", headers=headers).status_code
            assert status == (200 if wanted <= has else 403)
        assert client.post("/api/v1/probe", json={}, headers=headers).status_code == (200 if has >= 2 else 403)


def test_the_supervisor_looks_and_does_nothing(tmp_path: Path) -> None:
    for opened_up in (True, False):
        with console(tmp_path / str(opened_up), opened=opened_up, service_key="k" * 32) as served:
            headers = {"authorization": f"Bearer {'k' * 32}"}
            assert httpx.get(served.url, headers=headers, trust_env=False).text.count("homeostat up") == 1
            assert httpx.post(f"{served.url}/probe/2", headers=headers, trust_env=False).status_code == 403


def test_the_host_must_be_one_of_those_that_are_named(tmp_path: Path) -> None:
    with console(tmp_path, hosts=frozenset({"homeostat.example.org"})) as served:
        for host, status in (("homeostat.example.org:443", 200), ("evil.example", 421), ("127.0.0.1", 200)):
            answer = httpx.get(f"{served.url}/login", headers={"host": host}, trust_env=False)
            assert answer.status_code == status, host


# Behind a proxy


def test_a_trusted_proxy_says_who_it_is_and_the_file_or_the_default_which_role(tmp_path: Path) -> None:
    with console(tmp_path, user_header="x-forwarded-user", default_role=Role.VIEWER) as served:
        with served.browser(**{"x-forwarded-user": "cem", "x-forwarded-for": "203.0.113.9"}) as client:
            token = {"x-csrf-token": csrf_of(client)}
            assert client.post("/probe/1").status_code == 403
            assert client.post("/probe/3", headers=token).text == "cem"
            foreign = client.post("/probe/1", headers={**token, "x-forwarded-user": "dora"})
            assert foreign.status_code == 403, "the token of one is no token of another"
        with served.browser(**{"x-forwarded-user": "zoë".encode()}) as client:  # type: ignore[arg-type]
            token = {"x-csrf-token": csrf_of(client)}
            assert client.post("/probe/1", headers=token).text == "zoë"
            assert client.post("/probe/2", headers=token).status_code == 403
        twice = [("x-forwarded-user", "ann"), ("x-forwarded-user", "dora")]
        for headers in (twice, [("x-forwarded-user", "homeostat up")], [("x-forwarded-user", "")]):
            assert httpx.get(served.url, headers=headers, trust_env=False).status_code == 400


def test_from_anybody_else_the_header_says_nothing(tmp_path: Path) -> None:
    with console(tmp_path, user_header="x-forwarded-user", trusted=parse_networks("10.0.0.0/8")) as served:
        headers = {"x-forwarded-user": "dora", "x-forwarded-for": "10.0.0.1", "x-forwarded-proto": "https"}
        page = httpx.get(served.url, headers=headers, trust_env=False)
        assert page.status_code == 303 and "strict-transport-security" not in page.headers
        assert httpx.get(f"{served.url}/api/v1/openapi.json", headers=headers, trust_env=False).status_code == 401


def test_without_a_default_role_a_stranger_whom_the_proxy_knows_is_refused_in_words(tmp_path: Path) -> None:
    with console(tmp_path, user_header="remote-user") as served:
        answer = httpx.get(served.url, headers={"remote-user": "eve"}, trust_env=False)
        assert answer.status_code == 403 and "eve has no role here" in answer.text


# How often


def test_guessing_a_token_becomes_slower_and_slower(tmp_path: Path) -> None:
    with console(tmp_path) as served, served.browser() as client:
        token, waits = csrf_of(client, "/login"), []
        for guess in range(8):
            answer = client.post("/login", data={"token": f"hs_{guess}", "csrf_token": token})
            while answer.status_code == 429:
                waits.append(int(answer.headers["retry-after"]))
                assert "Try again in" in answer.text
                assert sign_in(client, served.tokens["ann"]).status_code == 429
                served.clock.forward(waits[-1] + 0.01)
                answer = client.post("/login", data={"token": f"hs_{guess}", "csrf_token": token})
            assert answer.status_code == 401
        assert waits[-1] >= 16 and waits == sorted(waits)
        served.clock.forward(300)
        assert sign_in(client, served.tokens["ann"]).status_code == 303


def test_wrong_tokens_at_the_api_are_held_back_while_right_ones_pass(tmp_path: Path) -> None:
    with console(tmp_path) as served, served.browser() as client:
        wrong = {"authorization": "Bearer hs_guess"}
        seen = [client.get("/api/v1/openapi.json", headers=wrong).status_code for _ in range(6)]
        assert seen == [401, 401, 401, 401, 429, 429]
        assert client.get("/api/v1/openapi.json", headers=bearer(served, "ann")).status_code == 200


def test_whoever_acts_or_posts_too_much_waits_and_others_do_not(tmp_path: Path) -> None:
    with console(tmp_path, rate=5.0) as served, served.browser() as client:
        ann, bob = bearer(served, "cem"), bearer(served, "bob")
        assert [client.post("/probe/1", headers=ann).status_code for _ in range(61)] == [200] * 60 + [429]
        assert client.post("/probe/1", headers=bob).status_code == 200
        served.clock.forward(1)
        assert client.post("/probe/1", headers=ann).status_code == 200
        assert [client.post("/api/v1/probe", json={}, headers=bob).status_code for _ in range(11)][-2:] == [200, 429]


def test_whoever_looks_too_often_waits_and_others_do_not(tmp_path: Path) -> None:
    with console(tmp_path, rate=5.0) as served, served.browser() as client:
        ann, bob = bearer(served, "ann"), bearer(served, "bob")
        seen = [client.get("/probe/page", headers=ann).status_code for _ in range(301)]
        assert 429 not in seen[:300] and seen[300] == 429
        assert client.get("/probe/page", headers=bob).status_code != 429
        assert client.get("/healthz", headers=ann).status_code == client.get("/static/look.css").status_code == 200
        seen = [client.get("/api/v1/openapi.json", headers=ann).status_code for _ in range(11)]
        assert seen == [200] * 10 + [429]
        served.clock.forward(1)
        assert client.get("/probe/page", headers=ann).status_code != 429


# What is told


def test_every_answer_carries_the_headers_of_a_page_that_runs_nothing_foreign(opened: Console) -> None:
    with opened.browser(**bearer(opened, "ann")) as client:
        paths = ("/", "/nothing", "/healthz", "/static/look.css", "/api/v1/openapi.json", "/probe/fault", "/api/v1/no")
        for answer in [*map(client.get, paths), client.post("/probe/4"), httpx.get(opened.url, trust_env=False)]:
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS, answer.url
            assert "server" not in answer.headers
            wanted = "no-cache" if "/static/" in str(answer.url) else "no-store"
            assert answer.headers["cache-control"] == wanted


def test_a_fault_tells_a_reference_and_the_log_tells_the_rest(opened: Console) -> None:
    with opened.browser(**bearer(opened, "ann")) as client:
        for path in ("/probe/fault", "/api/v1/fault"):
            answer = client.get(path, params={"token": "asked-with-this"})
            assert answer.status_code == 500 and SECRET not in answer.text and "Traceback" not in answer.text
            reference = re.search(r"under (\w{8}) in faults.log", answer.text)
            log = (opened.root / "faults.log").read_text()
            assert reference and f"{reference[1]} GET {path}\nTraceback" in log and SECRET in log
            assert "asked-with-this" not in log


def test_no_secret_stands_in_a_page_or_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with console(tmp_path, service_key="service-key-of-this-run") as served, served.browser() as client:
        pages = [
            sign_in(client, "hs_wrong"),
            sign_in(client, served.tokens["dora"]),
            client.get("/"),
            client.get("/login"),
        ]
        pages += [client.get("/nothing"), client.get("/probe/fault"), client.get("/", headers=bearer(served, "ann"))]
        sessions = [value for value in client.cookies.values() if "." in value]
        key = read_key(served.root)
        assert sessions
        files = [file for file in served.root.rglob("*") if file.is_file() and file.name != "console.key"]
        told = [page.text for page in pages] + [file.read_text() for file in files] + list(capfd.readouterr())
        for secret in (*served.tokens.values(), *sessions, key, "service-key-of-this-run", "hs_wrong"):
            assert not [text[:200] for text in told if secret in text]
        assert served.tokens["dora"] not in repr(served.app.state.gate) and key not in repr(served.app.state.gate)
    assert (tmp_path / "console.key").stat().st_mode & 0o777 == 0o600


# Every act


UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


def list_acts(app: FastAPI) -> list[RouteContext]:
    """Every route of an application that may change something, those of its routers included."""
    return [route for route in iter_route_contexts(app.routes) if UNSAFE & set(route.methods or ())]


def wanted_of(route: RouteContext) -> Role:
    """The highest role that a route's dependencies ask for, however deep they lie."""
    waiting, found = [route.dependant] if hasattr(route, "dependant") else [], Role.NOBODY
    while waiting:
        each = waiting.pop()
        found = max(found, role_wanted(each.call))
        waiting += each.dependencies
    return found


def test_every_act_wants_a_role_above_viewer_and_the_token_of_its_own_page(tmp_path: Path) -> None:
    with console(tmp_path) as served, served.browser() as client:
        sign_in(client, served.tokens["dora"])
        acts = list_acts(make_app(Site(tmp_path, (), served.clock)))
        assert {"/login", "/logout"} <= {route.path for route in acts}
        for route in acts:
            if route.path not in {"/login", "/logout"}:
                assert wanted_of(route) > Role.VIEWER, f"{route.path}: anybody may do this"
            path = re.sub(r"\{\w+(:\w+)?\}", "x", route.path or "")
            for method in UNSAFE & set(route.methods or ()):
                served.clock.forward(60)
                answer = client.request(method, path)
                assert answer.status_code == 403 and "out of date" in answer.text, f"{method} {path}: done unasked"


def test_an_act_that_anybody_may_do_would_be_found(opened: Console) -> None:
    found = {route.path: wanted_of(route) for route in list_acts(opened.app)}
    assert found["/probe/1"] == Role.VIEWER and found["/probe/3"] == Role.APPROVER
    assert found["/probe/form"] == Role.NOBODY


# A real browser


def test_people_sign_in_and_out_in_a_real_browser(opened: Console, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 640})
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.goto(f"{opened.url}/?from=mail")
    assert page.url.endswith("/login?next=%2F%3Ffrom%3Dmail") and not scrolls_sideways(page)
    assert page.evaluate("document.activeElement.id") == "token"
    page.keyboard.type("hs_wrong")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    assert list_violations(page) == []
    assert [text for text in said if "401" not in text] == []
    page.get_by_label("Token").fill(opened.tokens["bob"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/?from=mail")
    assert page.locator(".who").inner_text() == "bob"
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    context.close()


def test_chart_and_fragments_work_under_the_policy_and_what_is_injected_does_not(
    local: Console, browser: Browser
) -> None:
    page, said = browser.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda fault: said.append(str(fault)))
    page.goto(f"{local.url}/probe/chart")
    page.locator("#chart canvas").wait_for()
    page.get_by_role("button", name="Go").click()
    page.get_by_text("me", exact=True).wait_for()
    assert said == []
    page.evaluate("() => { const s = document.createElement('script'); s.textContent = 'window.bad = 1';"
                  " document.body.append(s); const i = new Image(); i.src = 'https://evil.example/x'; }")  # fmt: skip
    deadline = time.monotonic() + 20
    while len([text for text in said if "Content Security Policy" in text]) < 2 and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    assert len([text for text in said if "Content Security Policy" in text]) == 2
    assert page.evaluate("window.bad") is None
    page.close()


def test_a_page_of_another_site_cannot_act_through_a_real_browser(
    local: Console, opened: Console, browser: Browser
) -> None:
    page = browser.new_page()
    page.goto(f"{opened.url}/login")
    # Another port of this machine is another origin, though the same site: its cookies and forms come along.
    act: Any = """async url => { try { return (await fetch(url, {method: 'POST', mode: 'no-cors',
        credentials: 'include', body: '{}'})).type } catch (fault) { return 'blocked' } }"""
    assert page.evaluate(act, f"{local.url}/probe/1") == "blocked", "our own pages reach no other origin"
    page.route("**/elsewhere", lambda route: route.fulfill(body=f"<form method=post action='{local.url}/probe/1'>"
               "<button>Go</button></form>", content_type="text/html"))  # fmt: skip
    page.goto(f"{opened.url}/elsewhere")
    page.get_by_role("button").click()
    page.get_by_text("page of another site").wait_for()
    page.close()
