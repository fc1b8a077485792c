"""The header by which the same request may be sent again."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header, HTTPException, Request

HEADER = "Idempotency-Key"
_FORM = re.compile(r"[!-~]{1,150}")
Key = Annotated[
    str | None,
    Header(
        alias=HEADER,
        description="Your own name for this request, up to 150 ASCII characters without spaces. For 30 days, the same "
        "request with this key is done once and gets the same response; another request is refused with 422.",
    ),
]
"""The header as a parameter, so that the API's description shows it; what it holds is read by `key_of`."""


def key_of(request: Request) -> str | None:
    """The request's key. Raises HTTPException 422 where it is none."""
    key = request.headers.get(HEADER)
    if key is not None and not _FORM.fullmatch(key):
        raise HTTPException(422, f"{HEADER}: expected 1 to 150 ASCII characters without spaces, got {key[:60]!r}.")
    return key
