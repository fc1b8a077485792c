"""Which HTTP status a mistake or a fault has."""

from __future__ import annotations

from homeostat.console.web.site import UnknownProject
from homeostat.errors import HomeostatError, LakeError, RegistryError, StoreError
from homeostat.flows.posts import PostRefused


def status_of(fault: HomeostatError) -> int:
    """404 for an unknown project, 422 for rows without form, 503 where what is needed is away, else 409."""
    if isinstance(fault, UnknownProject):
        return 404
    if isinstance(fault, PostRefused):
        return 422
    return 503 if isinstance(fault, StoreError | LakeError | RegistryError) else 409
