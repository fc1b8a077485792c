"""Ask: why one row was scored as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from homeostat.console.label_origins import describe_origin, describe_sources
from homeostat.console.web.pages.evidence import describe_evidence, value_of
from homeostat.console.web.pages.page import PAGES, Page
from homeostat.console.web.rendering import page
from homeostat.console.web.site import Site
from homeostat.errors import DataError
from homeostat.monitoring.report.decisions import meaning_of
from homeostat.registry.pages import version_page

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop

router = APIRouter(include_in_schema=False)
PAGES.add("ask", Page(router, "Ask", place=60))


@router.get("/projects/{name}/ask")
def ask(request: Request, name: str, key: str = "") -> Response:
    """The question, and its answer where a key is given."""
    site: Site = request.app.state.site
    loop = site.loop(name)
    shown: dict[str, Any] = {"key": key.strip(), "answer": None, "mistake": None}
    status = 200
    if shown["key"]:
        from homeostat.flows.queries.why import why

        try:
            shown["answer"] = _describe(site, loop, why(loop, shown["key"], top=12))
        except DataError as mistake:
            shown["mistake"], status = str(mistake), 404
    template = "answer.html" if "HX-Request" in request.headers else "ask.html"
    if template == "answer.html":
        status = 200  # htmx drops fragments with an error status
    return page(request, template, status, project=name, tab="ask", key_name=loop.key, **shown)


def _describe(site: Site, loop: Loop, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with what the page adds: where the label came from in words, bars, evidence, a link to MLflow."""
    label, model, promoted, ui = answer["label"], answer["model"], answer["promoted_by"], site.mlflow_url(loop)
    score = answer["score"]
    scores = sorted(score.items(), key=lambda named: -named[1])[:10] if isinstance(score, dict) else []
    return answer | {
        "scores": scores,
        "origin": None if label is None else describe_origin(label),
        "agrees": None if label is None else str(label["label"]) == str(answer["prediction"]),
        "sources": describe_sources(model["labels"]) if model and model["labels"] else None,
        "bars": _bars(answer["reasons"]) if isinstance(answer["reasons"], list) else [],
        "trouble": answer["reasons"] if isinstance(answer["reasons"], str) else None,
        "evidence": describe_evidence(promoted["evidence"]) if promoted else [],
        "decision": _name_decision(promoted["decision"], answer["model_version"]) if promoted else None,
        "page": version_page(ui, loop.paths.model_name, answer["model_version"]) if ui else None,
        "regression": loop.project.task.value == "regression",
    }


def _name_decision(kind: str, version: int) -> str:
    stage = "rollback" if kind == "rollback" else "promotion"
    return meaning_of(stage, kind).title.format(version=version)


@dataclass(frozen=True, slots=True)
class Bar:
    """A contribution as a bar in a picture 100 wide, whose middle is zero: where it starts, and how long it is."""

    feature: str
    value: str
    up: bool
    x: float
    width: float


def _bars(reasons: list[list[Any]]) -> list[Bar]:
    largest = max((abs(value) for _, value in reasons), default=0.0) or 1.0
    scale = 48 / largest
    return [
        Bar(
            feature,
            value_of(float(value)),
            value >= 0,
            round(50 - scale * max(0.0, -value), 2),
            round(scale * abs(value), 2),
        )
        for feature, value in reasons
    ]
