"""A page that another package adds: registered once, it is served, is a tab, and is guarded like ours."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from guarded import Console, console, sign_in
from shells import PROJECT

from homeostat.console.web.pages.page import PAGES

MODULE = """
from pathlib import Path

from fastapi import APIRouter, Request, Response

from homeostat.console.web.pages.page import PAGES, Page
from homeostat.console.web.rendering import page
from homeostat.console.web.security.roles import Role

router = APIRouter(include_in_schema=False)


@router.get("/projects/{name}/costs")
def costs(request: Request, name: str) -> Response:
    return page(request, "costs.html", project=name, tab="costs", spent=request.app.state.site.find(name).metric)


PAGES.add("costs", Page(router, "What it costs", 70, Role.APPROVER, Path(__file__).parent / "templates"))
"""
TEMPLATE = '{% extends "base.html" %}{% block main %}<h1>Costs of {{ project }}: {{ spent }}</h1>{% endblock %}'


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """A console with a project, whose installation has a package with a page for approvers."""
    package = tmp_path / "other"
    (package / "templates").mkdir(parents=True)
    (package / "costs_page.py").write_text(MODULE)
    (package / "templates" / "costs.html").write_text(TEMPLATE)
    monkeypatch.syspath_prepend(str(package))
    importlib.import_module("costs_page")
    try:
        with console(tmp_path / "root") as served:
            (folder := tmp_path / "root" / "projects" / "orders").mkdir()
            (folder / "homeostat.toml").write_text(PROJECT)
            yield served
    finally:
        PAGES.remove("costs")
        del sys.modules["costs_page"]


def test_an_added_page_is_a_tab_of_every_project_and_shows_its_own_template(served: Console) -> None:
    with served.browser() as client:
        sign_in(client, served.tokens["cem"])
        shown = client.get("/projects/small/costs")
        assert shown.status_code == 200
        assert "<h1>Costs of small: auc</h1>" in shown.text
        assert '<a href="/projects/small/costs" aria-current="page">What it costs</a>' in shown.text
        tabs = [name for name, page in PAGES.items() if page.title]
        assert [shown.text.count(f'href="/projects/small/{name}"') for name in tabs] == [1] * len(tabs)


def test_an_added_page_is_closed_to_strangers_and_to_those_below_its_role(served: Console) -> None:
    with served.browser() as client:
        asked = client.get("/projects/small/costs")
        assert asked.status_code == 303 and asked.headers["location"].startswith("/login?next=")
        sign_in(client, served.tokens["bob"])
        refused = client.get("/projects/small/costs")
        assert refused.status_code == 403 and "this needs approver" in refused.text
        assert "What it costs" not in client.get("/projects/small/alerts").text
