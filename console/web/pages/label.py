"""Label: one row at a time, answered by a key, a click or a plain form."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Request, Response

from homeostat.console.cards import are_numbered
from homeostat.console.web.images import is_elsewhere, read_picture
from homeostat.console.web.pages.acts import Annotator, Text, Viewer, back_to, is_partial, may, site_of
from homeostat.console.web.pages.page import PAGES, Page
from homeostat.console.web.rendering import page
from homeostat.console.web.security.dependencies import Role, person_of
from homeostat.errors import HomeostatError
from homeostat.records import Answer, LabelTask

if TYPE_CHECKING:
    from homeostat.flows.labeling.exchange import Item
    from homeostat.flows.loop import Loop

router = APIRouter(prefix="/projects/{name}/label", include_in_schema=False)
PAGES.add("label", Page(router, "Label", place=30))
HELD: OrderedDict[tuple[str, int, int], dict[str, Any]] = OrderedDict()
MOST_HELD = 32
SAFE = {
    "Cache-Control": "private, max-age=3600",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


@router.get("")
def label(request: Request, name: str, person: Viewer, task: str | None = None, done: str | None = None) -> Response:
    """The page, with the row that is due first, or the one of a task."""
    return _whole(request, name, task, done=_describe(name, request, done))


@router.get("/work")
def work(request: Request, name: str, person: Annotator) -> Response:
    """The row that is due first, as a part of the page; 204 while nothing waits."""
    shown = _work(request, name)
    return page(request, "label_work.html", **shown) if shown["item"] is not None else Response(status_code=204)


@router.post("/answer")
def answer(
    request: Request,
    name: str,
    person: Annotator,
    task: Text,
    label: Annotated[str | None, Form()] = None,
    act: Annotated[str, Form()] = "answer",
) -> Response:
    """Take an answer or a skip, or undo the last answer."""
    from homeostat.flows.labeling.people import give_answers, take_back

    site = site_of(request)
    loop, at = site.loop(name), site.clock()
    try:
        if act == "undo":
            taken = take_back(loop, person.name, at, person.name)
            return _next(request, name, taken.task, "undo")
        given = None if act == "skip" else (label or "").strip()
        if given == "":
            return _whole(request, name, task, mistake="Choose an answer, or skip the row.")
        checked = give_answers(loop, [Answer(task, person.name, given, at)], at, person.name, "page")
    except HomeostatError as mistake:
        return _whole(request, name, task, mistake=mistake.args[0], typed=label or "")
    if checked.refused:
        return _whole(request, name, task, mistake=f"{checked.refused[0].detail}.", typed=label or "")
    return _next(request, name, None, "skip" if given is None else "answer")


@router.get("/picture")
def picture(request: Request, name: str, person: Viewer, task: str) -> Response:
    """The image of a task's row."""
    from homeostat.flows.labeling.items import list_items

    loop = site_of(request).loop(name)
    asked, column = loop.store.get_task(task), loop.project.labeling.image
    if asked is None or column is None:
        raise HTTPException(404, "There is no such image.")
    read = read_picture(list_items(loop, [asked])[0].shown.get(column), loop.project.folder)
    if read is None:
        raise HTTPException(404, "This image cannot be shown.")
    return Response(read[0], media_type=read[1], headers=SAFE)


@router.get("/standing")
def standing(request: Request, name: str, person: Viewer, state: str = "") -> Response:
    """The state of labeling, as a part of the page; 204 where nothing has changed."""
    board = _board(site_of(request).loop(name))
    if board["token"] == state:
        return Response(status_code=204)
    piece = "label_standing.html" if is_partial(request) else "label_standing_page.html"
    return page(request, piece, project=name, tab="label", name=name, board=board)


def _next(request: Request, name: str, task: str | None, done: str) -> Response:
    if is_partial(request):
        return page(request, "label_work.html", **_work(request, name, task, done=_describe(name, request, done)))
    return back_to(name, "label", done=done, **({} if task is None else {"task": task}))


