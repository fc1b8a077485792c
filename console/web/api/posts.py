"""Posting through the API: inputs and feedback from other systems, and the event that there is something new."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from homeostat.console.web.api.events import Waker, send_event
from homeostat.console.web.api.idempotency import HEADER, Key, key_of
from homeostat.console.web.api.intake import Crowded, Intakes, NotKept
from homeostat.console.web.api.models import Problem, Receipt, Rows, Wake, WakeOut
from homeostat.console.web.api.replies import once
from homeostat.console.web.security.dependencies import Person, Role, at_least
from homeostat.flows.posts import MOST_BYTES, PostRefused, check_rows, digest_rows
from homeostat.project import Project
from homeostat.records import Post, PostKind, Scope
from homeostat.settings import find_paths

router = APIRouter(tags=["Posting"])
ANSWER_SECONDS = 20.0
"""How long a post waits for the store before it is asked to try again."""
_SMALL = 20_000
_SOON = datetime(1970, 1, 1, tzinfo=UTC)
"""Until the intake writes a post, and says when it was received."""
Poster = Annotated[Person, Depends(at_least(Role.ANNOTATOR))]
_WRONG: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": f"More than {MOST_BYTES:,} bytes."},
    422: {
        "model": Problem,
        "description": "Not valid rows of this project, or an idempotency key that was used for other rows.",
    },
    503: {"model": Problem, "description": "Nothing was stored; `Retry-After` says when to send it again."},
}
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": Rows.model_json_schema()}}}}


@router.post(
    "/projects/{project}/inputs",
    status_code=202,
    response_model=Receipt,
    responses=_WRONG,
    openapi_extra=_BODY,
    summary="Post inputs to be scored",
)
async def post_inputs(project: str, request: Request, person: Poster, key: Key = None) -> JSONResponse:
    """Store rows to be scored; the next batch ingests them together with those of the project's source.

    Every row has the key and the event time, and may have the other columns and that of `data.inputs.known_at`. They
    are stored safely when this responds. Rows that break a stated rule are quarantined on ingest. Role: annotator.
    """
    return await _take(project, PostKind.INPUTS, request, person)


@router.post(
    "/projects/{project}/feedback",
    status_code=202,
    response_model=Receipt,
    responses=_WRONG,
    openapi_extra=_BODY,
    summary="Post labels",
)
async def post_feedback(project: str, request: Request, person: Poster, key: Key = None) -> JSONResponse:
    """Store labels; the next run of the stage feedback ingests them.

    Every row has the key and the target, and may have the columns of `data.feedback.known_at` (without it the label
    counts as known now), `action` and `propensity`. A label without its input waits one tick for it. Role: annotator.
    """
    return await _take(project, PostKind.FEEDBACK, request, person)


@router.post(
    "/projects/{project}/wake", status_code=202, response_model=WakeOut, summary="Announce new data in the source"
)
def wake(project: str, asked: Wake, request: Request, person: Poster, key: Key = None) -> JSONResponse:
    """Send the event that starts ingesting inputs or labels now: a webhook for whoever writes the project's source.

    Sending it twice does no more than once. Role: annotator.
    """
    loop = request.app.state.site.live(project)
    return once(request, loop, person, asked, lambda _at, _again: WakeOut(told=send_event(asked.what, project)), 202)


async def _take(name: str, kind: PostKind, request: Request, person: Person) -> JSONResponse:
    intakes: Intakes = request.app.state.intakes
    waker: Waker = request.app.state.waker
    project = request.app.state.site.find(name)
    key, body = key_of(request), await _read(request)
    # What is small is read sooner than another thread is found for it.
    arguments = (project, kind, body, key, person.name)
    post = _read_post(*arguments) if len(body) <= _SMALL else await run_in_threadpool(_read_post, *arguments)
    try:
        waiting = intakes.of(find_paths(project, Scope.LIVE)).submit(post, len(body))
        held = await asyncio.wait_for(asyncio.wrap_future(waiting), ANSWER_SECONDS)
    except (Crowded, NotKept) as fault:
        raise HTTPException(503, str(fault), {"Retry-After": "2"}) from None
    except TimeoutError:
        words = "The store did not respond in time; the post may or may not be stored. Send it again with the same"
        raise HTTPException(503, f"{words} {HEADER}: it is stored only once.", {"Retry-After": "5"}) from None
    if held.digest != post.digest:
        raise HTTPException(422, f"the {HEADER} {post.id!r} was used for other rows. Use a new one.")
    waker.arrived("inputs" if kind is PostKind.INPUTS else "labels", name)
    receipt = Receipt(id=held.id, rows=len(post.rows), received_at=held.received_at)
    return JSONResponse(receipt.model_dump(mode="json"), 202)


async def _read(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise HTTPException(413, f"a post has at most {MOST_BYTES:,} bytes. Post the rows in parts.")
        parts.append(part)
    return b"".join(parts)


def _read_post(project: Project, kind: PostKind, body: bytes, key: str | None, by: str) -> Post:
    try:
        content = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as fault:
        raise PostRefused(f"the body is not JSON: {fault}.", 'Expected {"rows": [{...}, ...]}.') from None
    if not isinstance(content, dict) or set(content) != {"rows"}:
        raise PostRefused("the body is not an object with just the key rows.", 'Expected {"rows": [{...}, ...]}.')
    rows = check_rows(project, kind, content["rows"])
    return Post(key or uuid.uuid4().hex, kind, rows, digest_rows(kind, rows), _SOON, by)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not valid JSON")
