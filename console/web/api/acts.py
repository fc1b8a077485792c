"""What a person may do through the API: see to alerts, approve and reject, and answer labeling tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import JSONResponse

from homeostat.console.web.api.idempotency import Key
from homeostat.console.web.api.models import (
    AlertOut,
    AnswerOut,
    ApprovalOut,
    ChampionOut,
    Label,
    Note,
    Problem,
    Reason,
    Rejection,
    Return,
    Snooze,
    TaskOut,
)
from homeostat.console.web.api.reads import Limit, finite
from homeostat.console.web.api.replies import once
from homeostat.console.web.pages.acts import Annotator, Approver, Viewer
from homeostat.console.web.security.dependencies import Person
from homeostat.flows import alerts as inbox
from homeostat.flows.learning import approvals
from homeostat.flows.loop import Loop
from homeostat.records import Alert, AlertStatus, Answer, ApprovalState, Decision

router = APIRouter(tags=["What people do"])
_NOT: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such thing, in words."},
    409: {"model": Problem, "description": "It cannot be done as things stand, in words."},
}


@router.get("/projects/{project}/alerts", response_model=list[AlertOut], summary="Alerts, and what became of them")
def list_alerts(
    project: str,
    request: Request,
    person: Viewer,
    limit: Limit = 100,
    waiting: Annotated[bool, Query(description="Only those neither acknowledged nor quiet now.")] = False,
) -> Any:
    """Alerts, oldest first."""
    site = request.app.state.site
    store, now = site.loop(project).store, site.clock()
    alerts = store.list_alerts(newest=None if waiting else limit)
    seen = store.list_alert_statuses([alert.key for alert in alerts])
    states = ("open", "told") if waiting else ("open", "told", "quiet", "seen")
    told = [(alert, seen[alert.key]) for alert in alerts if alert.key in seen]
    return [_alert(*each) for each in told if inbox.state_of(*each, now) in states][-limit:]


@router.post(
    "/projects/{project}/alerts/{alert:path}/acknowledge",
    response_model=AlertOut,
    responses=_NOT,
    summary="Say that an alert was seen",
)
def acknowledge(
    project: str, alert: str, asked: Note, request: Request, person: Approver, key: Key = None
) -> JSONResponse:
    """Acknowledge an alert, with a note on what is being done about it. Role: approver."""
    loop = request.app.state.site.live(project)

    def act(at: datetime, _again: bool) -> dict[str, Any]:
        _the_alert(loop, alert)
        inbox.acknowledge(loop, at, person.name, alert, asked.note)
        return _the_alert(loop, alert)

    return once(request, loop, person, asked, act)


@router.post(
    "/projects/{project}/alerts/{alert:path}/snooze",
    response_model=AlertOut,
    responses=_NOT,
    summary="Let an alert be quiet for a while",
)
def snooze(
    project: str, alert: str, asked: Snooze, request: Request, person: Approver, key: Key = None
) -> JSONResponse:
    """Let an alert be quiet until a time. Role: approver."""
    loop = request.app.state.site.live(project)
    if asked.until.tzinfo is None:
        raise HTTPException(422, "until: it has no time zone; write it as in 2020-01-31T06:00:00Z.")

    def act(at: datetime, _again: bool) -> dict[str, Any]:
        _the_alert(loop, alert)
        inbox.snooze(loop, at, person.name, alert, asked.until)
        return _the_alert(loop, alert)

    return once(request, loop, person, asked, act)


@router.get("/projects/{project}/approvals", response_model=list[ApprovalOut], summary="What was put before a person")
def list_approvals(
    project: str,
    request: Request,
    person: Viewer,
    state: Annotated[ApprovalState | None, Query(description="Only those in this state.")] = None,
) -> Any:
    """Challengers that passed their gates and were held for a person, oldest first."""
    return [_plain(a) for a in request.app.state.site.loop(project).store.list_approvals(state)]


@router.post(
    "/projects/{project}/approvals/{version}/approve",
    response_model=ApprovalOut,
    responses=_NOT,
    summary="Approve a challenger",
)
def approve(
    project: str, version: int, asked: Reason, request: Request, person: Approver, key: Key = None
) -> JSONResponse:
    """Let a challenger that waits become champion. Role: approver."""
    return _decide(request, project, version, person, asked, approvals.approve)


@router.post(
    "/projects/{project}/approvals/{version}/reject",
    response_model=ApprovalOut,
    responses=_NOT,
    summary="Reject a challenger",
)
def reject(
    project: str, version: int, asked: Rejection, request: Request, person: Approver, key: Key = None
) -> JSONResponse:
    """Keep a challenger that waits from becoming champion, with a reason. Role: approver."""
    return _decide(request, project, version, person, asked, approvals.reject)


@router.post(
    "/projects/{project}/rollback", response_model=ChampionOut, responses=_NOT, summary="Put an earlier version back"
)
def rollback(project: str, asked: Return, request: Request, person: Approver, key: Key = None) -> JSONResponse:
    """Make an earlier version champion again at once. Role: approver."""
    from homeostat.flows.operations import manual

    loop = request.app.state.site.live(project)

    def act(at: datetime, again: bool) -> dict[str, Any]:
        done = _decided(loop, at, person.name) if again else None
        if done is None:
            done = manual.rollback(loop, at, asked.version, person.name, asked.why)
        return {"version": done.model_version}

    return once(request, loop, person, asked, act)


def _decide(
    request: Request, project: str, version: int, person: Person, asked: Reason | Rejection, verb: Callable[..., Any]
) -> JSONResponse:
    loop = request.app.state.site.live(project)

    def act(at: datetime, again: bool) -> dict[str, Any]:
        held = _approval(loop, version)
        if not (again and held["decided_at"] == at and held["by"] == person.name):
            verb(loop, at, person.name, asked.why, version)
        return _approval(loop, version)

    return once(request, loop, person, asked, act)


def _decided(loop: Loop, at: datetime, who: str) -> Decision | None:
    """The rollback that somebody asked for at this moment, where it was made before the process ended."""
    made = loop.store.list_decisions("rollback")
    return next((each for each in reversed(made) if each.tick_at == at and each.evidence.get("by") == who), None)


@router.get("/projects/{project}/tasks", response_model=list[TaskOut], summary="Rows that wait for your answer")
def list_tasks(project: str, request: Request, person: Annotator, limit: Limit = 20) -> Any:
    """Open labeling tasks that you have not answered, those due first before others. Role: annotator."""
    from homeostat.flows.labeling.items import list_items
    from homeostat.flows.labeling.people import list_waiting

    site = request.app.state.site
    loop = site.live(project)
    items = list_items(loop, list_waiting(loop, person.name, site.clock())[:limit])
    names = ("id", "key", "wanted", "asked_at", "due_at")
    return [
        {name: getattr(item.task, name) for name in names}
        | {"purpose": item.task.purpose.value, "columns": finite(dict(item.shown)), "classes": list(item.classes)}
        for item in items
    ]


@router.post(
    "/projects/{project}/tasks/{task:path}/answers",
    response_model=AnswerOut,
    status_code=201,
    responses=_NOT,
    summary="Answer a labeling task",
)
def give_answer(
    project: str, task: str, asked: Label, request: Request, person: Annotator, key: Key = None
) -> JSONResponse:
    """Say what a row is, in your name; null passes. A person answers a task once. Role: annotator."""
    from homeostat.flows.labeling.people import give_answers
    from homeostat.pipelines.data.canonical import canonical_class

    loop = request.app.state.site.live(project)
    label = None if asked.label is None else canonical_class(asked.label)

    def act(at: datetime, _again: bool) -> dict[str, Any]:
        if loop.store.get_task(task) is None:
            raise HTTPException(404, f"there is no task {task!r}.")
        checked = give_answers(loop, [Answer(task, person.name, label, at)], at, person.name, "api")
        if checked.refused:
            raise HTTPException(409, f"{checked.refused[0].detail}.")
        held = next(answer for answer in loop.store.list_answers(task) if answer.who == person.name)
        return _answer(held)

    return once(request, loop, person, asked, act, 201)


@router.delete(
    "/projects/{project}/tasks/{task:path}/answers",
    response_model=AnswerOut,
    responses=_NOT,
    summary="Take your last answer back",
)
def take_answer_back(project: str, task: str, request: Request, person: Annotator) -> Any:
    """Take back what you answered last, while its task is open. Role: annotator."""
    from homeostat.flows.labeling.people import take_back

    site = request.app.state.site
    loop = site.live(project)
    mine = [answer for answer in loop.store.list_answers() if answer.who == person.name]
    if not any(answer.task == task for answer in mine):
        raise HTTPException(404, f"{person.name} has given no answer to the task {task!r}.")
    if max(mine, key=lambda answer: answer.at).task != task:
        raise HTTPException(409, f"{person.name} gave another answer after that to {task!r}; the last one goes first.")
    return _answer(take_back(loop, person.name, site.clock(), person.name))


def _the_alert(loop: Loop, key: str) -> dict[str, Any]:
    found = next((alert for alert in loop.store.list_alerts() if alert.key == key), None)
    if found is None:
        raise HTTPException(404, f"there is no alert {key!r}.")
    return _alert(found, loop.store.list_alert_statuses([key])[key])


def _alert(alert: Alert, status: AlertStatus) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in ("key", "at", "title", "body")} | {
        "severity": alert.severity.value,
        **{name: getattr(status, name) for name in AlertOut.model_fields if hasattr(status, name) and name != "key"},
    }


def _approval(loop: Loop, version: int) -> dict[str, Any]:
    found = next((each for each in loop.store.list_approvals() if each.version == version), None)
    if found is None:
        raise HTTPException(404, f"version {version} was never put before a person.")
    return _plain(found)


def _plain(approval: Any) -> dict[str, Any]:
    return {name: getattr(approval, name) for name in ApprovalOut.model_fields}


def _answer(answer: Answer) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in AnswerOut.model_fields}
