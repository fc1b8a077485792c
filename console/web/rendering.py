"""Pages from templates, and parts of pages that are sent again only where they changed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from homeostat.console.output import format_cell
from homeostat.console.web.pages.page import list_pages, list_tabs
from homeostat.console.web.security.dependencies import person_of
from homeostat.console.web.site import Site
from homeostat.console.web.static_files import HERE, static
from homeostat.durations import instant
from homeostat.monitoring.report.story import count, format_text, metric_name, number

EMPTY = "none"


def page(request: Request, template: str, status: int = 200, **shown: object) -> Response:
    """A template with what every page needs: the site, the person, the CSRF token, the projects."""
    return HTMLResponse(render(request, template, **shown), status)


def render(request: Request, template: str, **shown: object) -> str:
    """The text of a template with what every page needs."""
    site: Site = request.app.state.site
    person = person_of(request)
    context = {
        "request": request,
        "site": site,
        "person": person,
        "csrf": request.state.csrf,
        "signed_in": request.state.way == "session",
        "projects": [entry.project.name for entry in site.projects() if entry.project],
        "project": None,
        "tabs": list_tabs(person.role),
        "tab": "overview",
        "now": site.clock(),
    }
    return environment().get_template(template).render({**context, **shown})


def live(request: Request, template: str, state: str, **shown: object) -> Response:
    """A part of a page that polls: 204 where its content is still that of the token `state`.

    The template gets `token`, the new one, for its next request.
    """
    text = render(request, template, token=EMPTY, **shown)
    token = hashlib.sha256(text.encode()).hexdigest()[:16]
    if token == state:
        return Response(status_code=204)
    return HTMLResponse(render(request, template, token=token, **shown))


def environment() -> Environment:
    """The templates of all pages, with filters for cells, times, numbers and parts of addresses."""
    folders = [page.templates for _, page in list_pages() if page.templates is not None]
    return _environment((HERE / "templates", *folders))


@lru_cache
def _environment(folders: tuple[Path, ...]) -> Environment:
    made = Environment(
        loader=FileSystemLoader(folders),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["static"] = static
    made.filters |= {
        "cell": format_cell,
        "when": _when,
        "ago": ago,
        "instant": instant,
        "path": lambda text: quote(str(text), safe=""),
        "number": number,
        "count": count,
        "metric": metric_name,
        "text": format_text,
        "sentence": lambda text: text[:1].upper() + text[1:],
    }
    return made


def ago(at: datetime, now: datetime) -> str:
    """How long ago or ahead a time is, in words; empty where that is more than a month.

    >>> ago(datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2024, 1, 1, 15, tzinfo=UTC))
    '3 hours ago'
    >>> ago(datetime(2024, 1, 1, 15, 1, tzinfo=UTC), datetime(2024, 1, 1, 15, tzinfo=UTC))
    'in 1 minute'
    """
    apart = abs(now - at)
    if apart < timedelta(minutes=1):
        return "just now" if at <= now else "in less than a minute"
    if apart > timedelta(days=31):
        return ""
    sizes = {"day": timedelta(days=1), "hour": timedelta(hours=1), "minute": timedelta(minutes=1)}
    unit, many = next((name, apart // size) for name, size in sizes.items() if apart >= size)
    text = f"{many} {unit}{'s' if many != 1 else ''}"
    return f"{text} ago" if at <= now else f"in {text}"


def _when(at: datetime | None) -> str:
    return "–" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