def _whole(
    request: Request,
    name: str,
    task: str | None,
    *,
    mistake: str | None = None,
    typed: str = "",
    done: str | None = None,
) -> Response:
    shown = _work(request, name, task, mistake, typed, done)
    if is_partial(request):
        return page(request, "label_work.html", **shown)
    status = 409 if mistake else 200
    return page(request, "label.html", status, project=name, tab="label", **shown)


def _work(
    request: Request,
    name: str,
    task: str | None = None,
    mistake: str | None = None,
    typed: str = "",
    done: str | None = None,
) -> dict[str, Any]:
    """The part of the page with the row: the row, the progress, and what was just done."""
    from homeostat.flows.labeling.items import list_items
    from homeostat.flows.labeling.people import list_waiting

    site, person = site_of(request), person_of(request)
    loop, at = site.loop(name), site.clock()
    waiting = sorted(list_waiting(loop, person.name, at), key=lambda waits: waits.id != task)
    items = list_items(loop, waiting[:1]) if may(request, Role.ANNOTATOR) else []
    labeling = loop.project.labeling
    return {
        "name": name,
        "target": loop.project.data.target,
        "key": loop.project.data.key,
        "item": _shown(items[0], loop) if items else None,
        "ahead": waiting[1].id if len(waiting) > 1 and labeling.image else None,
        "numeric": not (items and items[0].classes),
        "progress": _progress(loop, person.name, at, waiting),
        "mistake": mistake,
        "typed": typed,
        "done": done,
        "may_label": may(request, Role.ANNOTATOR),
        "due": _due(waiting[0], at) if waiting else "",
    }


def _shown(item: Item, loop: Loop) -> dict[str, Any]:
    labeling = loop.project.labeling
    apart = (labeling.text, labeling.image)
    picture = item.shown.get(labeling.image) if labeling.image else None
    numbered = are_numbered(item.classes)
    return {
        "task": item.task,
        "text": item.shown.get(labeling.text) if labeling.text else None,
        "picture": labeling.image,
        "link": str(picture) if is_elsewhere(picture) else None,
        "rest": {column: value for column, value in item.shown.items() if column not in apart},
        "classes": [(label, str(at) if numbered and at < 10 else "") for at, label in enumerate(item.classes, 1)],
        "suggestion": item.task.suggestion if labeling.show_suggestion else None,
    }


def _progress(loop: Loop, who: str, at: datetime, waiting: list[LabelTask]) -> dict[str, int]:
    mine = [answer for answer in loop.store.list_answers(who=who) if answer.label is not None]
    today = sum(answer.at.date() == at.date() for answer in mine)
    return {"today": today, "ever": len(mine), "left": len(waiting)}


def _due(task: LabelTask, at: datetime) -> str:
    hours = (task.due_at - at).total_seconds() / 3600
    return f"{round(hours / 24)} days" if hours >= 48 else f"{round(hours)} hours" if hours >= 2 else "soon"


def _describe(name: str, request: Request, done: str | None) -> str | None:
    """What was just done, in words; the last answer is looked up, so that an address cannot claim what is not so."""
    if done == "undo":
        return "Answer taken back. Here is the row again."
    if done not in ("answer", "skip"):
        return None
    loop, who = site_of(request).loop(name), person_of(request).name
    last = max(loop.store.list_answers(who=who), key=lambda answer: answer.at, default=None)
    asked = None if last is None else loop.store.get_task(last.task)
    if last is None or asked is None:
        return None
    key = f"{loop.project.data.key} {asked.key}"
    return f"Skipped {key}." if last.label is None else f"Labelled {key} as {last.label}."


def _board(loop: Loop) -> dict[str, Any]:
    """The state of labeling; computed again only once there is a new answer or task."""
    from homeostat.flows.labeling.board import board

    mark = (loop.paths.model_name, len(loop.store.list_answers()), len(loop.store.list_tasks()))
    if mark not in HELD:
        current = board(loop)
        rated = {row["annotator"]: row for row in current["scoreboard"]}
        people = [{**rated.get(person["who"], {}), **person} for person in current["annotators"]]
        HELD[mark] = {**current, "people": people, "token": f"{mark[1]}-{mark[2]}"}
        while len(HELD) > MOST_HELD:
            HELD.popitem(last=False)
    return HELD[mark]
