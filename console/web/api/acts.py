"""Actions through the API: acknowledge and snooze alerts, approve and reject, and answer labeling tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

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
    RollbackOut,
    Snooze,
    TaskOut,
)
from homeostat.console.web.api.reads import Limit, finite
from homeostat.console.web.api.replies import once
from homeostat.console.web.pages.acts import Annotator, Approver, Viewer
from homeostat.console.web.security.dependencies import Person
from homeostat.flows import alerts as inbox
from homeostat.flows.learning import approvals
from homeostat.flows.learning.holds import describe_hold, lift, previous_champion, standing_hold
from homeostat.flows.loop import Loop
from homeostat.records import Alert, AlertStatus, Answer, ApprovalState, Decision

if TYPE_CHECKING:
    from homeostat.flows.labeling.exchange import Item

router = APIRouter(tags=["Actions"])
_NOT: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "Not found."},
    409: {"model": Problem, "description": "Not possible in the current state."},
}


@router.get("/projects/{project}/alerts", response_model=list[AlertOut], summary="Alerts and their status")
def list_alerts(
    project: str,
    request: Request,
    person: Viewer,
    limit: Limit = 100,
    waiting: Annotated[
        bool, Query(description="Only alerts that are open: neither acknowledged nor snoozed now.")
    ] = False,
) -> list[AlertOut]:
    """Alerts, oldest first."""
    site = request.app.state.site
    store, now = site.loop(project).store, site.clock()
    alerts = store.list_alerts(newest=None if waiting else limit)
    seen = store.list_alert_statuses([alert.key for alert in alerts])
    states = ("open", "told") if waiting else ("open", "told", "quiet", "seen")
    pairs = [(alert, seen[alert.key]) for alert in alerts if alert.key in seen]
    return [_alert(*pair) for pair in pairs if inbox.state_of(*pair, now) in states][-limit:]


@router.post(
    "/projects/{project}/alerts/{alert:path}/acknowledge",
    response_model=AlertOut,
    responses=_NOT,
    summary="Acknowledge an alert",
)
def acknowledge(
    project: str, alert: str, asked: Note, request: Request, person: Approver, key: Key = None
) -> JSONResponse:
    """Acknowledge an alert, with a note on what is being done about it. Role: approver."""
    loop = request.app.state.site.live(project)

    def act(at: datetime, _again: bool) -> AlertOut:
        _the_alert(loop, alert)
        inbox.acknowledge(loop, at, person.name, alert, asked.note)
        return _the_alert(loop, alert)

    return once(request, loop, person, asked, act)


@router.post(
    "/projects/{project}/alerts/{alert:path}/snooze",
    response_model=AlertOut,
    responses=_NOT,
    summary="Snooze an alert",
)
def snooze(
    project: str, alert: str, asked: Snooze, request: Request, person: Approver, key: Key = None
) -> JSONResponse:
    """Snooze an alert until a time; then it is sent again. Role: approver."""
    loop = request.app.state.site.live(project)
    if asked.until.tzinfo is None:
        raise HTTPException(422, "until: no time zone. Expected, for example, 2020-01-31T06:00:00Z.")

    def act(at: datetime, _again: bool) -> AlertOut:
        _the_alert(loop, alert)
        inbox.snooze(loop, at, person.name, alert, asked.until)
        return _the_alert(loop, alert)

    return once(request, loop, person, asked, act)


@router.get("/projects/{project}/approvals", response_model=list[ApprovalOut], summary="Approvals")
def list_approvals(
    project: str,
    request: Request,
    person: Viewer,
    state: Annotated[ApprovalState | None, Query(description="Only those in this state.")] = None,
) -> list[ApprovalOut]:
    """Challengers that passed their gates and needed approval, oldest first."""
    return [ApprovalOut.model_validate(a) for a in request.app.state.site.loop(project).store.list_approvals(state)]


@router.post(
    "/projects/{project}/approvals/{version}/approve",
    response_model=ApprovalOut,
    responses=_NOT,
    summary="Approve a challenger",
)
def approve(
    project: str, version: int, asked: Reason, request: Request, person: Approver, key: Key = None
) -> JSONResponse:
    """Make a challenger that waits for approval champion. Role: approver."""
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
    """Drop a challenger that waits for approval, with a reason. Role: approver."""
    return _decide(request, project, version, person, asked, approvals.reject)


@router.post(
    "/projects/{project}/rollback",
    response_model=ChampionOut,
    responses=_NOT,
    summary="Roll back to an earlier version",
)
def rollback(project: str, asked: Return, request: Request, person: Approver, key: Key = None) -> JSONResponse:
    """Make an earlier version champion again at once, and hold it there. Role: approver."""
    from homeostat.flows.operations import manual

    loop = request.app.state.site.live(project)

    def act(at: datetime, again: bool) -> ChampionOut:
        done = _decided(loop, at, person.name) if again else None
        if done is None:
            done = manual.rollback(loop, at, asked.version, person.name, asked.why)
        return ChampionOut.model_validate({"version": done.model_version})

    return once(request, loop, person, asked, act)


@router.get("/projects/{project}/rollback", response_model=RollbackOut, summary="What a rollback would go back to")
def get_rollback(project: str, request: Request, person: Viewer) -> RollbackOut:
    """The version that a rollback goes back to unless one is named, and the rollback that holds now."""
    site = request.app.state.site
    loop = site.loop(project)
    hold = standing_hold(loop, site.clock())
    return RollbackOut(
        champion=loop.version_of("champion"),
        target=previous_champion(loop),
        holds=None if hold is None else describe_hold(hold),
        until=None if hold is None else hold.until,
    )


@router.post("/projects/{project}/rollback/lift", response_model=RollbackOut, responses=_NOT, summary="Lift a rollback")
def lift_rollback(project: str, asked: Reason, request: Request, person: Approver, key: Key = None) -> JSONResponse:
    """Let the loop promote by itself again. Role: approver."""
    loop = request.app.state.site.live(project)

    def act(at: datetime, again: bool) -> RollbackOut:
        if not (again and standing_hold(loop, at) is None):
            lift(loop, at, person.name, asked.why)
        return RollbackOut(champion=loop.version_of("champion"), target=previous_champion(loop), holds=None, until=None)

    return once(request, loop, person, asked, act)


def _decide(
    request: Request,
    project: str,
    version: int,
    person: Person,
    asked: Reason | Rejection,
    verb: Callable[[Loop, datetime, str, str, int], object],
) -> JSONResponse:
    loop = request.app.state.site.live(project)

    def act(at: datetime, again: bool) -> ApprovalOut:
        held = _approval(loop, version)
        if not (again and held.decided_at == at and held.by == person.name):
            verb(loop, at, person.name, asked.why, version)
        return _approval(loop, version)

    return once(request, loop, person, asked, act)


def _decided(loop: Loop, at: datetime, who: str) -> Decision | None:
    """The rollback that somebody asked for at this moment, where it was made before the process ended."""
    made = loop.store.list_decisions("rollback")
    asked = (decision for decision in reversed(made) if decision.tick_at == at and decision.evidence.get("by") == who)
    return next(asked, None)


@router.get("/projects/{project}/tasks", response_model=list[TaskOut], summary="Rows that wait for your label")
def list_tasks(project: str, request: Request, person: Annotator, limit: Limit = 20) -> list[TaskOut]:
    """Open labeling tasks that you have not answered, those due first at the top. Role: annotator."""
    from homeostat.flows.labeling.items import list_items
    from homeostat.flows.labeling.people import list_waiting

    site = request.app.state.site
    loop = site.live(project)
    items = list_items(loop, list_waiting(loop, person.name, site.clock())[:limit])
    return [_task(item) for item in items]


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
    """Label a row in your name; null skips it. A person answers a task once. Role: annotator."""
    from homeostat.flows.labeling.people import give_answers
    from homeostat.pipelines.data.canonical import canonical_class

    loop = request.app.state.site.live(project)
    label = None if asked.label is None else canonical_class(asked.label)

    def act(at: datetime, _again: bool) -> AnswerOut:
        if loop.store.get_task(task) is None:
            raise HTTPException(404, f"there is no task {task!r}.")
        checked = give_answers(loop, [Answer(task, person.name, label, at)], at, person.name, "api")
        if checked.refused:
            raise HTTPException(409, f"{checked.refused[0].detail}.")
        held = next(answer for answer in loop.store.list_answers(task) if answer.who == person.name)
        return AnswerOut.model_validate(held)

    return once(request, loop, person, asked, act, 201)


@router.delete(
    "/projects/{project}/tasks/{task:path}/answers",
    response_model=AnswerOut,
    responses=_NOT,
    summary="Undo your last answer",
)
def take_answer_back(project: str, task: str, request: Request, person: Annotator) -> AnswerOut:
    """Undo your last answer, while its task is open. Role: annotator."""
    from homeostat.flows.labeling.people import take_back

    site = request.app.state.site
    loop = site.live(project)
    mine = [answer for answer in loop.store.list_answers() if answer.who == person.name]
    if not any(answer.task == task for answer in mine):
        raise HTTPException(404, f"{person.name} has not answered the task {task!r}.")
    if max(mine, key=lambda answer: answer.at).task != task:
        raise HTTPException(409, f"{person.name} answered another task after {task!r}; undo that answer first.")
    return AnswerOut.model_validate(take_back(loop, person.name, site.clock(), person.name))


def _the_alert(loop: Loop, key: str) -> AlertOut:
    alert = next((alert for alert in loop.store.list_alerts() if alert.key == key), None)
    if alert is None:
        raise HTTPException(404, f"there is no alert {key!r}.")
    return _alert(alert, loop.store.list_alert_statuses([key])[key])


def _alert(alert: Alert, status: AlertStatus) -> AlertOut:
    values = {name: getattr(status if hasattr(status, name) else alert, name) for name in AlertOut.model_fields}
    return AlertOut.model_validate(values | {"key": alert.key, "severity": alert.severity.value})


def _approval(loop: Loop, version: int) -> ApprovalOut:
    approval = next((approval for approval in loop.store.list_approvals() if approval.version == version), None)
    if approval is None:
        raise HTTPException(404, f"there is no approval of version {version}.")
    return ApprovalOut.model_validate(approval)


def _task(item: Item) -> TaskOut:
    task = item.task
    return TaskOut(
        id=task.id,
        key=task.key,
        purpose=task.purpose.value,
        wanted=task.wanted,
        asked_at=task.asked_at,
        due_at=task.due_at,
        columns=finite(dict(item.shown)),
        classes=list(item.classes),
    )
