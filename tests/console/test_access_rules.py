"""The rules of access: who is believed, what is signed, who may be let in, and when the console refuses to start."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shells import warm

from homeostat.console.web.security.origins import (
    client_address,
    is_same_origin,
    is_within,
    parse_address,
    parse_networks,
    safe_next,
)
from homeostat.console.web.security.rate_limit import Attempts, Buckets
from homeostat.console.web.security.roles import Person, Role, is_name
from homeostat.console.web.security.sessions import HOURS, Sessions, read_key
from homeostat.console.web.security.settings import AccessSettings, read_access_settings
from homeostat.console.web.security.users import Entry, make_token, new_entry, read_people, write_people
from homeostat.errors import HomeostatError

AT = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = st.text(min_size=1, max_size=30).filter(is_name)
ADDRESSES = st.ip_addresses().filter(lambda address: not getattr(address, "ipv4_mapped", None))


def settings_of(root: Path, host: str = "127.0.0.1", **environ: str) -> AccessSettings:
    return read_access_settings(root, host, "me", {f"HOMEOSTAT_{name}": value for name, value in environ.items()})


def let_in(root: Path, digest: str | None = "0" * 64) -> None:
    write_people(root / "access.toml", {"ann": new_entry("ann", Role.ADMIN, digest, AT)})


# Where a request comes from


@given(ADDRESSES, st.integers(0, 128))
def test_an_address_lies_in_the_networks_that_hold_it_and_no_other(address: ipaddress.IPv4Address, bits: int) -> None:
    bits = min(bits, address.max_prefixlen)
    own = ipaddress.ip_network((address, bits), strict=False)
    assert is_within(parse_address(str(address)), parse_networks(f"192.0.2.1 , {own}"))
    if bits:
        flipped = ipaddress.ip_address(int(address) ^ (1 << (address.max_prefixlen - bits)))
        assert type(flipped) is not type(address) or not is_within(flipped, parse_networks(str(own)))
    if address.version == 4:
        assert is_within(parse_address(f"::ffff:{address}"), parse_networks(str(own)))
    assert not is_within(None, parse_networks("0.0.0.0/0, ::/0"))


@given(st.ip_addresses(v=4), st.lists(st.ip_addresses(v=4) | st.text(max_size=9), max_size=4))
def test_an_address_behind_a_proxy_is_never_one_that_the_client_made_up(peer: object, made_up: list[object]) -> None:
    proxies = parse_networks("10.0.0.0/8")
    forwarded = [*map(str, made_up), "203.0.113.7", "10.0.0.3"]
    assert client_address("10.0.0.2", forwarded, proxies) == "203.0.113.7"
    if not is_within(parse_address(str(peer)), proxies):
        assert client_address(str(peer), forwarded, proxies) == str(peer)


def test_a_household_of_ipv6_is_one_address() -> None:
    assert client_address("2001:db8::1", [], ()) == client_address("2001:db8::ffff:2", [], ()) == "2001:db8::/64"


@pytest.mark.parametrize(
    ("origin", "host", "secure", "same"),
    [
        ("http://a.example", "a.example", False, True),
        ("https://a.example", "a.example:443", True, True),
        ("https://A.example:443", "a.example", True, True),
        ("http://[::1]:8321", "[::1]:8321", False, True),
        ("https://a.example", "a.example", None, True),
        ("https://b.example", "a.example", None, False),
        ("http://a.example", "a.example", True, False),
        ("https://a.example", "a.example", False, False),
        ("http://a.example.evil.example", "a.example", False, False),
        ("http://a.example:80", "a.example:8321", False, False),
        ("http://a.example@evil.example", "a.example", False, False),
        ("null", "null", False, False),
        ("", "", False, False),
        ("file://a.example", "a.example", False, False),
    ],
)
def test_an_origin_is_own_by_scheme_name_and_port(origin: str, host: str, secure: bool | None, same: bool) -> None:
    assert is_same_origin(origin, host, secure) is same


@given(st.text(alphabet="/\\.:@?#%\t\n \r;x0é-", max_size=12) | st.text(max_size=12))
def test_what_follows_a_sign_in_is_a_path_of_this_site(text: str) -> None:
    for given_text in (text, f"/{text}", f"//{text}", f"https:{text}"):
        led = safe_next(given_text)
        assert urlsplit(urljoin("https://own.example/login", led.replace("\\", "/"))).netloc == "own.example"
        assert led.startswith("/") and not led.startswith("//")


# What is signed


@given(NAMES, st.floats(0, HOURS * 3600 - 2), st.integers(0, 200), st.characters())
def test_a_session_says_who_signed_in_until_it_ends_and_no_letter_of_it_can_change(
    name: str, later: float, place: int, letter: str
) -> None:
    sessions, entry, now = Sessions("1" * 64), Entry(Person(name, Role.VIEWER), "a" * 64, ""), 1_800_000_000.0
    sealed = sessions.begin(entry, now)
    session = sessions.open(sealed, now + later)
    assert session and session.name == name and session.belongs_to(entry)
    assert sessions.open(sealed, now + HOURS * 3600) is None
    assert Sessions("2" * 64).open(sealed, now) is None
    assert not session.belongs_to(Entry(entry.person, "b" * 64, "")) and not session.belongs_to(None)
    place %= len(sealed)
    changed = sealed[:place] + letter + sealed[place + 1 :]
    # The last letter of a seal holds bits that mean nothing.
    opened = sessions.open(changed, now)
    assert changed == sealed or opened is None or (opened == session and place == len(sealed) - 1)
    sessions.end(session)
    assert sessions.open(sealed, now) is None


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = read_key(tmp_path)
    assert read_key(tmp_path) == key and len(bytes.fromhex(key)) == 32
    assert (tmp_path / "console.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "console.key").write_text("short")
    with pytest.raises(HomeostatError, match="not a signing key"):
        read_key(tmp_path)


# How often


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=60))
def test_a_bucket_never_gives_more_than_its_burst_and_what_flowed_in(asked: list[tuple[str, float]]) -> None:
    buckets, now, given_at = Buckets(rate=2, burst=3), 0.0, dict[str, list[float]](a=[], b=[])
    for key, pause in asked:
        now += pause
        wait = buckets.take(key, now)
        if wait == 0:
            given_at[key].append(now)
        else:
            assert buckets.take(key, now + wait + 1e-6) == 0
            now += wait + 1e-6
            given_at[key].append(now)
    for times in given_at.values():
        for first, since in enumerate(times):
            for last, until in enumerate(times[first:], first):
                assert last - first + 1 <= 3 + 2 * (until - since) + 1e-6


def test_what_is_counted_of_strangers_stays_small() -> None:
    buckets, attempts = Buckets(rate=1, burst=1, most=50), Attempts(most=50)
    for stranger in range(500):
        buckets.take(str(stranger), 0.0)
        attempts.fail(str(stranger), 0.0)
    assert len(buckets) == len(attempts) == 50


# Who may be let in


@given(st.dictionaries(NAMES, st.sampled_from(list(Role)[1:]), max_size=5), st.booleans())
def test_the_access_file_holds_every_name_as_it_is(tmp_path_factory: pytest.TempPathFactory, people: dict[str, Role],
                                                   token: bool) -> None:  # fmt: skip
    file = tmp_path_factory.getbasetemp() / "people" / "access.toml"
    entries = {n: new_entry(n, role, "c" * 64 if token else None, AT) for n, role in people.items()
               if n != "homeostat up"}  # fmt: skip
    write_people(file, entries)
    assert read_people(file) == entries
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    ["people = 3", "[people.ann]", '[people.ann]\nrole = "king"', "not toml", '[people.ann]\nrole = "admin"\nx = 1',
     '[people."homeostat up"]\nrole = "admin"', '[people.ann]\nrole = "admin"\ntoken_sha256 = "x"', "[more]\na = 1",
     '[people.ann]\nrole = ["admin"]'],
)  # fmt: skip
def test_an_unsound_access_file_lets_nobody_in(tmp_path: Path, text: str) -> None:
    (tmp_path / "access.toml").write_text(text)
    with pytest.raises(HomeostatError) as told:
        settings_of(tmp_path)
    assert str(tmp_path / "access.toml") in str(told.value) and "\n" not in str(told.value)


def test_people_are_let_in_and_shut_out_at_the_command_line(tmp_path: Path) -> None:
    access = ("access", "add", "ann", tmp_path, "--role", "approver", "--json")
    added = json.loads(warm(*access).out)
    file = tmp_path / ".homeostat" / "access.toml"
    kept = file.read_text()
    assert added["token"].startswith("hs_") and added["token"] not in kept and file.stat().st_mode & 0o777 == 0o600
    assert warm("access", "role", "ann", "admin", tmp_path).out == "ann is admin.\n"
    renewed = warm("access", "renew", "ann", tmp_path).out.splitlines()[-1]
    ann = tomllib.loads(file.read_text())["people"]["ann"]
    assert ann["role"] == "admin" and ann["token_sha256"] not in kept and renewed != added["token"]
    for wrong, words in ((access, "already"), (("access", "remove", "bob", tmp_path), "no 'bob'"),
                         (("access", "role", "ann", "king", tmp_path), "not a role")):  # fmt: skip
        answer = warm(*wrong)
        assert (answer.code, answer.out, len(answer.told)) == (2, "", 1) and words in answer.err
    named = {"HOMEOSTAT_ACCESS": str(tmp_path / "other.toml")}
    assert warm("access", "add", "bob", "--no-token", cwd=tmp_path, **named).code == 0
    assert json.loads(warm("access", "list", "--json", **named).out)["people"][0]["token"] is False
    assert warm("access", "remove", "ann", tmp_path).out == "ann is removed.\n"
    assert warm("access", "list", tmp_path).out == "Access: none\n"


# When it refuses to start


def test_at_its_own_machine_it_wants_no_setting_and_an_access_file_opens_it_up(tmp_path: Path) -> None:
    assert not settings_of(tmp_path).opened and not settings_of(tmp_path, "::1").opened
    assert not settings_of(tmp_path, USER_HEADER="", ACCESS="").opened
    let_in(tmp_path)
    assert settings_of(tmp_path).opened
    assert settings_of(tmp_path, "0.0.0.0").opened


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "console.example.org"])
def test_it_opens_up_to_nobody_unless_people_or_a_proxy_are_known(tmp_path: Path, host: str) -> None:
    for environ in ({}, {"USER_HEADER": "X-Forwarded-User"}, {"ACCESS": str(tmp_path / "none.toml")}):
        with pytest.raises(HomeostatError, match="homeostat access add"):
            settings_of(tmp_path, host, **environ)
    found = settings_of(tmp_path, host, USER_HEADER="X-Forwarded-User", DEFAULT_ROLE="viewer")
    assert found.opened and found.default_role is Role.VIEWER
    let_in(tmp_path, digest=None)
    with pytest.raises(HomeostatError, match="nobody can sign in"):
        settings_of(tmp_path, host)
    assert settings_of(tmp_path, host, USER_HEADER="X-Forwarded-User").user_header == "x-forwarded-user"


@pytest.mark.parametrize(
    ("name", "value"),
    [("TRUSTED_PROXIES", "10.0.0.0/33"), ("TRUSTED_PROXIES", "proxy"), ("HOSTS", "a.example:80"), ("HOSTS", "a/b"),
     ("RATE", "many"), ("RATE", "-1"), ("RATE", "inf"), ("DEFAULT_ROLE", "king"), ("USER_HEADER", "Cookie"),
     ("USER_HEADER", "a b"), ("ACCESS", "nowhere.toml")],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_told_by_its_name(tmp_path: Path, name: str, value: str) -> None:
    let_in(tmp_path)
    with pytest.raises(HomeostatError) as told:
        settings_of(tmp_path, **{"USER_HEADER": "Remote-User", name: value})
    assert str(told.value).startswith(f"HOMEOSTAT_{name}") and "\n" not in str(told.value)


def test_a_default_role_without_a_header_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(HomeostatError, match="without HOMEOSTAT_USER_HEADER"):
        settings_of(tmp_path, DEFAULT_ROLE="viewer")


def command(root: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "homeostat.console.web", "--root", str(root), *options, str(root)]


def environ(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOMEOSTAT_")}
    return kept | {f"HOMEOSTAT_{name}": value for name, value in more.items()}


def test_the_console_itself_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "--host", "0.0.0.0"), capture_output=True, text=True, env=environ(), timeout=60
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "--host 0.0.0.0" in done.stderr and "homeostat access add NAME --role admin" in done.stderr


def test_the_console_itself_believes_no_header_of_its_peer_and_logs_no_token(tmp_path: Path) -> None:
    token, digest = make_token()
    let_in(tmp_path, digest)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    settings = {"USER_HEADER": "X-Forwarded-User", "TRUSTED_PROXIES": "10.0.0.0/8", "SERVICE_KEY": "k" * 40}
    with log.open("w") as out, httpx.Client(base_url=url, trust_env=False) as client:
        started = command(tmp_path, "--port", str(port))
        process = subprocess.Popen(started, stdout=out, stderr=out, env=environ(**settings))
        try:
            wait_for(client, process)
            spoofed = {"x-forwarded-user": "ann", "x-forwarded-for": "10.0.0.1", "x-forwarded-proto": "https"}
            page = client.get("/", headers=spoofed)
            assert page.status_code == 303 and "server" not in page.headers
            assert "strict-transport-security" not in page.headers
            for key in (token, "k" * 40, "hs_wrong"):
                answer = client.get("/api/v1/openapi.json", headers={"authorization": f"Bearer {key}"})
                assert answer.status_code == (401 if key == "hs_wrong" else 200)
            client.get("/", params={"token": token})
        finally:
            process.terminate()
            process.wait(30)
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in kept for key in (token, "k" * 40, "hs_wrong") if key in file.read_text()]


def wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            assert client.get("/healthz").json()["healthy"]
            return
        except httpx.TransportError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
