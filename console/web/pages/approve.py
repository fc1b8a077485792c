"""Approve: a challenger beside the champion, its gates, and what a person decides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from homeostat.console.web.pages.acts import MOST_TYPED, Approver, Text, Viewer, back_to, may, site_of
from homeostat.console.web.pages.page import PAGES, Page
from homeostat.console.web.rendering import page
from homeostat.console.web.security.dependencies import Person, Role
from homeostat.durations import format_duration
from homeostat.errors import HomeostatError
from homeostat.flows.facts import HOLD
from homeostat.metrics import gain
from homeostat.records import ApprovalState

if TYPE_CHECKING:
    from datetime import datetime

    from homeostat.flows.loop import Loop
    from homeostat.records import Approval

router = APIRouter(prefix="/projects/{name}/approve", include_in_schema=False)
PAGES.add("approve", Page(router, "Approve", place=40))
DONE = {
    "approve": "Approved.",
    "reject": "Rejected.",
    "rollback": "Rolled back.",
    "lift": "The rollback is lifted: the loop promotes by the project's gates again.",
}
ACTS = {"approve": "Approve", "reject": "Reject", "rollback": "Roll back to", "lift": "Lift the rollback to"}
MEASURES = {
    "selection_rate": "selection rate (demographic parity difference)",
    "true_positive_rate": "true positive rate (equal opportunity difference)",
    "mean_loss": "mean loss",
}
NORMAL_95 = 1.96
NOBODY = "Nothing waits for approval."


@router.get("")
def approve(request: Request, name: str, person: Viewer, done: str = "") -> Response:
    """The challengers that wait, side by side with the champion; earlier approvals; rollback."""
    return _page(request, name, done=done)


@router.get("/changes")
def changes(request: Request, name: str, person: Viewer, state: str = "") -> Response:
    """Whether something else waits by now; 204 where nothing has changed."""
    token = _token(site_of(request).loop(name))
    if token == state:
        return Response(status_code=204)
    return page(request, "approve_changed.html", name=name, token=token)


@router.post("/confirm")
def confirm(
    request: Request, name: str, person: Approver, act: Text, version: Annotated[int, Form()], why: Text = ""
) -> Response:
    """Ask for confirmation before a version is approved, rejected or rolled back to; changes nothing."""
    loop, why = site_of(request).loop(name), why.strip()[:MOST_TYPED]
    if act not in ACTS:
        return _page(request, name, mistake="This page has no such action.", why=why)
    if act == "reject" and not why:
        mistake = "A rejection needs a reason; it goes into the journal."
        return _page(request, name, mistake=mistake, wrong="why", version=version)
    if act == "rollback" and not why:
        mistake = "A rollback needs a reason; it goes into the journal."
        return _page(request, name, mistake=mistake, wrong="why-back", version=version)
    shown = {"act": act, "words": ACTS[act], "version": version, "why": why, "champion": loop.version_of("champion")}
    return page(request, "approve_confirm.html", project=name, tab="approve", name=name, **shown)


@router.post("/decide")
def decide(
    request: Request, name: str, person: Approver, act: Text, version: Annotated[int, Form()], why: Text = ""
) -> Response:
    """Approve, reject or roll back: one transaction, journaled with the person, whether or not a tick runs."""
    site = site_of(request)
    loop, at, why = site.loop(name), site.clock(), why.strip()[:MOST_TYPED]
    try:
        _do(loop, at, person, act, version, why)
    except HomeostatError as mistake:
        return _page(request, name, mistake=str(mistake), why=why, version=version)
    return back_to(name, "approve", done=act)


def _do(loop: Loop, at: datetime, person: Person, act: str, version: int, why: str) -> None:
    from homeostat.flows.learning import approvals, holds
    from homeostat.flows.operations import manual

    if act == "approve":
        approvals.approve(loop, at, person.name, why, version)
    elif act == "reject":
        approvals.reject(loop, at, person.name, why, version)
    elif act == "rollback":
        manual.rollback(loop, at, version, person.name, why)
    elif act == "lift":
        holds.lift(loop, at, person.name, why)
    else:
        raise HomeostatError("This page has no such action.")


def _page(
    request: Request,
    name: str,
    *,
    done: str = "",
    mistake: str | None = None,
    wrong: str | None = None,
    why: str = "",
    version: int | None = None,
) -> Response:
    from homeostat.flows.learning.approvals import list_open
    from homeostat.flows.learning.holds import describe_hold, standing_hold
    from homeostat.flows.queries.status import cools_until

    site = site_of(request)
    loop = site.loop(name)
    hold = standing_hold(loop, site.clock())
    waiting, mlflow, hours = list_open(loop), site.mlflow_url(loop), loop.project.gates.rollback_holds
    champion = loop.version_of("champion")
    known = [model for model in loop.store.list_models() if model.version != champion]
    return page(
        request, "approve.html", 409 if mistake else 200, project=name, tab="approve", name=name,
        cases=[_case(loop, approval, site.clock()) for approval in waiting],
        earlier=[old for old in reversed(loop.store.list_approvals()) if old.state is not ApprovalState.OPEN],
        versions=sorted(known, key=lambda m: (m.promoted_at is not None, m.version), reverse=True),
        champion=champion, model=loop.paths.model_name, mlflow=mlflow, token=_token(loop), done=DONE.get(done),
        mistake=mistake, wrong=wrong, why=why, version=_chosen(loop, version),
        hold=hold, holds=None if hold is None else describe_hold(hold), cools=cools_until(loop, site.clock()),
        may_approve=may(request, Role.APPROVER),
        rollback_holds=None if hours is None else format_duration(hours), human=loop.project.gates.approval == "human",
    )  # fmt: skip


def _chosen(loop: Loop, version: int | None) -> int | None:
    """The version that is offered to roll back to: the one that was chosen, or the champion before."""
    from homeostat.flows.learning.holds import previous_champion

    return previous_champion(loop) if version is None else version


def _case(loop: Loop, approval: Approval, at: datetime) -> dict[str, Any]:
    """A challenger that waits, as the page shows it; `problem` where its comparison is no longer known."""
    from homeostat.flows.learning.approvals import describe

    try:
        facts = describe(loop, approval)
    except HomeostatError as fault:
        return {"approval": approval, "problem": str(fault)}
    evidence = facts["evidence"]
    hours = (approval.due_at - at).total_seconds() / 3600
    left = "expired" if hours <= 0 else f"{hours / 24:.0f} days left" if hours >= 48 else f"{hours:.0f} hours left"
    return {
        **facts,
        "problem": None,
        "left": left,
        "metrics": _side_by_side(evidence, facts["metric"]),
        "interval": _interval(evidence.get("gain"), evidence.get("gain_error")),
        "segments": [_group(segment) for segment in facts["segments"]],
        "fairness": [{**gap, "what": MEASURES.get(gap["measure"], gap["measure"])} for gap in facts["fairness"]],
    }


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric of the champion (`old`) and of the challenger (`new`); `word` says which is better."""

    metric: str
    old: float
    new: float
    gain: float
    watched: bool
    word: str


