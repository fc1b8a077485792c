"""A request as the access control sees it: its headers, read once, and what they say of where it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from homeostat.console.web.security.origins import (
    client_address,
    is_loopback,
    is_same_origin,
    is_within,
    parse_address,
    split_host,
)
from homeostat.console.web.security.settings import AccessSettings

API = "/api/"
SAFE = {"GET", "HEAD", "OPTIONS"}
SIGN_IN = {"/login", "/logout"}
FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data"}
# What a form or script of any other site can send without asking the browser for leave first.
SIMPLE_TYPES = {*FORM_TYPES, "text/plain", ""}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `client` is the address at its far end, `trusted` whether a trusted proxy handed it over.

    `secure` says whether the browser speaks HTTPS, as the proxy tells where there is one.
    """

    method: str
    path: str
    headers: dict[str, str]
    doubled: frozenset[str]
    trusted: bool
    secure: bool
    client: str

    @property
    def is_api(self) -> bool:
        return self.path.startswith(API)

    @property
    def is_static(self) -> bool:
        return self.path.startswith("/static/")

    @property
    def is_open(self) -> bool:
        """Whether anybody may see it: nothing there tells anything of a project."""
        return self.method in SAFE and (self.path == "/healthz" or self.is_static)

    @property
    def is_act(self) -> bool:
        """Whether it may change something."""
        return self.method not in SAFE

    @property
    def kind(self) -> str:
        """The media type of its body, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def bearer(self) -> str | None:
        """The token it shows; None where it shows none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None

    @property
    def from_browser(self) -> bool:
        """Whether a browser says so: each of today's does on whatever may change something."""
        return "origin" in self.headers or "sec-fetch-site" in self.headers

    @property
    def asks_leave(self) -> bool:
        """Whether a browser would ask us for leave before it sent this for another site, which we never give."""
        return self.method != "POST" or self.kind not in SIMPLE_TYPES

    @property
    def was_forwarded(self) -> bool:
        """Whether some proxy handed it over, trusted or not."""
        return any(name in self.headers for name in _FORWARDED)

    def cookie(self, name: str) -> str:
        """A cookie's value; "" where there is none."""
        try:
            jar = SimpleCookie(self.headers.get("cookie", ""))
        except CookieError:
            return ""
        return jar[name].value if name in jar else ""

    def host_is_known(self, settings: AccessSettings) -> bool:
        """Whether it was called by a name that is the console's: no page of elsewhere can have led a browser here."""
        parts = split_host(self.headers.get("host"))
        if parts is None or "host" in self.doubled:
            return False
        # A name of loopback is never a stranger's, and `homeostat up` looks in by it.
        return is_loopback(parts[0]) or (settings.opened and (not settings.hosts or parts[0] in settings.hosts))

    def is_own_origin(self) -> bool:
        """Whether the page that made the browser send it is the console's own, as far as the browser tells."""
        site = self.headers.get("sec-fetch-site", "same-origin")
        origin = self.headers.get("origin")
        secure = None if self.trusted and "x-forwarded-proto" not in self.headers else self.secure
        own = origin is None or is_same_origin(origin, self.headers.get("host"), secure)
        return own and site in {"same-origin", "none"}


def read_asked(scope: dict[str, Any], settings: AccessSettings) -> Asked:
    """A request of an ASGI scope. What its proxy tells of it counts where the settings trust that."""
    headers, doubled = _read_headers(scope["headers"])
    peer = scope["client"][0] if scope.get("client") else None
    trusted = settings.opened and is_within(parse_address(peer), settings.trusted)
    scheme = headers.get("x-forwarded-proto", "").split(",")[-1].strip().lower() if trusted else ""
    forwarded = headers.get("x-forwarded-for", "").split(",") if trusted else ()
    return Asked(
        method=scope["method"],
        path=scope["path"],
        headers=headers,
        doubled=doubled,
        trusted=trusted,
        secure=(scheme or scope.get("scheme", "http")) == "https",
        client=client_address(
            peer, [address for address in forwarded if address.strip()], settings.trusted if trusted else ()
        ),
    )


def _read_headers(raw: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], frozenset[str]]:
    headers, doubled = dict[str, str](), set[str]()
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        if key in headers:
            doubled.add(key)
            headers[key] += ("; " if key == "cookie" else ", ") + text
        else:
            headers[key] = text
    return headers, frozenset(doubled)
