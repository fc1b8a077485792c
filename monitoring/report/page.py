"""The report: one HTML page that needs nothing else, with what the loop did and what it was worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

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


def render_page(path: Path, template: str, charts: Mapping[str, Any], **content: Any) -> None:
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


def _decisions(data: ReportData) -> list[dict[str, Any]]:
    """Rows of the table: the newest tick first, within a tick in the order of its stages."""
    in_order = sorted(data.decisions, key=lambda d: (-d.tick_at.timestamp(), _rank(d), d.kind))
    rows: list[dict[str, Any]] = []
    loud = 0
    for _, tick in groupby(in_order, key=lambda d: d.tick_at):
        said: set[tuple[str, ...]] = set()
        again = False
        for decision in tick:
            row = _row(decision, data, repeated=decision.reasons in said)
            loud += not row["quiet"]
            rows.append(row | {"old": loud > SHOWN_DECISIONS, "again": again})
            said.add(decision.reasons)
            again = again or not row["quiet"]
    return rows


def _rank(decision: Decision) -> int:
    return _STAGES.index(decision.stage) if decision.stage in _STAGES else len(_STAGES)


def _row(decision: Decision, data: ReportData, repeated: bool) -> dict[str, Any]:
    about_champion = decision.stage == "retraining"
    return {
        "at": format_time(decision.tick_at, data.clock),
        "stage": decision.stage,
        "kind": decision.kind,
        "quiet": meaning_of(decision.stage, decision.kind).quiet,
        "version": None if about_champion else decision.model_version,
        "reasons": "for the same reason" if repeated else format_text("; ".join(decision.reasons), data.clock),
    }


def _alerts(data: ReportData) -> list[dict[str, Any]]:
    """Rows of the table, newest first; what is only for information is quiet where there is anything louder."""
    newest = sorted(data.alerts, key=lambda alert: (-alert.at.timestamp(), alert.key))
    louder = any(alert.severity is not Severity.INFO for alert in newest)
    rows: list[dict[str, Any]] = []
    loud = 0
    for alert in newest:
        quiet = louder and alert.severity is Severity.INFO
        loud += not quiet
        rows.append(
            {
                "at": format_time(alert.at, data.clock),
                "severity": alert.severity.value,
                "title": format_text(alert.title, data.clock),
                "body": format_text(alert.body, data.clock),
                "quiet": quiet,
                "old": loud > SHOWN_ALERTS,
            }
        )
    return rows


def _script_safe(value: Any) -> str:
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
