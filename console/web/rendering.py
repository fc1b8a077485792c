"""Pages from templates."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from console.output import format_cell
from console.web.access import person_of
from console.web.site import Site

HERE = Path(__file__).parent
TABS = ("overview", "decisions", "label", "approve", "alerts", "ask")


def page(request: Request, template: str, status: int = 200, **shown: Any) -> Response:
    """A template with what every page needs: the site, the person, the CSRF token, the projects."""
    site: Site = request.app.state.site
    context = {
        "request": request,
        "site": site,
        "person": person_of(request),
        "csrf": request.state.csrf,
        "signed_in": request.state.way == "session",
        "projects": [found.project.name for found in site.projects() if found.project],
        "project": None,
        "tabs": TABS,
        "tab": "overview",
    }
    return HTMLResponse(environment().get_template(template).render({**context, **shown}), status)


@lru_cache
def environment() -> Environment:
    """The templates, with filters `cell`, `when` and `path`."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"cell": format_cell, "when": _when, "path": lambda text: quote(str(text), safe="")}
    return made


def _when(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M}"
