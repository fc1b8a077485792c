"""How far the times of a project's data lie ahead, and which of them are mistakes."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from homeostat.durations import format_duration
from homeostat.pipelines.data.ahead import last_credible
from homeostat.pipelines.setup.findings import Finding, shown_time
from homeostat.project import Project


def check_ahead(project: Project, source: pl.DataFrame, findings: list[Finding]) -> None:
    """Say how far events lie ahead of when their row could be had, and warn of rows that would never come."""
    where, times = "data.inputs.ahead", source.select("event_at", "available_at").drop_nulls()
    end = last_credible(times["available_at"])
    if end is None:
        return
    never = times.filter(pl.col("available_at") > end)["available_at"]
    if len(never):
        message = (
            f"{len(never)} rows are dated long after all others, as {shown_time(never[0])}, after {shown_time(end)}. "
            "A replay ends before them, and a tick puts them into quarantine under the rule 'time'. Fix their times."
        )
        findings.append(Finding("warning", where, message))
    if project.data.inputs.known_at is not None:
        _add_distance(times.select(pl.col("event_at") - pl.col("available_at")).to_series(), project, findings)


def _add_distance(ahead: pl.Series, project: Project, findings: list[Finding]) -> None:
    where, allowed = "data.inputs.ahead", project.data.inputs.ahead
    furthest, usual, beyond = ahead.max(), ahead.quantile(0.99), int((ahead > allowed).sum())
    assert isinstance(furthest, timedelta) and isinstance(usual, timedelta)
    if beyond:
        message = (
            f"{beyond} of {len(ahead)} events lie further ahead of when their row could be had than "
            f"{format_duration(allowed)}: by up to {_days(furthest)}; 99 in 100 of all lie {_days(usual)} ahead at "
            "most. If they do so by nature, as a booking's arrival does, set it to more."
        )
        findings.append(Finding("warning", where, message))
    elif furthest > timedelta():
        message = f"events lie up to {_days(furthest)} ahead of when their row could be had"
        findings.append(Finding("ok", where, f"{message}; {format_duration(allowed)} are allowed"))


def check_label_times(source: pl.DataFrame, findings: list[Finding]) -> None:
    """Warn of labels that are dated so late that they would never count."""
    end = last_credible(source["available_at"])
    never = 0 if end is None else int((source["available_at"] > end).sum())
    if never and end is not None:
        message = (
            f"{never} labels are dated long after all others, which end at {shown_time(end)}, and count for nothing"
        )
        findings.append(Finding("warning", "data.feedback.known_at", f"{message} until then. Fix their times."))


def _days(span: timedelta) -> str:
    return f"{max(span / timedelta(days=1), 0):.3g} days"
