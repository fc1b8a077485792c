"""The application: its routes, its doors, and what happens to a mistake."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from homeostat.console.arguments import person
from homeostat.console.faults import append_fault
from homeostat.console.web.api.app import add_api
from homeostat.console.web.errors import status_of
from homeostat.console.web.pages.page import list_pages
from homeostat.console.web.rendering import page
from homeostat.console.web.security.dependencies import at_least
from homeostat.console.web.security.middleware import Guard
from homeostat.console.web.security.policy import Gate
from homeostat.console.web.security.request import API
from homeostat.console.web.security.sessions import Sessions, read_key
from homeostat.console.web.security.settings import AccessSettings
from homeostat.console.web.security.users import ACCESS_FILE
from homeostat.console.web.site import Site
from homeostat.console.web.static_files import HERE, Statics
from homeostat.errors import HomeostatError


def make_app(site: Site, access: AccessSettings | None = None) -> FastAPI:
    """The page and the API over an installation; without settings of access it is for its own machine alone."""
    access = access or AccessSettings(opened=False, owner=person(), people=site.root / ACCESS_FILE)
    app = FastAPI(title="Homeostat", version="1", docs_url=None, redoc_url=None, openapi_url=f"{API}v1/openapi.json")
    app.state.site = site
    app.state.gate = Gate(access, Sessions(read_key(site.root)), lambda: site.clock().timestamp())
    app.mount("/static", Statics(directory=HERE / "static"), name="static")
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)
    app.add_middleware(Guard, gate=app.state.gate, tell=_answer, keep=_keeper(site))
    app.add_exception_handler(HomeostatError, _tell_mistake)
    app.add_exception_handler(HTTPException, _tell_refusal)
    app.add_exception_handler(RequestValidationError, _tell_misfit)
    app.add_api_route("/healthz", _healthz, include_in_schema=False)
    for _, entry in list_pages():
        app.include_router(entry.router, dependencies=[Depends(at_least(entry.role))])
    add_api(app)
    return app


def _healthz() -> dict[str, object]:
    return {"healthy": True, "version": version("homeostat")}


def _keeper(site: Site) -> Callable[[BaseException, str, str], None]:
    def keep(fault: BaseException, asked: str, reference: str) -> None:
        log = append_fault(fault, f"console {reference} {asked}", site.clock(), (site.root,))
        print(f"homeostat: a fault, {reference}; its traceback is in {log or 'no file'}.", file=sys.stderr, flush=True)

    return keep


def _tell_mistake(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HomeostatError)
    return _answer(request, status_of(fault), str(fault))


def _tell_misfit(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    problems = [
        f"{'.'.join(str(part) for part in error['loc'][1:]) or 'the body'}: {error['msg']}" for error in fault.errors()
    ]
    return _answer(request, 422, "; ".join(problems) + ".")


def _tell_refusal(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return _answer(request, fault.status_code, str(fault.detail), fault.headers)


def _answer(request: Request, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    if request.url.path.startswith(API):
        return JSONResponse({"detail": message}, status, headers)
    return page(request, "mistake.html", status, message=message, tab="")
