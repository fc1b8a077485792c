"""What the overview shows of projects and services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from homeostat.console.titles import title_of
from homeostat.console.web.site import Site
from homeostat.errors import HomeostatError
from homeostat.installation import Found, read_services

SPARK, WIDE, HIGH = 60, 160, 36
LOOKS = {"healthy": "well", "adopted": "well", "starting": "soft", "failing": "ill"}


@dataclass(frozen=True, slots=True)
class Card:
    """A project on the overview. `status` is that of `homeostat.flows.queries.status`; None where it cannot be opened.

    `problems` are the details of its problems. `spark` has the lines of a sparkline over `spark_span`; `drift` is the
    newest check: time, share, status.
    """

    name: str
    problems: list[dict[str, Any]]
    status: dict[str, Any] | None = None
    healthy: bool = False
    young: bool = False
    spark: list[str] = field(default_factory=list)
    spark_span: tuple[datetime, datetime] | None = None
    drift: tuple[datetime, float | None, str] | None = None
    drift_limit: float = 0.0
    cron: str | None = None
    next_run: datetime | None = None
    replaying: bool = False


@dataclass(frozen=True, slots=True)
class ServiceCard:
    """A service of `homeostat up` on the overview; `look` is how its state is coloured."""

    title: str
    kind: str
    look: str
    state: str | None
    url: str | None
    restarts: int
    problem: str | None


def look_at(site: Site, entry: Found) -> Card:
    """A project as a card; one that cannot be opened says why."""
    if entry.project is None:
        return Card(entry.folder.name, _unreadable(entry.problem or "it cannot be read"))
    try:
        return _look_into(site, entry.project.name)
    except HomeostatError as mistake:
        return Card(entry.project.name, _unreadable(str(mistake)))


def _unreadable(why: str) -> list[dict[str, Any]]:
    from homeostat.flows.health.problems import Problem, ProblemCode

    return [Problem(ProblemCode.UNREADABLE, why).as_json()]


def _look_into(site: Site, name: str) -> Card:
    from homeostat.flows.queries.status import status
    from homeostat.flows.schedule import next_run

    loop = site.loop(name)
    current = status(loop, site.clock(), site.proofs.verdict(loop))
    newest = loop.store.list_points(newest=SPARK)
    shares = loop.store.list_shares(newest=1)
    return Card(
        name=name,
        problems=current["problem_details"],
        status=current,
        healthy=current["healthy"],
        young=current["last_tick"] is None,
        spark=draw_spark([point.realized for point in newest]),
        spark_span=(newest[0].at, newest[-1].at) if newest else None,
        drift=shares[-1] if shares else None,
        drift_limit=loop.project.monitoring.drift_share,
        cron=loop.project.schedule.cron,
        next_run=next_run(loop.project, current["last_tick"], site.clock()),
        replaying=loop.replaying,
    )


def look_at_services(site: Site) -> list[ServiceCard]:
    """The services of `homeostat up`; empty where it never ran."""
    return [_service(name, note) for name, note in read_services(site.root).get("services", {}).items()]


def _service(name: str, note: Mapping[str, Any]) -> ServiceCard:
    return ServiceCard(
        title="This page" if name == "console" else title_of(name),
        kind=name.partition("-")[0],
        look=LOOKS.get(note.get("state", ""), "soft"),
        state=note.get("state"),
        url=note.get("url"),
        restarts=note.get("restarts") or 0,
        problem=note.get("problem"),
    )


def draw_spark(values: Sequence[float | None]) -> list[str]:
    """The points of a small line, one text a stretch without gaps, in a box of 160 by 36.

    >>> draw_spark([0.5, 1.0, None, 0.75])
    ['0.0,34.0 53.3,2.0', '160.0,18.0']
    """
    known = [v for v in values if v is not None]
    if not known:
        return []
    low, span = min(known), (max(known) - min(known)) or 1.0
    step = WIDE / max(1, len(values) - 1)
    runs: list[list[str]] = [[]]
    for i, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{i * step:.1f},{HIGH - 2 - (value - low) / span * (HIGH - 4):.1f}")
    return [" ".join(run) for run in runs if run]
