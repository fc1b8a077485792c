"""What a person did, told to Prefect as an event that wakes what waits for it; nothing depends on its being heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.events import MODEL_APPROVED, MODEL_REJECTED, announce

if TYPE_CHECKING:
    from flows.loop import Loop


def tell_approved(loop: Loop, version: int | None, by: str) -> None:
    """A version became champion by a person's word."""
    _announce(loop, MODEL_APPROVED, {"version": version, "by": by})


def tell_rejected(loop: Loop, version: int, by: str, why: str) -> None:
    """A version was rejected by a person."""
    _announce(loop, MODEL_REJECTED, {"version": version, "by": by, "why": why})


def _announce(loop: Loop, event: str, payload: dict[str, Any]) -> None:
    if not loop.replaying:
        announce(event, loop.project.name, payload)
