"""The extension point for pages: each is registered in `PAGES`, from which the application and its tabs are built.

A package adds one without a change to ours:

    router = APIRouter(include_in_schema=False)

    @router.get("/projects/{name}/costs")
    def costs(request: Request, name: str) -> Response:
        return page(request, "costs.html", project=name, tab="costs")

    PAGES.add("costs", Page(router, "Costs", place=70, templates=Path(__file__).parent / "templates"))

and names this module under the entry point group `homeostat` (see `homeostat.extensions`).
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from fastapi import APIRouter

from homeostat.console.web.security.roles import Role
from homeostat.extensions import Extensions


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the console.

    `router` has its routes, which ask at least `role` of everybody. With a `title` it is a tab of every project, at
    `/projects/PROJECT/NAME`, where NAME is the one it is registered under; tabs stand in the order of `place`.
    `templates` is the folder of its Jinja templates, which can extend `base.html`.
    """

    router: APIRouter
    title: str | None = None
    place: int = 100
    role: Role = Role.VIEWER
    templates: Path | None = None


PAGES: Extensions[Page] = Extensions("page")


def list_pages() -> list[tuple[str, Page]]:
    """Every page with its name, in the order of their places; ours are found in this package."""
    _load_ours()
    return sorted(PAGES.items(), key=lambda named: named[1].place)


def list_tabs(role: Role) -> list[tuple[str, str]]:
    """Name and title of the pages that are tabs of a project, for somebody of this role."""
    return [(name, page.title) for name, page in list_pages() if page.title and role >= page.role]


@cache
def _load_ours() -> None:
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(import_module(package).__path__, f"{package}."):
        import_module(module.name)
