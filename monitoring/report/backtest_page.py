"""The page of a backtest: what each policy was worth and what it cost, in one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from homeostat.metrics import better
from homeostat.monitoring.report.estimate_chart import Plot
from homeostat.monitoring.report.page import render_page
from homeostat.monitoring.report.story import count, metric_name, number

COLUMNS = (
    "Policy",
    "Metric",
    "Gain over never",
    "A tick, 95%",
    "Fits",
    "Cost",
    "Row-rounds",
    "Training CPU",
    "Triggers",
)
HUES = ("@promotion", "@retraining", "@drift", "@rollback", "@alarm", "@cover", "@refusal")


class PolicySummary(TypedDict):
    """One policy of a backtest: `gain` over never retraining, `gain_a_tick` with its 95% interval, and what it cost.

    `setting` is what a project file says to have it; None where it cannot.
    """

    policy: str
    setting: dict[str, object] | None
    metric: float | None
    gain: float | None
    gain_a_tick: tuple[float, float, float] | None
    fits: int
    relative_cost: float | None
    row_rounds: float
    training_cpu_seconds: float
    triggers: int
    by_tick: list[float | None]


class Recommendation(TypedDict):
    """The policy that a backtest recommends, and the one with the best metric."""

    policy: str
    best: str
    reasons: list[str]
    setting: dict[str, object]


class Learner(TypedDict):
    """The model that every policy of a backtest refits."""

    family: str
    rounds: int


class BacktestSummary(TypedDict):
    """What a backtest found, as its summary.json has it."""

    project: str
    metric: str
    ticks: list[str]
    labels: int
    learner: Learner
    policies: list[PolicySummary]
    recommended: Recommendation


def write_page(path: Path, given: Mapping[str, Any]) -> None:
    """Write the page of a backtest's summary, a `BacktestSummary`; the same summary gives the same bytes."""
    summary = cast("BacktestSummary", given)
    chosen = summary["recommended"]["policy"]
    render_page(
        path,
        "backtest.html",
        charts={"costs": cost_chart(summary), "times": time_chart(summary)},
        project=summary["project"],
        lead=_lead(summary),
        hero=_hero(summary),
        reasons=summary["recommended"]["reasons"],
        columns=COLUMNS,
        rows=[{"cells": tell_policy(policy), "chosen": policy["policy"] == chosen} for policy in summary["policies"]],
    )


def tell_policy(policy: PolicySummary) -> list[str]:
    """One policy of a summary as the cells of a table's row, one for each of `COLUMNS`."""
    around = policy["gain_a_tick"]
    relative, triggers = policy["relative_cost"], policy["triggers"]
    return [
        policy["policy"] + ("" if policy["setting"] is not None else " *"),
        _number(policy["metric"]),
        _number(policy["gain"], signed=True),
        "–" if around is None else f"{_number(around[1], signed=True)} to {_number(around[2], signed=True)}",
        str(policy["fits"]),
        "–" if relative is None else f"{relative:.3f}",
        count(policy["row_rounds"]),
        f"{policy['training_cpu_seconds']:.1f} s",
        "–" if triggers is None else str(triggers),
    ]


def cost_chart(summary: BacktestSummary) -> Plot:
    """Plotly's data and layout: the metric of each policy against what it cost."""
    shown = [policy for policy in summary["policies"] if policy["metric"] is not None]
    colors = [_color(summary, policy["policy"]) for policy in shown]
    trace = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [policy["relative_cost"] for policy in shown],
        "y": [policy["metric"] for policy in shown],
        "text": [policy["policy"] for policy in shown],
        "textposition": ["top center" if at % 2 else "bottom center" for at in range(len(shown))],
        "textfont": {"color": colors},
        "marker": {"size": 11, "color": colors},
        "hovertemplate": "%{text}: %{y:.4f} at a cost of %{x:.3f}<extra></extra>",
    }
    wanted = "higher" if better(summary["metric"], 1.0, 0.0) else "lower"
    title = f"<b>{metric_name(summary['metric'])}</b>, {wanted} is better, against cost"
    layout: Plot = _layout(title) | {"showlegend": False}
    layout["xaxis"] |= {"type": "log", "title": {"text": "cost; retraining on everything at every tick is 1"}}
    return {"data": [trace], "layout": layout}


def time_chart(summary: BacktestSummary) -> Plot:
    """Plotly's data and layout: the metric of each policy over time; a click on a name shows or hides it."""
    shown = {"never", "every_tick", summary["recommended"]["policy"], summary["recommended"]["best"]}
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": policy["policy"],
            "x": summary["ticks"],
            "y": policy["by_tick"],
            "connectgaps": False,
            "visible": True if policy["policy"] in shown else "legendonly",
            "line": {"color": _color(summary, policy["policy"]), "width": 2.5 if policy["policy"] in shown else 1.5},
            "hovertemplate": f"{policy['policy']}: %{{y:.4f}}<extra></extra>",
        }
        for policy in summary["policies"]
    ]
    layout: Plot = _layout(f"<b>{metric_name(summary['metric'])}</b> per tick") | {"hovermode": "x unified"}
    layout["xaxis"] |= {"type": "date"}
    return {"data": traces, "layout": layout}


def _layout(title: str) -> Plot:
    axis = {"gridcolor": "@grid", "zeroline": False, "linecolor": "@line", "tickfont": {"color": "@soft"}}
    return {
        "height": 400,
        "title": {"text": title, "x": 0.01, "font": {"size": 13, "color": "@ink"}},
        "margin": {"l": 64, "r": 24, "t": 44, "b": 52},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "@font", "size": 12, "color": "@soft"},
        "hoverlabel": {"bgcolor": "@card", "bordercolor": "@line", "font": {"color": "@ink", "size": 12}},
        "xaxis": dict(axis),
        "yaxis": dict(axis),
    }


def _color(summary: BacktestSummary, policy: str) -> str:
    if policy == summary["recommended"]["policy"]:
        return "@loop"
    others = [row["policy"] for row in summary["policies"] if row["policy"] != "never"]
    return "@base" if policy == "never" else HUES[others.index(policy) % len(HUES)]


def _lead(summary: BacktestSummary) -> str:
    learner, ticks = summary["learner"], summary["ticks"]
    return (
        f"Retraining policies on the project's own history: {len(ticks)} ticks, {ticks[0][:10]} to {ticks[-1][:10]}, "
        f"{summary['labels']:,} labelled rows, one learner for all ({learner['family']}, {learner['rounds']} rounds)"
    )


def _hero(summary: BacktestSummary) -> list[dict[str, str]]:
    named = {policy["policy"]: policy for policy in summary["policies"]}
    chosen = named[summary["recommended"]["policy"]]
    name, cost = metric_name(summary["metric"]), chosen["relative_cost"]
    return [
        {"label": "Recommended", "value": chosen["policy"], "look": "loop"},
        {"label": f"Its {name}, and never retraining", "value": _both(chosen, named["never"]), "look": "base"},
        {"label": "Its cost; every tick is 1", "value": "–" if cost is None else f"{cost:.2f}", "look": "good"},
    ]


def _both(chosen: PolicySummary, never: PolicySummary) -> str:
    return " · ".join(_number(policy["metric"]) for policy in (chosen, never))


def _number(value: float | None, signed: bool = False) -> str:
    return "–" if value is None else number(value, signed) if abs(value) >= 10 else _four(value, signed)


def _four(value: float, signed: bool) -> str:
    return f"{value:{'+' if signed else ''}.4f}".replace("-", "−")
