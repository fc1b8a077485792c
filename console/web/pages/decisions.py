"""The decisions: the journal as a story, with evidence and links to MLflow and Prefect."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from homeostat.console.web.journal_text import QUIET_ACTS, Chapter, list_versions, name_kind, tell_story
from homeostat.console.web.pages.page import PAGES, Page
from homeostat.console.web.rendering import live, page
from homeostat.console.web.site import Site
from homeostat.durations import instant
from homeostat.monitoring.report.decisions import QUIET_KINDS
from homeostat.registry.pages import evidently_page, run_page, version_page

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop

router = APIRouter(include_in_schema=False)
PAGES.add("decisions", Page(router, "Decisions", place=20))

CHAPTERS = 20
"""How many ticks a page shows."""


@router.get("/projects/{name}/decisions")
def decisions(
    request: Request, name: str, kind: str = "", everything: bool = False, before: str = "", at: str = ""
) -> Response:
    """What was decided and done, newest first: before a time, or from the tick `at` on, which is shown whole."""
    site: Site = request.app.state.site
    loop = site.loop(name)
    chosen, until, tick = kind or None, _read(before), _read(at)
    chapters = _whole(loop, tick) if tick is not None else []
    if tick is not None:
        until = tick
    times = loop.store.list_journal_times(
        quiet=() if everything else QUIET_KINDS,
        hidden=() if everything else QUIET_ACTS,
        only=chosen,
        before=until,
        newest=CHAPTERS + 1,
    )
    more, times = len(times) > CHAPTERS, times[:CHAPTERS]
    chapters += tell_story(loop.store.list_links(times), everything=everything, only=chosen)
    return page(
        request,
        "decisions.html",
        project=name,
        tab="decisions",
        chapters=chapters,
        links=_links(site, loop, chapters),
        kinds=[(known, name_kind(known)) for known in loop.store.list_journal_kinds()],
        chosen=kind,
        everything=everything,
        before=before,
        at=tick,
        older=instant(times[-1]) if more and times else None,
        token="none",
        **_proof(site, loop),
    )


@router.get("/projects/{name}/fragments/proof")
def proof(request: Request, name: str, state: str = "") -> Response:
    """Whether the journal is intact; 204 where that has not changed."""
    site: Site = request.app.state.site
    return live(request, "proof.html", state, project=name, **_proof(site, site.loop(name)))


@router.get("/projects/{name}/evidently/{run}")
def evidently(request: Request, name: str, run: str) -> Response:
    """To the page in MLflow that shows the drift report of a check."""
    site: Site = request.app.state.site
    ui = site.mlflow_url(site.loop(name))
    if ui is None or not run.isalnum():
        raise HTTPException(404, f"{name}: no MLflow server is known here; 'homeostat up' starts one.")
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    return RedirectResponse(evidently_page(ui, run, server.rstrip("/") if server.startswith("http") else None))


def _proof(site: Site, loop: Loop) -> dict[str, Any]:
    return {"verdict": site.proofs.verdict(loop)}


def _whole(loop: Loop, tick: datetime) -> list[Chapter]:
    """A tick with everything decided and done at it; an empty chapter where there was nothing."""
    return tell_story(loop.store.list_links([tick]), everything=True) or [Chapter(tick, (), 0)]


def _read(text: str) -> datetime | None:
    if not text:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise HTTPException(
            400, f"{text!r} is not a time. Expected, for example, 2024-01-31 or 2024-01-31T06:00:00Z."
        ) from None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of other pages: by tick its check, drift report and flow run, by version its model; only known ones."""

    checks: dict[datetime, str] = field(default_factory=dict)
    reports: dict[datetime, str] = field(default_factory=dict)
    flows: dict[datetime, str] = field(default_factory=dict)
    versions: dict[int, str] = field(default_factory=dict)


def _links(site: Site, loop: Loop, chapters: list[Chapter]) -> Links:
    mlflow, prefect, name = site.mlflow_url(loop), site.prefect_url(), loop.project.name
    ticks = [chapter.at for chapter in chapters if any(entry.decided for entry in chapter.entries)]
    flows = {at: _flow_page(prefect, f"{name} tick {instant(at)}") for at in ticks} if prefect else {}
    if mlflow is None:
        return Links(flows=flows)
    checks, model = loop.store.list_check_runs(ticks), loop.paths.model_name
    base = f"/projects/{quote(name, safe='')}/evidently"
    return Links(
        checks={at: run_page(mlflow, run) for at, (run, _) in checks.items()},
        reports={at: f"{base}/{run}" for at, (run, status) in checks.items() if status != "unknown"},
        flows=flows,
        versions={version: version_page(mlflow, model, version) for version in list_versions(chapters)},
    )


def _flow_page(prefect: str, run: str) -> str:
    """Prefect's list of flow runs of a name, whenever they were."""
    return f"{prefect}/runs?flow-run-search={quote(run, safe='')}"
