"""Where a loop stands, and whether all is well with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from homeostat.flows.facts import CHALLENGER
from homeostat.flows.learning.holds import cooling_until, describe_hold, standing_hold
from homeostat.flows.loop import Loop, slot, tick_index
from homeostat.flows.stages.sequence import list_due
from homeostat.pipelines.data.sources import FOREVER
from homeostat.records import ApprovalState, BatchState, Document, Severity, WindowStatus
from homeostat.store import journal

NEWEST_LINKS = 200
"""How much of the journal's end is looked at where nobody has verified it: `journal verify` looks at it all."""


def status(loop: Loop, at: datetime | None = None, verdict: journal.Verdict | None = None) -> Document:
    """The champion, the newest tick and window, what waits, and `problems`; healthy means there are none.

    `at` is the time of asking: without it, an alert that was ever snoozed is not counted as open. `verdict` is what is
    known of the journal; without it, its newest links are verified. Reads no table as a whole.
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
    return {
        "project": loop.project.name,
        "scope": loop.scope.value,
        "healthy": not (problems := _problems(champion is not None, waiting, held, decided, sound)),
        "problems": problems,
        "champion": champion.version if champion else None,
        "champion_since": champion.promoted_at if champion else None,
        "last_tick": last,
        "next_tick": next_slot(loop, last),
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


def find_overdue(loop: Loop, now: datetime) -> datetime | None:
    """The oldest slot that should be done at `now`, had the schedule been kept; None where all is in time.

    A slot may wait for the second time that the schedule comes round after it: two ticks, or two of its cron line.
    """
    due = list_due(loop, _two_rounds_before(loop, now))
    return datetime.fromisoformat(due[0]) if due else None


def _two_rounds_before(loop: Loop, now: datetime) -> datetime:
    if loop.project.schedule.cron is None:
        return now - 2 * loop.project.loop.tick
    earlier = _cron_times(loop, now, reverse=True)
    next(earlier)
    return next(earlier).astimezone(now.tzinfo)


def _cron_times(loop: Loop, at: datetime, reverse: bool = False) -> Iterator[datetime]:
    """The times of the project's cron line after a time, or before it, in the schedule's time zone."""
    from zoneinfo import ZoneInfo

    from cronsim import CronSim

    from homeostat.flows.orchestration.deployments import find_schedule

    schedule = find_schedule(loop.project)
    return CronSim(schedule.cron, at.astimezone(ZoneInfo(schedule.timezone)), reverse=reverse)


def next_run(loop: Loop, last: datetime | None, now: datetime) -> datetime:
    """When the schedule runs the slot after the last tick: at its end, or when the cron line comes round after it.

    It lies in the past where the slot is due without a cron.
    """
    end = next_slot(loop, last)
    if loop.project.schedule.cron is None:
        return end
    return next(_cron_times(loop, max(end, now) - timedelta(seconds=1))).astimezone(end.tzinfo)


def next_slot(loop: Loop, last: datetime | None) -> datetime:
    """The end of the next slot to be run after the last tick; the loop's start before the first."""
    if last is None or last < loop.project.start_at:
        return loop.project.start_at
    return slot(loop.project, tick_index(loop.project, last) + 1)


def _problems(champion: bool, waiting: int, held: int, decided: Document, sound: bool) -> list[str]:
    problems = [] if champion else ["there is no champion yet"]
    if waiting:
        problems.append(f"{_batches(waiting, 'wait')} to be scored")
    if held:
        problems.append(f"{_batches(held, 'are')} held in quarantine")
    if decided.get("blocked"):
        problems.append(f"training is blocked: the model caused {decided['caused']:.0%} of its labels")
    if not sound:
        problems.append("the journal was edited")
    return problems


def _batches(number: int, verb: str) -> str:
    one = {"wait": "waits", "are": "is"}
    return f"{number} batches {verb}" if number != 1 else f"1 batch {one[verb]}"


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
