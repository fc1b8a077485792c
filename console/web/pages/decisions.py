"""The decisions: the journal as a story, each with its evidence and where more of it can be seen."""

from __future__ import annotations

import os
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
"""How many times a page tells of."""


@router.get("/projects/{name}/decisions")
def decisions(
    request: Request, name: str, kind: str = "", everything: bool = False, before: str = "", at: str = ""
) -> Response:
    """What was decided and done, newest first: before a time, or from the tick `at` on, which is told whole."""
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
        kinds=[(each, name_kind(each)) for each in loop.store.list_journal_kinds()],
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
    """Whether the journal holds; nothing where the asker knows it already."""
    site: Site = request.app.state.site
    return live(request, "proof.html", state, project=name, **_proof(site, site.loop(name)))


@router.get("/projects/{name}/evidently/{run}")
def evidently(request: Request, name: str, run: str) -> Response:
    """To the page in MLflow that shows the drift report of a check."""
    site: Site = request.app.state.site
    ui = site.mlflow_url(site.loop(name))
    if ui is None or not run.isalnum():
        raise HTTPException(404, f"{name}: where MLflow's pages are is not known here; 'homeostat up' starts them.")
    told = os.environ.get("MLFLOW_TRACKING_URI", "")
    return RedirectResponse(evidently_page(ui, run, told.rstrip("/") if told.startswith("http") else None))


def _proof(site: Site, loop: Loop) -> dict[str, Any]:
    return {"verdict": site.proofs.verdict(loop)}


def _whole(loop: Loop, tick: datetime) -> list[Chapter]:
    """A tick with all that was said at it; an empty chapter where nothing was."""
    return tell_story(loop.store.list_links([tick]), everything=True) or [Chapter(tick, (), 0)]


def _read(text: str) -> datetime | None:
    if not text:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise HTTPException(400, f"{text!r} is no time; give it as in 2024-01-31 or 2024-01-31T06:00:00Z.") from None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read


def _links(site: Site, loop: Loop, chapters: list[Chapter]) -> dict[str, Any]:
    """Addresses: of each tick's check and flow run, and of each version's page; only what is known."""
    mlflow, prefect, name = site.mlflow_url(loop), site.prefect_url(), loop.project.name
    ticks = [chapter.at for chapter in chapters if any(entry.decided for entry in chapter.entries)]
    found: dict[str, Any] = {"checks": {}, "reports": {}, "flows": {}, "versions": {}}
    if mlflow:
        checks, model = loop.store.list_check_runs(ticks), loop.paths.model_name
        base = f"/projects/{quote(name, safe='')}/evidently"
        found["checks"] = {at: run_page(mlflow, run) for at, (run, _) in checks.items()}
        found["reports"] = {at: f"{base}/{run}" for at, (run, status) in checks.items() if status != "unknown"}
        found["versions"] = {version: version_page(mlflow, model, version) for version in list_versions(chapters)}
    if prefect:
        found["flows"] = {at: _flow_page(prefect, f"{name} tick {instant(at)}") for at in ticks}
    return found


def _flow_page(prefect: str, run: str) -> str:
    """Prefect's list of flow runs of a name, whenever they were."""
    return f"{prefect}/runs?flow-run-search={quote(run, safe='')}"