def _side_by_side(evidence: Mapping[str, Any], watched: str) -> list[MetricRow]:
    old, new = evidence["champion_metrics"], evidence["challenger_metrics"]
    both = sorted(set(old) & set(new), key=lambda metric: (metric != watched, metric))
    gains = {metric: gain(metric, new[metric], old[metric]) for metric in both}
    return [MetricRow(m, old[m], new[m], gained, m == watched, _word(gained)) for m, gained in gains.items()]


def _word(gained: float) -> str:
    return "better" if gained > 0 else "worse" if gained < 0 else "the same"


def _interval(mean: float | None, error: float | None) -> dict[str, float] | None:
    if mean is None or error is None:
        return None
    return {"mean": mean, "error": error, "low": mean - NORMAL_95 * error, "high": mean + NORMAL_95 * error}


def _group(group: dict[str, Any]) -> dict[str, Any]:
    clear = abs(group["gain"]) > 2 * group["gain_error"]
    return group | {"word": _word(group["gain"]) if clear else "no clear difference"}


def _token(loop: Loop) -> str:
    seen = [(approval.version, approval.state.value) for approval in loop.store.list_approvals()]
    return hashlib.sha256(repr((seen, loop.version_of("champion"), loop.store.get_fact(HOLD))).encode()).hexdigest()[
        :16
    ]
