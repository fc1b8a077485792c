"""Where a loop stands, and whether all is well with it."""

from __future__ import annotations

from typing import Any

from flows.loop import Loop
from homeostat.records import BatchState, WindowStatus
from pipelines.sources import FOREVER


def status(loop: Loop) -> dict[str, Any]:
    """The champion, the newest tick and window, what waits, and `problems`; healthy means there are none."""
    store = loop.store
    decided = store.last_outcome("decide", FOREVER) or {}
    champion = loop.champion()
    known = [w for w in store.list_windows() if w.status is not WindowStatus.UNKNOWN]
    newest = known[-1] if known else None
    held, waiting = (len(store.list_batches(s)) for s in (BatchState.HELD, BatchState.VALIDATED))
    problems = []
    if champion is None:
        problems.append("there is no champion yet")
    if waiting:
        problems.append(f"{waiting} batches wait to be scored")
    if held:
        problems.append(f"{held} batches are held in quarantine")
    if decided.get("blocked"):
        problems.append(f"training is blocked: the model caused {decided['caused']:.0%} of its labels")
    if not store.verify_journal().sound:
        problems.append("the journal was edited")
    return {
        "project": loop.project.name,
        "scope": loop.scope.value,
        "healthy": not problems,
        "problems": problems,
        "champion": champion.version if champion else None,
        "last_tick": store.last_tick("notify"),
        "batches_waiting": waiting,
        "batches_held": held,
        "metric": loop.project.metric,
        "realized": newest.realized if newest else None,
        "realized_status": newest.status.value if newest else "unknown",
        "coverage": newest.coverage if newest else None,
        "caused": decided.get("caused", 0.0),
        "alerts_undelivered": len(store.list_alerts(undelivered=True)),
    }
