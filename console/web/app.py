"""The application: its routes, its doors, and what happens to a mistake."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from console.web import pages_overview
from console.web.access import Person, Role
from console.web.rendering import HERE, page
from console.web.site import Site, UnknownProject
from homeostat.errors import HomeostatError

API = "/api/"


def make_app(site: Site) -> FastAPI:
    """The page and the API over an installation."""
    app = FastAPI(title="Homeostat", version="1", docs_url=None, redoc_url=None, openapi_url=f"{API}v1/openapi.json")
    app.state.site = site
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.middleware("http")(_identify)
    app.add_exception_handler(HomeostatError, _tell_mistake)
    app.add_exception_handler(HTTPException, _tell_refusal)
    app.add_api_route("/healthz", _healthz, include_in_schema=False)
    for module in (pages_overview,):
        app.include_router(module.router)
    return app


def _healthz() -> dict[str, object]:
    return {"healthy": True, "version": "0.1.0"}


async def _identify(request: Request, go_on) -> Response:  # type: ignore[no-untyped-def]
    request.state.person = Person("somebody at this machine", Role.ADMIN)
    return await go_on(request)


def _tell_mistake(request: Request, fault: Exception) -> Response:
    status = 404 if isinstance(fault, UnknownProject) else 409
    return _told(request, status, str(fault))


def _tell_refusal(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return _told(request, fault.status_code, str(fault.detail))


def _told(request: Request, status: int, message: str) -> Response:
    if request.url.path.startswith(API):
        return JSONResponse({"detail": message}, status)
    return page(request, "mistake.html", status, message=message, tab="")
