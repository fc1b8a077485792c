"""When the schedule of a project runs its slots, and which should be done by now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from homeostat.flows.loop import slot, tick_index
from homeostat.project import Project


def find_overdue(project: Project, last: datetime | None, now: datetime) -> tuple[datetime, int] | None:
    """The oldest slot after the `last` tick that should be done at `now`, and how many are; None where all is in time.

    A slot may wait for the second time that the schedule comes round after it: two ticks, or two of its cron line.
    """
    oldest = next_slot(project, last)
    if now < oldest + project.loop.tick:
        return None
    until = _two_rounds_before(project, now)
    if until < oldest:
        return None
    return oldest, tick_index(project, until) - tick_index(project, oldest) + 1


def next_slot(project: Project, last: datetime | None) -> datetime:
    """The end of the next slot to be run after the last tick; the loop's start before the first."""
    if last is None or last < project.start_at:
        return project.start_at
    return slot(project, tick_index(project, last) + 1)


def next_run(project: Project, last: datetime | None, now: datetime) -> datetime:
    """When the schedule runs the slot after the last tick: at its end, or when the cron line comes round after it.

    It lies in the past where the slot is due without a cron.
    """
    end = next_slot(project, last)
    if project.schedule.cron is None:
        return end
    return next(_cron_times(project, max(end, now) - timedelta(seconds=1))).astimezone(end.tzinfo)


def _two_rounds_before(project: Project, now: datetime) -> datetime:
    if project.schedule.cron is None:
        return now - 2 * project.loop.tick
    earlier = _cron_times(project, now, reverse=True)
    next(earlier)
    return next(earlier).astimezone(now.tzinfo)


def _cron_times(project: Project, at: datetime, reverse: bool = False) -> Iterator[datetime]:
    """The times of the project's cron line after a time, or before it, in the schedule's time zone."""
    from zoneinfo import ZoneInfo

    from cronsim import CronSim

    from homeostat.flows.orchestration.deployments import find_schedule

    schedule = find_schedule(project)
    return CronSim(schedule.cron, at.astimezone(ZoneInfo(schedule.timezone)), reverse=reverse)
