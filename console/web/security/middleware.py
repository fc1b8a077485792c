"""The middleware around every request: access, forgery, rates, sizes, headers, and the answer to a fault."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeostat.console.web.security.policy import Caller, Gate, Refused
from homeostat.console.web.security.request import FORM_TYPES, SIGN_IN, Asked, read_asked
from homeostat.console.web.security.roles import NOBODY, Role
from homeostat.errors import HomeostatError

MOST_OF_A_FORM, MOST_OF_A_POST = 1 << 20, 64 << 20
HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
HSTS = "max-age=31536000"

Tell = Callable[[Request, int, str], Response]
Keep = Callable[[BaseException, str, str], None]


class Guard:
    """ASGI middleware. `tell` makes the answer to a refusal, `keep` takes a fault, what was asked, and its reference.

    Leaves in `request.state`: `person`, `way` (how they are known), `csrf`, `secure`, `client` and `session`.
    """

    def __init__(self, app: ASGIApp, gate: Gate, tell: Tell, keep: Keep) -> None:
        self.app, self.gate, self.tell, self.keep = app, gate, tell, keep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        asked = read_asked(scope, self.gate.settings)  # type: ignore[arg-type]
        _note(scope, asked, Caller(NOBODY, ""), "")
        out = Dressed(send, asked)
        try:
            await self._admit(asked, scope, receive, out)
        except ClientDisconnect:
            return None
        except Refused as refusal:
            await self._say(scope, receive, out, refusal)
        except HomeostatError as fault:
            await self._say(scope, receive, out, Refused(503, str(fault)))
        except Exception as fault:
            reference = secrets.token_hex(4)
            self.keep(fault, f"{asked.method} {asked.path}", reference)
            # An answer that has begun cannot be taken back: the connection is closed, and the browser sees that.
            if not out.started:
                words = f"Internal error. The administrator finds it under {reference} in faults.log."
                await self._say(scope, receive, out, Refused(500, words))
        return None

    async def _admit(self, asked: Asked, scope: Scope, receive: Receive, out: Dressed) -> None:
        if asked.is_open:
            return await self.app(scope, receive, out)
        self.gate.check_door(asked)
        caller = self.gate.identify(asked)
        _note(scope, asked, caller, self.gate.csrf(caller))
        if caller.person.role is Role.NOBODY and asked.path not in SIGN_IN:
            return await self._ask_who(asked, scope, receive, out)
        if caller.fresh and not asked.is_api and not asked.is_act:
            out.cookie = _cookie(self.gate.visit_cookie(asked.secure), caller.nonce, asked.secure)
        receive = _limited(receive, MOST_OF_A_POST if asked.is_api else MOST_OF_A_FORM)
        self.gate.check_rate(asked, caller)
        if asked.is_act:
            token, receive = await _carried_token(asked, caller, scope, receive)
            self.gate.check_own_page(asked, caller, token)
        return await self.app(scope, receive, out)

    async def _ask_who(self, asked: Asked, scope: Scope, receive: Receive, out: Dressed) -> None:
        challenge = {"WWW-Authenticate": 'Bearer realm="homeostat"'}
        if asked.is_api:
            words = "Not signed in. Send 'Authorization: Bearer TOKEN'; 'homeostat access add' creates tokens."
            raise Refused(401, words, challenge)
        if self.gate.settings.user_header and not any(entry.digest for entry in self.gate.people.all().values()):
            raise Refused(401, "The proxy in front of this console did not say who you are.", challenge)
        where = f"/login?next={quote(_wanted(asked, scope), safe='')}"
        if "hx-request" in asked.headers:
            # A part of a page cannot show the sign-in page; this sends the whole page there.
            return await Response("", 401, {"HX-Redirect": where})(scope, receive, out)
        return await RedirectResponse(where, 303)(scope, receive, out)

    async def _say(self, scope: Scope, receive: Receive, out: Dressed, refusal: Refused) -> None:
        if out.started:
            return
        answer = self.tell(Request(scope, receive), refusal.status, refusal.message)
        answer.headers.update(refusal.headers)
        await answer(scope, receive, out)


class Dressed:
    """A `send` that adds the headers of every answer, and knows whether the answer has begun.

    A header that an endpoint sets itself is kept.
    """

    def __init__(self, send: Send, asked: Asked) -> None:
        self.send, self.asked, self.started, self.cookie = send, asked, False, ""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = message["headers"] = list(message.get("headers", ()))
            given = {name.lower() for name, _ in headers}
            headers += [pair for pair in _HEADERS if pair[0] not in given]
            if b"cache-control" not in given:
                headers.append((b"cache-control", b"no-cache" if self.asked.is_static else b"no-store"))
            if self.asked.secure:
                headers.append((b"strict-transport-security", HSTS.encode()))
            if self.cookie:
                headers.append((b"set-cookie", self.cookie.encode()))
        await self.send(message)


_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


def _note(scope: Scope, asked: Asked, caller: Caller, csrf: str) -> None:
    state: MutableMapping[str, Any] = scope.setdefault("state", {})
    state.update(person=caller.person, way=caller.way, csrf=csrf, session=caller.session)
    state.update(secure=asked.secure, client=asked.client)


def _wanted(asked: Asked, scope: Scope) -> str:
    """Where to go once somebody signed in: the page that was requested, or that a part or form belongs to."""
    if "hx-request" in asked.headers:
        page = urlsplit(asked.headers.get("hx-current-url", ""))
        return f"{page.path or '/'}{'?' + page.query if page.query else ''}"
    if asked.is_act:
        return "/"
    query = scope["query_string"].decode("latin-1")
    return quote(asked.path) + (f"?{query}" if query else "")


def _cookie(name: str, value: str, secure: bool) -> str:
    # Lax, not Strict: who comes by a link keeps the nonce that their other windows have, and nothing changes by GET.
    return f"{name}={value}; HttpOnly; SameSite=Lax; Path=/" + ("; Secure" if secure else "")


def _limited(receive: Receive, most: int) -> Receive:
    taken = 0

    async def take() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise HTTPException(413, f"The request is too large; the limit is {most >> 20} MB.")
        return message

    return take


async def _carried_token(asked: Asked, caller: Caller, scope: Scope, receive: Receive) -> tuple[str | None, Receive]:
    """The token that an act carries, in its header or its form, and a `receive` that gives the form again."""
    token = asked.headers.get("x-csrf-token")
    if token is not None or caller.way == "bearer" or asked.kind not in FORM_TYPES:
        return token, receive
    try:
        body = await _read(receive)
        async with Request(scope, _again(body, receive)).form(max_files=20, max_fields=1000) as form:
            value = form.get("csrf_token")
    except HTTPException as fault:
        raise Refused(fault.status_code, str(fault.detail)) from None
    return value if isinstance(value, str) else None, _again(body, receive)


async def _read(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


# Its messages could hold parts of what was sent.
logging.getLogger("python_multipart").setLevel(logging.ERROR)
