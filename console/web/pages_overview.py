"""The overview: every project at a glance, and one project's loop over time."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from console.web.rendering import page

router = APIRouter(include_in_schema=False)


@router.get("/")
def overview(request: Request) -> Response:
    """Every project, healthy or not, and why."""
    return page(request, "overview.html")
