"""What a person did, told to Prefect as an event that wakes what waits for it; nothing depends on its being heard."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.loop import Loop


def tell_approved(loop: Loop, version: int | None, by: str) -> None:
    """A version became champion by a person's word."""
    _announce(loop, "homeostat.model.approved", {"version": version, "by": by})


def tell_rejected(loop: Loop, version: int, by: str, why: str) -> None:
    """A version was rejected by a person."""
    _announce(loop, "homeostat.model.rejected", {"version": version, "by": by, "why": why})


def _announce(loop: Loop, event: str, payload: dict[str, Any]) -> None:
    if not loop.replaying and find_spec("flows.events") is not None:
        import_module("flows.events").announce(event, loop.project.name, payload)
