"""Rows that stop, labels that dry up, rows that are late: found from what came so far, and told once each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from homeostat.durations import instant, say_duration
from homeostat.flows.facts import SUPPLY, ToldOfSupply
from homeostat.flows.loop import alert, end_of_tick
from homeostat.monitoring.supply import LEAST_TICKS, Lag, Silence, find_lag, find_silence
from homeostat.project import Project
from homeostat.records import Severity
from homeostat.store import Store, Writer

SPAN_TICKS, SPAN = 400, timedelta(days=35)
"""The gaps of so many ticks are looked at, and of so long at least, which holds a few weekends."""
ROWS_PATIENCE_TICKS = 10


class Feed(StrEnum):
    """What can be wrong with what comes in."""

    ROWS = "rows_stopped"
    LABELS = "labels_stopped"
    LATE = "rows_late"


@dataclass(frozen=True, slots=True)
class Shortage:
    """A feed that is not as it used to be: `since` when, in words, and what to do."""

    feed: Feed
    since: datetime
    message: str
    advice: str


def find_shortages(project: Project, store: Store, now: datetime, *, replaying: bool) -> list[Shortage]:
    """What is wrong with the feeds at `now`, by what the stages up to then took in; reads a few columns.

    A replay's history ends where its source ends, so in a replay no rows are missed.
    """
    looks: dict[Feed, Callable[[Project, Store, datetime], Shortage | None]] = {
        Feed.ROWS: _of_rows, Feed.LABELS: _of_labels, Feed.LATE: _of_delay,
    }  # fmt: skip
    chosen = [Feed.LABELS] if replaying else list(looks)
    return [found for feed in chosen if (found := looks[feed](project, store, now)) is not None]


def tell_shortages(
    store: Store, write: Writer, at: datetime, found: list[Shortage], *, known: Collection[Feed] = ()
) -> None:
    """One alert for each shortage that was not told yet, in the transaction that remembers it.

    What is `known` of these feeds by another alert that stands is remembered alone.
    """
    before = (store.get_fact(SUPPLY) or ToldOfSupply()).since
    now: Mapping[str, str] = {item.feed.value: instant(item.since) for item in found}
    for item in found:
        if before.get(item.feed.value) != instant(item.since) and item.feed not in known:
            body = f"Since {_day(item.since)}. {item.advice}"
            write.append_alert(alert(at, Severity.WARNING, item.feed, item.message, body))
    if now != before:
        write.put_fact(SUPPLY, ToldOfSupply(dict(now)))


def _of_rows(project: Project, store: Store, now: datetime) -> Shortage | None:
    tick = project.loop.tick
    rows = _last_of_ticks(project, store.list_arrivals(_since(project, store.last_arrival() or now)))
    silence = find_silence(rows, now, tick, ROWS_PATIENCE_TICKS * tick)
    if silence is None:
        return None
    advice = "See that what writes them runs, and that data.inputs names where they come now."
    return Shortage(Feed.ROWS, silence.since, _in_words("rows", silence), advice)


def _of_labels(project: Project, store: Store, now: datetime) -> Shortage | None:
    """Labels are missed only where rows came since that could have had theirs by now."""
    tick, horizon = project.loop.tick, project.data.feedback.horizon
    since = _since(project, store.last_label_tick() or now)
    came = _last_of_ticks(project, store.list_label_ticks(since))
    if not came:
        return _of_first_labels(project, store, now)
    rows, patience = _last_of_ticks(project, store.list_arrivals(since)), horizon + LEAST_TICKS * tick
    silence = find_silence(came, now, tick, patience, cause=rows)
    if silence is None:
        return None
    wait = min(horizon, silence.longest) if silence.longest is not None else horizon
    if not store.has_rows_between(silence.since, now - wait):
        return None
    return Shortage(Feed.LABELS, silence.since, _in_words("labels", silence), _LABEL_ADVICE)


_LABEL_ADVICE = (
    "Without them nothing is measured and nothing is learned. See that what writes them runs, and that data.feedback "
    "names where they come now."
)


def _of_first_labels(project: Project, store: Store, now: datetime) -> Shortage | None:
    source, tick = project.data.feedback, project.loop.tick
    since = project.start_at
    if source.uri is None or not store.has_rows_between(since, now - source.horizon - LEAST_TICKS * tick):
        return None
    message = "no label has ever come, though rows have waited for longer than data.feedback.horizon"
    return Shortage(Feed.LABELS, since, message, _LABEL_ADVICE)


def _of_delay(project: Project, store: Store, now: datetime) -> Shortage | None:
    newest = store.list_newest_events(_since(project, store.last_arrival() or now))
    events = dict[datetime, tuple[datetime, datetime]]()
    for at, event in newest:
        end = end_of_tick(project, at)
        events[end] = (at, max(event, events[end][1]) if end in events else event)
    lag = find_lag(list(events.values()), project.loop.tick)
    if lag is None:
        return None
    advice = "They are scored when they come. See what holds them up on their way to data.inputs."
    return Shortage(Feed.LATE, lag.since, _late(lag), advice)


def _since(project: Project, newest: datetime) -> datetime:
    """From when on what came is looked at, by when something came last."""
    return newest - max(SPAN_TICKS * project.loop.tick, SPAN)


def _last_of_ticks(project: Project, times: Iterable[datetime]) -> list[datetime]:
    """Of times in order the last of each tick: how often a machine looks between ticks says nothing of a rhythm."""
    return list({end_of_tick(project, at): at for at in times}.values())


def _in_words(what: str, silence: Silence) -> str:
    usual = "" if silence.longest is None else f"; the longest gap before was {say_duration(silence.longest)}"
    return f"no {what} have come for {say_duration(silence.lasted)}{usual}"


def _late(lag: Lag) -> str:
    return (
        f"rows come late: the newest event is {say_duration(lag.delay)} old when they come, and was never older than "
        f"{say_duration(lag.longest)} before"
    )


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
