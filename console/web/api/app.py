"""The HTTP API: every router under /api/v1, and a page for people that says what there is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.security import HTTPBearer

from homeostat.console.web.api import acts as api_acts
from homeostat.console.web.api import posts, reads
from homeostat.console.web.api.events import Waker
from homeostat.console.web.api.intake import Intakes
from homeostat.console.web.api.models import Problem
from homeostat.console.web.rendering import page
from homeostat.console.web.security.dependencies import Role, at_least

PREFIX = "/api/v1"
BEARER = HTTPBearer(
    auto_error=False, scheme_name="token", description="A token of `homeostat access`; none is needed on this machine."
)
EVERYWHERE: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "Not signed in."},
    403: {"model": Problem, "description": "The role does not allow this."},
}
Described = dict[str, Any]
"""A part of an OpenAPI description."""
pages = APIRouter(include_in_schema=False)


@pages.get("/api")
def describe(request: Request) -> Response:
    """The API, described for people."""
    at_least(Role.VIEWER)(request)
    return page(request, "api.html", tab="", groups=group_operations(request.app.openapi()))


def group_operations(described: Described) -> dict[str, list[Described]]:
    """The operations of an OpenAPI description by their tag, in its order."""
    groups: dict[str, list[Described]] = {}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            entry = {"method": method.upper(), "path": path, **operation}
            groups.setdefault(operation["tags"][0], []).append(entry)
    return groups


def add_api(app: FastAPI) -> None:
    """Give an application the API, what posts are held with, and what wakes the loop."""
    app.state.intakes = Intakes(app.state.site.clock)
    app.state.waker = Waker()
    for module in (reads, posts, api_acts):
        app.include_router(module.router, prefix=PREFIX, dependencies=[Security(BEARER)], responses=EVERYWHERE)
    app.include_router(pages)
