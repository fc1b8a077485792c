"""What a person does on a page: who may, and where they are sent afterwards."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import Depends, Form, Request
from fastapi.responses import RedirectResponse

from homeostat.console.web.security.dependencies import Person, Role, at_least, person_of
from homeostat.console.web.site import Site

Viewer = Annotated[Person, Depends(at_least(Role.VIEWER))]
Annotator = Annotated[Person, Depends(at_least(Role.ANNOTATOR))]
Approver = Annotated[Person, Depends(at_least(Role.APPROVER))]
Text = Annotated[str, Form()]
MOST_TYPED = 2000


def site_of(request: Request) -> Site:
    """The installation that the page is of."""
    return request.app.state.site


def may(request: Request, role: Role) -> bool:
    """Whether the person behind a request has a role, or more."""
    return person_of(request).role >= role


def is_partial(request: Request) -> bool:
    """Whether a script on the page asks for a piece of it."""
    return "HX-Request" in request.headers


def path_of(name: str, tab: str) -> str:
    """Where a page of a project is."""
    return f"/projects/{quote(name, safe='')}/{tab}"


def back_to(name: str, tab: str, **params: str) -> RedirectResponse:
    """Send a person back to a page after an act, so that loading it again does nothing again."""
    query = f"?{urlencode(params)}" if params else ""
    return RedirectResponse(path_of(name, tab) + query, 303)
