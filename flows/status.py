"""Where a loop stands, and whether all is well with it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flows.loop import Loop
from flows.stages import list_due
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


def find_overdue(loop: Loop, now: datetime) -> datetime | None:
    """The oldest slot that should be done at `now`, had the schedule been kept; None where all is in time.

    A slot may wait for the second time that the schedule comes round after it: two ticks, or two of its cron line.
    """
    due = list_due(loop, _two_rounds_before(loop, now))
    return datetime.fromisoformat(due[0]) if due else None


def _two_rounds_before(loop: Loop, now: datetime) -> datetime:
    if loop.project.schedule.cron is None:
        return now - 2 * loop.project.loop.tick
    from zoneinfo import ZoneInfo

    from prefect._vendor.croniter import croniter

    from flows.deployments import find_schedule

    schedule = find_schedule(loop.project)
    rounds = croniter(schedule.cron, now.astimezone(ZoneInfo(schedule.timezone)))
    rounds.get_prev(datetime)
    return rounds.get_prev(datetime).astimezone(now.tzinfo)
