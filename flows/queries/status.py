"""Where a loop stands, and whether all is well with it."""

from __future__ import annotations

from datetime import datetime

from homeostat.flows.facts import CHALLENGER
from homeostat.flows.health.problems import find_problems
from homeostat.flows.learning.holds import cooling_until, describe_hold, standing_hold
from homeostat.flows.loop import Loop
from homeostat.flows.schedule import next_slot
from homeostat.pipelines.data.sources import FOREVER
from homeostat.records import ApprovalState, BatchState, Document, Severity, WindowStatus
from homeostat.store import journal

NEWEST_LINKS = 200
"""How much of the journal's end is looked at where nobody has verified it: `journal verify` looks at it all."""


def status(loop: Loop, at: datetime | None = None, verdict: journal.Verdict | None = None) -> Document:
    """The champion, the newest tick and window, what waits, and `problems`; healthy means there are none.

    `at` is the time of asking: without it, an alert that was ever snoozed is not counted as open, and nothing is said
    of clock and schedule. `verdict` is what is known of the journal; without it, its newest links are verified. Reads
    no table as a whole.
    """
    store = loop.store
    decided = store.last_outcome("decide", FOREVER) or {}
    champion = loop.champion()
    newest = store.newest_known()
    held, waiting = (store.count_batches(s) for s in (BatchState.HELD, BatchState.VALIDATED))
    last = store.last_tick("notify")
    clock = last if loop.replaying or at is None else at
    alerts = store.count_open_alerts(at)
    sound = verdict.sound if verdict is not None else _end_is_sound(loop)
    problems = find_problems(loop.project, store, at, replaying=loop.replaying, sound=sound)
    return {
        "project": loop.project.name,
        "scope": loop.scope.value,
        "healthy": not problems,
        "problems": [problem.message for problem in problems],
        "problem_details": [problem.as_json() for problem in problems],
        "champion": champion.version if champion else None,
        "champion_since": champion.promoted_at if champion else None,
        "last_tick": last,
        "next_tick": next_slot(loop.project, last),
        "batches_waiting": waiting,
        "batches_held": held,
        "metric": loop.project.metric,
        "realized": newest.realized if newest else None,
        "realized_status": newest.status if newest else WindowStatus.UNKNOWN.value,
        "realized_at": newest.at if newest else None,
        "coverage": newest.labels / newest.rows if newest and newest.rows else None,
        "caused": decided.get("caused", 0.0),
        "alerts_undelivered": store.count_undelivered(),
        "alerts_open": sum(alerts.values()),
        "alerts_critical": alerts.get(Severity.CRITICAL, 0),
        "challengers_waiting": _challengers(loop),
        "rollback_holds": None if (hold := standing_hold(loop, clock)) is None else describe_hold(hold),
        "nobody_asked_until": cools_until(loop, clock),
        "labels_waiting": store.count_open_tasks(),
    }


def _challengers(loop: Loop) -> int:
    """How many challengers wait for a person: those put before one, or the one that waits by its alias alone."""
    asked = loop.store.count_open_approvals()
    return asked or int(loop.store.get_fact(CHALLENGER) is not None)


def cools_until(loop: Loop, at: datetime | None) -> datetime | None:
    """Until when nobody is asked to approve again, after a rejection; `at` is the time of asking, where it is known."""
    rejected = loop.store.list_approvals(ApprovalState.REJECTED)
    ends = [until for approval in rejected if (until := cooling_until(loop, approval)) is not None]
    return max((until for until in ends if at is None or until > at), default=None)


def _end_is_sound(loop: Loop) -> bool:
    """Whether the newest links of the journal hold and follow each other."""
    links = loop.store.list_journal(newest=NEWEST_LINKS)
    return journal.verify_end(links).sound
