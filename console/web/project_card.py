"""What the overview shows of a project and of the services, gathered; a project that cannot be opened says why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from homeostat.console.titles import title_of
from homeostat.console.web.site import Site
from homeostat.errors import HomeostatError
from homeostat.installation import Found, read_services

SPARK, WIDE, HIGH = 60, 160, 36
LOOKS = {"healthy": "well", "adopted": "well", "starting": "soft", "failing": "ill"}


def look_at(site: Site, found: Found) -> dict[str, Any]:
    """A project as a card: `status` as `homeostat.flows.queries.status` gives it, a sparkline, and `problems`."""
    if found.project is None:
        return {"name": found.folder.name, "status": None, "problems": [found.problem], "healthy": False}
    name = found.project.name
    try:
        return {"name": name, **_looked(site, name)}
    except HomeostatError as mistake:
        return {"name": name, "status": None, "problems": [str(mistake)], "healthy": False}


def _looked(site: Site, name: str) -> dict[str, Any]:
    from homeostat.flows.queries.status import next_run, status

    loop = site.loop(name)
    stands = status(loop, site.clock(), site.proofs.verdict(loop))
    newest = loop.store.list_points(newest=SPARK)
    shares = loop.store.list_shares(newest=1)
    return {
        "status": stands,
        "problems": stands["problems"],
        "healthy": stands["healthy"],
        "young": stands["last_tick"] is None,
        "spark": draw_spark([p.realized for p in newest]),
        "spark_span": (newest[0].at, newest[-1].at) if newest else None,
        "drift": shares[-1] if shares else None,
        "drift_limit": loop.project.monitoring.drift_share,
        "cron": loop.project.schedule.cron,
        "next_run": next_run(loop, stands["last_tick"], site.clock()),
        "task": loop.project.task.value,
        "replaying": loop.replaying,
    }


def look_at_services(site: Site) -> list[dict[str, Any]]:
    """The services of `homeostat up`; empty where it never ran."""
    services = read_services(site.root).get("services", {})
    return [
        {
            "title": "This page" if name == "console" else title_of(name),
            "kind": name.partition("-")[0],
            "look": LOOKS.get(told.get("state", ""), "soft"),
        }
        | _told(told)
        for name, told in services.items()
    ]


def _told(service: dict[str, Any]) -> dict[str, Any]:
    return {key: service.get(key) for key in ("url", "state", "restarts", "problem", "log")}


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
