"""Ask: the answer of `why` for one key, as a story."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from homeostat.console.label_origins import describe_origin, describe_sources
from homeostat.console.web.pages.evidence import describe_evidence, value_of
from homeostat.console.web.pages.page import PAGES, Page
from homeostat.console.web.rendering import page
from homeostat.console.web.site import Site
from homeostat.errors import DataError
from homeostat.registry.pages import version_page

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
            shown["answer"] = _told(site, loop, why(loop, shown["key"], top=12))
        except DataError as mistake:
            shown["mistake"], status = str(mistake), 404
    template = "answer.html" if "HX-Request" in request.headers else "ask.html"
    if template == "answer.html":
        status = 200  # a fragment that says what was wrong is to be shown, not dropped
    return page(request, template, status, project=name, tab="ask", key_name=loop.key, **shown)


def _told(site: Site, loop: Any, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with what a page adds: words for the label's origin, bars, evidence in blocks, a link to MLflow."""
    label, model, promoted, ui = answer["label"], answer["model"], answer["promoted_by"], site.mlflow_url(loop)
    score = answer["score"]
    scores = sorted(score.items(), key=lambda each: -each[1])[:10] if isinstance(score, dict) else []
    return answer | {
        "scores": scores,
        "origin": None if label is None else describe_origin(label),
        "agrees": None if label is None else str(label["label"]) == str(answer["prediction"]),
        "sources": describe_sources(model["labels"]) if model and model["labels"] else None,
        "bars": _bars(answer["reasons"]) if isinstance(answer["reasons"], list) else [],
        "trouble": answer["reasons"] if isinstance(answer["reasons"], str) else None,
        "evidence": describe_evidence(promoted["evidence"]) if promoted else [],
        "page": version_page(ui, loop.paths.model_name, answer["model_version"]) if ui else None,
        "regression": loop.project.task.value == "regression",
    }


def _bars(reasons: list[list[Any]]) -> list[dict[str, Any]]:
    """Contributions as bars of a picture 100 wide whose middle is nothing: where each starts, and how long it is."""
    largest = max((abs(value) for _, value in reasons), default=0.0) or 1.0
    return [
        {
            "feature": feature,
            "value": value_of(float(value)),
            "up": value >= 0,
            "x": round(50 - 48 * max(0.0, -value) / largest, 2),
            "width": round(48 * abs(value) / largest, 2),
        }
        for feature, value in reasons
    ]
