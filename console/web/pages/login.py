"""Signing in with a token, and out again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from homeostat.console.web.pages.page import PAGES, Page
from homeostat.console.web.rendering import page
from homeostat.console.web.security.origins import safe_next
from homeostat.console.web.security.policy import Gate
from homeostat.console.web.security.roles import Role
from homeostat.console.web.security.sessions import HOURS

router = APIRouter(include_in_schema=False)
PAGES.add("login", Page(router, role=Role.NOBODY))


@router.get("/login")
def ask(request: Request, next: str = "/") -> Response:
    """The form for the token; somebody who is signed in is sent on."""
    if request.state.way:
        return RedirectResponse(safe_next(next), 303)
    return _form(request, next)


@router.post("/login")
def sign_in(request: Request, token: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/") -> Response:
    """Take a token, and give its person a session."""
    gate: Gate = request.app.state.gate
    entry = gate.sign_in(token.strip(), request.state.client) if gate.settings.opened else None
    if entry is None:
        return _form(request, next, 401, "This token is unknown. It may have been replaced or removed.")
    answer = RedirectResponse(safe_next(next), 303)
    answer.set_cookie(
        gate.session_cookie(request.state.secure),
        gate.sessions.begin(entry, gate.clock()),
        max_age=HOURS * 3600,
        httponly=True,
        # Lax, not Strict: a link in an alert's mail opens the page of who is signed in, and nothing changes by GET.
        samesite="lax",
        secure=request.state.secure,
    )
    return answer


@router.post("/logout")
def sign_out(request: Request) -> Response:
    """End the session; a copy of its cookie counts no more."""
    gate: Gate = request.app.state.gate
    if request.state.session is not None:
        gate.sessions.end(request.state.session)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(
        gate.session_cookie(request.state.secure), httponly=True, samesite="lax", secure=request.state.secure
    )
    return answer


def _form(request: Request, next: str, status: int = 200, problem: str | None = None) -> Response:
    return page(request, "login.html", status, next=safe_next(next), problem=problem, tab="")
