"""The overview: every project, and one project's loop over time."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from homeostat.console.web.pages.page import PAGES, Page
from homeostat.console.web.project_card import look_at, look_at_services
from homeostat.console.web.rendering import live, page
from homeostat.console.web.site import Site
from homeostat.monitoring.report.decisions import LOOKS

router = APIRouter(include_in_schema=False)
PAGES.add("overview", Page(router, "Overview", place=10))
SIGNS = [{"sign": sign.value, **asdict(look)} for sign, look in LOOKS.items()]
"""How the chart shows what the loop did, for its script, in the order of its lanes."""


@router.get("/")
def overview(request: Request) -> Response:
    """Every project, healthy or not, and why."""
    return page(request, "overview.html", **_all(request), token="none")


@router.get("/fragments/projects")
def projects(request: Request, state: str = "") -> Response:
    """The projects and services of the overview; 204 where they have not changed."""
    return live(request, "projects.html", state, **_all(request))


@router.get("/projects/{name}")
def project(name: str) -> Response:
    """A project's first page is its overview."""
    return RedirectResponse(f"/projects/{name}/overview")


@router.get("/projects/{name}/overview")
def one(request: Request, name: str) -> Response:
    """The status of a project, and its loop over time."""
    return page(request, "project.html", project=name, token="none", signs=SIGNS, **_one(request, name))


@router.get("/projects/{name}/fragments/standing")
def standing(request: Request, name: str, state: str = "") -> Response:
    """The status of a project; 204 where it has not changed."""
    return live(request, "standing.html", state, project=name, **_one(request, name))


@router.get("/projects/{name}/series")
def series(request: Request, name: str) -> Response:
    """The loop over time as JSON; `from` and `to` are seconds since 1970."""
    from homeostat.flows.queries.series import read_series

    site: Site = request.app.state.site
    start, end = (_instant(request.query_params.get(name)) for name in ("from", "to"))
    return JSONResponse(read_series(site.loop(name), start, end), headers={"Cache-Control": "no-store"})


def _all(request: Request) -> dict[str, Any]:
    site: Site = request.app.state.site
    return {"cards": [look_at(site, entry) for entry in site.projects()], "services": look_at_services(site)}


def _one(request: Request, name: str) -> dict[str, Any]:
    site: Site = request.app.state.site
    site.loop(name)
    entry = next(entry for entry in site.projects() if entry.project and entry.project.name == name)
    return {"card": look_at(site, entry)}


def _instant(seconds: str | None) -> datetime | None:
    try:
        return None if not seconds else datetime.fromtimestamp(float(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise HTTPException(400, f"{seconds!r} is not a time. Expected seconds since 1970.") from None
