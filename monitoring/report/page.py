"""The report: one HTML page that needs nothing else, with what the loop did and what it was worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from homeostat.metrics import gain
from homeostat.monitoring.report.chart import build_chart
from homeostat.monitoring.report.decisions import meaning_of
from homeostat.monitoring.report.story import (
    Mark,
    ReportData,
    count,
    difference,
    format_text,
    format_time,
    metric_name,
    number,
    period,
    seconds,
)
from homeostat.records import Decision, Severity

SHOWN_DECISIONS, SHOWN_ALERTS = 40, 20
_STAGES = ("validation", "alarm", "retraining", "promotion", "rollback")


def write_report(path: Path, data: ReportData) -> None:
    """Write the page; the same data give the same bytes."""
    render_page(
        path,
        "report.html",
        charts=build_chart(data),
        data=data,
        lead=f"{data.task.value.capitalize()} model, watched by {metric_name(data.metric)}; {period(data)}",
        hero=_hero(data),
        figures=_figures(data),
        decisions=_decisions(data),
        alerts=_alerts(data),
        estimated=any(window.estimated is not None for window in data.windows),
    )


def render_page(path: Path, template: str, charts: Mapping[str, object], **content: object) -> None:
    """Write a page from a template of ours with Plotly's code in it; `charts` is what its script draws."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(charts=_script_safe(charts), plotly=get_plotlyjs(), **content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A row of the table of decisions; `old` rows are hidden at first, `again` ones repeat the time above them."""

    at: str
    stage: str
    kind: str
    quiet: bool
    version: int | None
    reasons: str
    old: bool
    again: bool


@dataclass(frozen=True, slots=True)
class AlertRow:
    """A row of the table of alerts; `quiet` and `old` ones are hidden at first."""

    at: str
    severity: str
    title: str
    body: str
    quiet: bool
    old: bool


def _decisions(data: ReportData) -> list[DecisionRow]:
    """Rows of the table: the newest tick first, within a tick in the order of its stages."""
    in_order = sorted(data.decisions, key=lambda d: (-d.tick_at.timestamp(), _rank(d), d.kind))
    rows: list[DecisionRow] = []
    loud = 0
    for _, tick in groupby(in_order, key=lambda d: d.tick_at):
        given: set[tuple[str, ...]] = set()
        again = False
        for decision in tick:
            quiet = meaning_of(decision.stage, decision.kind).quiet
            loud += not quiet
            reasons = "for the same reason" if decision.reasons in given else "; ".join(decision.reasons)
            rows.append(_row(decision, data, format_text(reasons, data.clock), quiet, loud > SHOWN_DECISIONS, again))
            given.add(decision.reasons)
            again = again or not quiet
    return rows


def _rank(decision: Decision) -> int:
    return _STAGES.index(decision.stage) if decision.stage in _STAGES else len(_STAGES)


def _row(decision: Decision, data: ReportData, reasons: str, quiet: bool, old: bool, again: bool) -> DecisionRow:
    version = None if decision.stage == "retraining" else decision.model_version  # there it is the champion's
    at = format_time(decision.tick_at, data.clock)
    return DecisionRow(at, decision.stage, decision.kind, quiet, version, reasons, old, again)


def _alerts(data: ReportData) -> list[AlertRow]:
    """Rows of the table, newest first; what is only for information is quiet where there is anything louder."""
    newest = sorted(data.alerts, key=lambda alert: (-alert.at.timestamp(), alert.key))
    louder = any(alert.severity is not Severity.INFO for alert in newest)
    rows: list[AlertRow] = []
    loud = 0
    for alert in newest:
        quiet = louder and alert.severity is Severity.INFO
        loud += not quiet
        title, body = (format_text(text, data.clock) for text in (alert.title, alert.body))
        at = format_time(alert.at, data.clock)
        rows.append(AlertRow(at, alert.severity.value, title, body, quiet, loud > SHOWN_ALERTS))
    return rows


def _script_safe(value: object) -> str:
    text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hero(data: ReportData) -> list[dict[str, str]]:
    loop, static = data.summary.get("loop_metric"), data.summary.get("static_metric")
    name = metric_name(data.metric)
    shown = [
        {"label": f"{name} with the loop", "value": "unknown" if loop is None else number(loop), "look": "loop"},
        {
            "label": "First model kept for ever",
            "value": "unknown" if static is None else number(static),
            "look": "base",
        },
    ]
    if loop is not None and static is not None:
        gained = gain(data.metric, loop, static)
        look = "good" if gained > 0 else "bad" if gained < 0 else "base"
        value = difference(gained, loop, static)
        shown.append({"label": "Gain, on the same rows", "value": value, "look": look})
    return shown


def _figures(data: ReportData) -> list[tuple[str, str]]:
    summary = data.summary
    rows, labels = sum(w.rows for w in data.windows), sum(w.labels for w in data.windows)
    shown = [(label, count(summary[key])) for key, label in _COUNTS.items() if summary.get(key) is not None]
    if rows:
        shown.insert(min(3, len(shown)), ("of these labelled", f"{labels / rows:.1%}"))
    if summary.get("fit_row_rounds") is not None:
        shown.append(("fit cost, row-rounds", count(summary["fit_row_rounds"])))
    if summary.get("estimate_error") is not None:
        shown.append(("mean error of estimates", number(summary["estimate_error"])))
    shown += [(label, seconds(summary[key])) for key, label in _TIMES.items() if summary.get(key) is not None]
    return shown


_COUNTS = {
    "ticks": "ticks",
    "rows": "rows",
    "predictions": "scored",
    "retrains": "retrainings",
    "promotions": "promotions",
    "refusals": "refusals",
    "rollbacks": "rollbacks",
    "alarms": "alarms",
    "alerts": "alerts",
    "fits": "fits",
}
_TIMES = {"training_cpu_seconds": "training CPU", "wall_seconds": "wall time"}

__all__ = ["Mark", "ReportData", "build_chart", "write_report"]
