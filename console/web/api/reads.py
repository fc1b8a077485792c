"""Reading through the API: projects, predictions, decisions, windows, the journal, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from homeostat.console.web.api.models import (
    DecisionOut,
    JournalOut,
    Predictions,
    Problem,
    ProjectLine,
    ProjectStatus,
    WindowOut,
)
from homeostat.console.web.pages.acts import Viewer
from homeostat.console.web.site import Site
from homeostat.errors import DataError
from homeostat.flows.loop import Loop, slot, tick_index
from homeostat.installation import Found
from homeostat.records import PostKind

router = APIRouter(tags=["Reading"])
Limit = Annotated[int, Query(ge=1, le=1000, description="How many of the newest at most.")]
After = Annotated[datetime | None, Query(description="Only entries after this time.")]
Before = Annotated[datetime | None, Query(description="Only entries before this time, to page back.")]
Status = dict[str, Any]
"""A project's status, of which the response model takes what it has fields for."""
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "Not found."}}


@router.get("/projects", response_model=list[ProjectLine], summary="Every project, healthy or not, and why")
def list_projects(request: Request, person: Viewer) -> list[Status]:
    """Every project of the installation; one whose file has a mistake is not healthy, and goes by its folder's name."""
    site: Site = request.app.state.site
    return [_line(site, entry) for entry in site.projects()]


@router.get("/projects/{project}", response_model=ProjectStatus, responses=_UNKNOWN, summary="The status of a project")
def get_project(project: str, request: Request, person: Viewer) -> Status:
    """The champion, the newest tick and window, what waits, and what is wrong."""
    site: Site = request.app.state.site
    loop, live = site.loop(project), site.live(project)
    return {
        **_status(loop, site.clock()),
        "posts_waiting": {kind.value: live.store.count_waiting_posts(kind) for kind in PostKind},
    }


@router.get(
    "/projects/{project}/predictions/{key:path}",
    response_model=Predictions,
    responses={**_UNKNOWN, 202: {"model": Problem, "description": "The row is known and waits to be scored."}},
    summary="Predictions for one key",
)
def get_predictions(project: str, key: str, request: Request, person: Viewer) -> JSONResponse:
    """Every score of a key, newest first, and the champion's newest.

    404 where the key is unknown or its row is in quarantine, 202 where its input has come and waits to be scored.
    """
    from homeostat.flows.queries.predictions import explain_absence, list_scores

    site: Site = request.app.state.site
    loop = site.loop(project)
    scores = list_scores(loop, key)
    if scores:
        latest = next((score for score in scores if score["role"] == "champion"), None)
        return JSONResponse(jsonable_encoder(finite({"key": key, "latest": latest, "scores": scores})))
    waits, words = explain_absence(loop, site.live(project), key)
    return JSONResponse({"detail": words}, 202 if waits else 404)


@router.get("/projects/{project}/decisions", response_model=list[DecisionOut], responses=_UNKNOWN, summary="Decisions")
def list_decisions(
    project: str,
    request: Request,
    person: Viewer,
    after: After = None,
    before: Before = None,
    limit: Limit = 100,
    stage: Annotated[str | None, Query(description="Only decisions on this question, such as promotion.")] = None,
) -> JSONResponse:
    """Decisions with their reasons and evidence, oldest first."""
    loop = request.app.state.site.loop(project)
    decisions = loop.store.list_decisions(stage, after=_zoned(after), before=_zoned(before), newest=limit)
    return _list_of(DecisionOut, decisions)


@router.get(
    "/projects/{project}/windows",
    response_model=list[WindowOut],
    responses=_UNKNOWN,
    summary="The champion's performance, batch by batch",
)
def list_windows(
    project: str, request: Request, person: Viewer, after: After = None, limit: Limit = 100
) -> JSONResponse:
    """Windows, oldest first, each final, provisional or unknown."""
    loop = request.app.state.site.loop(project)
    return _list_of(WindowOut, loop.store.list_windows(after=_zoned(after), newest=limit))


@router.get("/projects/{project}/journal", response_model=list[JournalOut], responses=_UNKNOWN, summary="The journal")
def list_journal(
    project: str,
    request: Request,
    person: Viewer,
    after: Annotated[int, Query(ge=0, description="Only links after the one with this number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most, from `after` on.")] = 100,
) -> JSONResponse:
    """Links of the journal's chain, oldest first; go on with the number of the last one as `after`."""
    loop = request.app.state.site.loop(project)
    return _list_of(JournalOut, loop.store.list_journal(after=after, until=after + limit))


@router.get("/projects/{project}/why/{key:path}", responses=_UNKNOWN, summary="Why a row was scored as it was")
def get_why(project: str, key: str, request: Request, person: Viewer) -> JSONResponse:
    """The version that scored the key, its reasons, the label and its source, and the decision behind that version."""
    from homeostat.flows.queries.why import why

    try:
        return JSONResponse(jsonable_encoder(finite(why(request.app.state.site.loop(project), key))))
    except DataError as fault:
        raise HTTPException(404, str(fault)) from None


def _line(site: Site, entry: Found) -> Status:
    if entry.project is None:
        return _unreadable(entry.folder.name, entry.problem or "it cannot be read")
    try:
        return _status(site.loop(entry.project.name), site.clock())
    except Exception as fault:  # One project that cannot be opened must not hide the others.
        return _unreadable(entry.project.name, str(fault) or type(fault).__name__)


def _unreadable(name: str, why: str) -> Status:
    from homeostat.flows.health.problems import Problem, ProblemCode

    problem = Problem(ProblemCode.UNREADABLE, why)
    return {"name": name, "healthy": False, "problems": [why], "problem_details": [problem.as_json()]}


def _status(loop: Loop, now: datetime) -> Status:
    from homeostat.flows.queries.status import status
    from homeostat.flows.schedule import next_run

    following = slot(loop.project, max(tick_index(loop.project, now) + 1, 0)) if now >= loop.project.start_at else None
    current = status(loop, now)
    planned = next_run(loop.project, current["last_tick"], now)
    runs = {"next_tick": following or loop.project.start_at, "next_run": planned}
    return finite({**current, "name": current["project"], **runs})


def _list_of(model: type[BaseModel], records: Sequence[object]) -> JSONResponse:
    return JSONResponse(finite([model.model_validate(record).model_dump(mode="json") for record in records]))


def _zoned(at: datetime | None) -> datetime | None:
    if at is not None and at.tzinfo is None:
        raise HTTPException(422, f"{at.isoformat()} has no time zone. Expected, for example, 2020-01-31T06:00:00Z.")
    return at


def finite(value: Any) -> Any:
    """The same, with null for numbers that JSON cannot express."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    return [finite(part) for part in value] if isinstance(value, list | tuple) else value
