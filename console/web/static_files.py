"""Static files: kept by browsers for a year under a name that changes with their content, asked for anew without it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from fastapi import Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

HERE = Path(__file__).parent
YEAR = "public, max-age=31536000, immutable"
ANEW = "no-cache"


class Statics(StaticFiles):
    """The files of `static/`; what is asked for with its version may be kept, anything else is asked for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, its ETag, and how long it may be kept."""
        response = await super().get_response(path, scope)
        query: bytes = scope["query_string"]
        response.headers["Cache-Control"] = YEAR if query.startswith(b"v=") else ANEW
        return response


@lru_cache(maxsize=256)
def static(name: str) -> str:
    """The address of a static file in the version that is installed."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:10]}"
