"""Why nothing was scored, in a sentence: what to tell on the spot, where somebody waits for scores."""

from __future__ import annotations

from homeostat.flows.loop import Loop
from homeostat.records import BatchState


def why_nothing(loop: Loop) -> str | None:
    """Why a loop could score nothing, by what it decided and did last; None where nothing was there to be scored."""
    last = loop.store.last_tick("act")
    if last is None:
        return None
    did = loop.store.get_stage(last, "act") or {}
    if loop.version_of("champion") is None:
        decision = loop.store.get_decision(last, "retraining")
        reasons = "" if decision is None else "; ".join(decision.reasons)
        return str(did.get("problem") or reasons or "no model could be trained").rstrip(".")
    held = loop.store.list_batches(BatchState.HELD)
    return f"{len(held)} batches are held back, the last because {held[-1].reason}".rstrip(".") if held else None
