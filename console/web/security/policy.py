"""The gate: who a request comes from, whether it may pass, and why not."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from homeostat.console.web.security.rate_limit import Attempts, Buckets
from homeostat.console.web.security.request import SIGN_IN, Asked
from homeostat.console.web.security.roles import NOBODY, SERVICE, Person, Role, is_name
from homeostat.console.web.security.sessions import Session, Sessions, is_nonce, new_nonce
from homeostat.console.web.security.settings import AccessSettings
from homeostat.console.web.security.users import Entry, People

ACTS_A_SECOND, ACTS_AT_ONCE = 2.0, 60
LOOKS_A_SECOND, LOOKS_AT_ONCE = 30.0, 300
LOGINS_A_MINUTE = 10


class Refused(Exception):
    """A request that is refused: status, message, and headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks and how that is known: `bearer`, `proxy`, `session`, `local`, or "" for nobody.

    `nonce` is what their browser keeps, `fresh` whether it has yet to get it.
    """

    person: Person
    way: str
    nonce: str = ""
    fresh: bool = False
    session: Session | None = None


@dataclass(slots=True)
class Gate:
    """Decides on requests. `clock` gives Unix seconds. Safe to use from several threads."""

    settings: AccessSettings
    sessions: Sessions
    clock: Callable[[], float]
    people: People = field(init=False)
    attempts: Attempts = field(default_factory=Attempts)
    logins: Buckets = field(default_factory=lambda: Buckets(LOGINS_A_MINUTE / 60, LOGINS_A_MINUTE))
    acts: Buckets = field(default_factory=lambda: Buckets(ACTS_A_SECOND, ACTS_AT_ONCE))
    looks: Buckets = field(default_factory=lambda: Buckets(LOOKS_A_SECOND, LOOKS_AT_ONCE))
    posts: Buckets = field(init=False)
    asks: Buckets = field(init=False)

    def __post_init__(self) -> None:
        self.people = People(self.settings.people)
        self.posts, self.asks = (Buckets(self.settings.rate, max(2 * self.settings.rate, 1.0)) for _ in range(2))

    def check_door(self, asked: Asked) -> None:
        """Refuse a request that came by an unknown host name, or through a proxy that the settings do not mention."""
        if not asked.host_is_known(self.settings):
            how = "HOMEOSTAT_HOSTS lists its names." if self.settings.opened else "Use 127.0.0.1 or localhost."
            raise Refused(421, f"This console is not served under the host name in the address. {how}")
        if not self.settings.opened and asked.was_forwarded:
            raise Refused(
                403,
                "A proxy is in front of this console, which would treat everybody as the person who started it. "
                "Set HOMEOSTAT_USER_HEADER or HOMEOSTAT_ACCESS first; see docs/guides/access.md.",
            )

    def identify(self, asked: Asked) -> Caller:
        """Who asks. Raises Refused where a token is wrong, or a proxy names somebody without a role."""
        token = asked.bearer
        if token is not None and (known := self._by_token(token)):
            return Caller(known, "bearer")
        if asked.trusted and self.settings.user_header and self.settings.user_header in asked.headers:
            return self._visitor(asked, self._by_header(asked), "proxy")
        if not self.settings.opened:
            return self._visitor(asked, Person(self.settings.owner, Role.ADMIN), "local")
        if token is not None:
            raise self._wrong_token(asked)
        session = self.sessions.open(asked.cookie(self.session_cookie(asked.secure)), self.clock())
        entry = self.people.all().get(session.name) if session else None
        if session and entry and session.belongs_to(entry):
            return Caller(entry.person, "session", session.nonce, session=session)
        return self._visitor(asked, NOBODY, "")

    def check_own_page(self, asked: Asked, caller: Caller, token: str | None) -> None:
        """Refuse an act that a page of another site may have made a browser send. `token` is what it carries."""
        if caller.way == "bearer":
            return
        if not asked.is_own_origin():
            raise Refused(403, "Refused: the request came from a page of another site.")
        ambient = caller.way in {"local", "proxy"}
        if ambient and asked.is_api and not asked.from_browser and asked.asks_leave:
            return
        if ambient and asked.is_api and not asked.from_browser:
            raise Refused(415, "Set the content type, as in 'Content-Type: application/json'.")
        if not token or caller.fresh or not self.sessions.is_csrf(token, caller.person.name, caller.nonce):
            raise Refused(403, "Nothing was done: this page is out of date. Reload it and try again.")

    def check_rate(self, asked: Asked, caller: Caller) -> None:
        """Refuse whoever does too much at once, or, where others can reach the console, looks too often."""
        now, who = self.clock(), f"{caller.way}:{caller.person.name or asked.client}"
        if not asked.is_act:
            buckets = self.asks if asked.is_api else self.looks
            if self.settings.opened and (wait := buckets.take(who, now)):
                raise _too_often(wait, "Too many requests.")
            return
        if asked.path in SIGN_IN:
            wait = max(self.attempts.wait(asked.client, now), self.logins.take(asked.client, now))
            if wait:
                raise _too_often(wait, "Too many attempts to sign in from your address.")
            return
        buckets = self.posts if asked.is_api else self.acts
        # A token's holder and a browser's are counted apart, so that a script does not shut its person out.
        if wait := buckets.take(who, now):
            raise _too_often(wait, "Too many requests.")

    def csrf(self, caller: Caller) -> str:
        """What this caller's forms carry; "" for a program."""
        return self.sessions.csrf(caller.person.name, caller.nonce) if caller.nonce else ""

    def sign_in(self, token: str, client: str) -> Entry | None:
        """Whose token this is; a wrong one makes the address wait ever longer."""
        entry = self.people.by_token(token)
        if entry is None:
            self.attempts.fail(client, self.clock())
        else:
            self.attempts.forget(client)
        return entry

    def session_cookie(self, secure: bool) -> str:
        """The name of the cookie of a session; browsers take one that begins with __Host- from this very host alone."""
        return f"{'__Host-' if secure else ''}homeostat-{self.sessions.tag}"

    def visit_cookie(self, secure: bool) -> str:
        """The name of the cookie with the nonce of a browser without a session."""
        return f"{'__Host-' if secure else ''}homeostat-visit-{self.sessions.tag}"

    def _visitor(self, asked: Asked, person: Person, way: str) -> Caller:
        nonce = asked.cookie(self.visit_cookie(asked.secure))
        return Caller(person, way, nonce) if is_nonce(nonce) else Caller(person, way, new_nonce(), fresh=True)

    def _by_token(self, token: str) -> Person | None:
        key = self.settings.service_key
        if key and hmac.compare_digest(token.encode(), key.encode()):
            return Person(SERVICE, Role.VIEWER)
        entry = self.people.by_token(token) if self.settings.opened else None
        return entry.person if entry else None

    def _by_header(self, asked: Asked) -> Person:
        assert self.settings.user_header is not None
        name = asked.headers[self.settings.user_header].encode("latin-1").decode("utf-8", "replace")
        if self.settings.user_header in asked.doubled or not is_name(name) or name == SERVICE:
            raise Refused(400, "The proxy does not say unambiguously who you are.")
        if entry := self.people.all().get(name):
            return entry.person
        if self.settings.default_role is None:
            raise Refused(403, f"{name} has no role here. An administrator assigns one with 'homeostat access add'.")
        return Person(name, self.settings.default_role)

    def _wrong_token(self, asked: Asked) -> Refused:
        now = self.clock()
        if wait := self.attempts.wait(asked.client, now):
            return _too_often(wait, "Too many wrong tokens from your address.")
        self.attempts.fail(asked.client, now)
        return Refused(401, "This token is unknown.", {"WWW-Authenticate": 'Bearer error="invalid_token"'})


def _too_often(wait: float, message: str) -> Refused:
    seconds = max(1, math.ceil(wait))
    again = f"Try again in {seconds} second{'s' if seconds > 1 else ''}."
    return Refused(429, f"{message} {again}", {"Retry-After": str(seconds)})
