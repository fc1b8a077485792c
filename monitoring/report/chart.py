"""The report's chart: panels above each other on one time axis, as plain data for Plotly."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

from homeostat.durations import instant
from homeostat.metrics import better
from homeostat.monitoring.report.decisions import LOOKS, Sign
from homeostat.monitoring.report.estimate_chart import Plot, estimate_traces
from homeostat.monitoring.report.story import ReportData, format_text, metric_name, number
from homeostat.records import Window, WindowStatus

_LOUDEST = (Sign.ALARM, Sign.ROLLBACK, Sign.PROMOTION, Sign.REFUSAL, Sign.RETRAINING)
"""Of which sign the line through the panels has the colour, where several fall on one tick."""
_METRIC_HEIGHT, _LANE_HEIGHT, _SMALL_HEIGHT, _GAP = 330, 24, 72, 46


def build_chart(data: ReportData) -> Plot:
    """Plotly's data and layout, panels above each other on one time axis; "@name" stands for a colour of the page."""
    signs = _marks_seen(data)
    heights = [_METRIC_HEIGHT, max(_LANE_HEIGHT * len(signs), 1), _SMALL_HEIGHT, _SMALL_HEIGHT]
    domains, total = _domains(heights)
    traces = [
        *estimate_traces(_in_order(data.windows), data.metric),
        _line(data.baseline, data.metric, "first model", "@base", 1.75),
        _line(data.windows, data.metric, "loop", "@loop", 2.5),
        *[_marks(data, sign) for sign in signs],
        _coverage(data.windows),
        *_drift(data),
    ]
    titles = [
        f"<b>{metric_name(data.metric)}</b> per tick, {_direction(data.metric)} is better",
        "<b>What the loop did</b>" if signs else "",
        "<b>Coverage</b>, rows whose truth is known",
        "<b>Drift</b>, share of columns that moved",
    ]
    layout: Plot = _layout(domains, total, titles, signs) | {"shapes": _shapes(data, domains)}
    layout["annotations"] += _end_labels(data)
    layout["xaxis"]["range"] = _time_range(data)
    layout["meta"] = {"ticks": len({window.end_at for window in (*data.windows, *data.baseline)})}
    layout["yaxis"]["tickformat"] = ".2f" if 0.02 < _spread(data) < 1 else ""
    return {"data": traces, "layout": layout}


def _marks_seen(data: ReportData) -> list[Sign]:
    seen = {mark.sign for mark in data.marks}
    return [sign for sign in LOOKS if sign in seen]


def _direction(metric: str) -> str:
    return "higher" if better(metric, 1.0, 0.0) else "lower"


def _domains(heights: Sequence[int]) -> tuple[list[tuple[float, float]], int]:
    total = sum(heights) + _GAP * (len(heights) - 1)
    top, domains = total, []
    for height in heights:
        domains.append((round((top - height) / total, 6), round(top / total, 6)))
        top -= height + _GAP
    return domains, total


def _layout(domains: Sequence[tuple[float, float]], total: int, titles: Sequence[str], signs: Sequence[Sign]) -> Plot:
    plain = {"gridcolor": "@grid", "zeroline": False, "fixedrange": True, "tickfont": {"color": "@soft"}}
    lane = {"tickvals": list(range(len(signs))), "ticktext": [LOOKS[sign].label for sign in signs]}
    whole = {"tickformat": ".0%", "tickvals": [0, 0.5, 1], "range": [0, 1.04]}
    titled = [
        {"text": text, "xref": "paper", "yref": "paper", "x": 0, "y": high, "yshift": 7, "xanchor": "left",
         "yanchor": "bottom", "showarrow": False, "bgcolor": "@card", "font": {"color": "@ink", "size": 13}}
        for text, (_, high) in zip(titles, domains, strict=True)
    ]  # fmt: skip
    return {
        "height": total + 66,
        "margin": {"l": 82, "r": 118, "t": 30, "b": 36},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "@font", "size": 12, "color": "@soft"},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverlabel": {"bgcolor": "@card", "bordercolor": "@line", "font": {"color": "@ink", "size": 12}},
        "showlegend": False,
        "dragmode": "zoom",
        "bargap": 0.3,
        "xaxis": {"type": "date", "anchor": "y4", "showgrid": False, "showline": True, "linecolor": "@line",
                  "tickfont": {"color": "@soft"}, "ticks": "outside", "tickcolor": "@line", "showspikes": True,
                  "spikemode": "across", "spikethickness": 1, "spikecolor": "@soft", "spikedash": "dot",
                  "hoverformat": "%Y-%m-%d %H:%M"},
        "yaxis": plain | {"domain": domains[0], "nticks": 6},
        "yaxis2": plain | lane | {"domain": domains[1], "range": [len(signs) - 0.5, -0.5], "gridcolor": "@grid"},
        "yaxis3": plain | whole | {"domain": domains[2]},
        "yaxis4": plain | whole | {"domain": domains[3]},
        "annotations": titled,
    }  # fmt: skip


def _in_order(windows: Sequence[Window]) -> list[Window]:
    return sorted(windows, key=lambda window: (window.end_at, window.batch))


def _line(windows: Sequence[Window], metric: str, name: str, color: str, width: float) -> Plot:
    shown = _in_order(windows)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [instant(window.end_at) for window in shown],
        "y": [window.realized if window.metric == metric else None for window in shown],
        "text": [_hover(window, name) for window in shown],
        "hovertemplate": "%{text}<extra></extra>",
        "connectgaps": False,
        "line": {"color": color, "width": width},
        "marker": {
            "symbol": "circle",
            "color": [color if window.status is WindowStatus.FINAL else "@card" for window in shown],
            "line": {"color": color, "width": 1.5},
            "size": 6 if len(shown) < 80 else 4.5,
        },
    }


def _hover(window: Window, name: str) -> str:
    if window.realized is None:
        return f"{name}: unknown"
    text = f"{name}: <b>{number(window.realized)}</b> (version {window.model_version}, {window.status})"
    if window.realized_low is None or window.realized_high is None:
        return text
    return f"{text}; {number(window.realized_low)} to {number(window.realized_high)} once its labels are there"


def _marks(data: ReportData, sign: Sign) -> Plot:
    look = LOOKS[sign]
    shown = sorted((mark for mark in data.marks if mark.sign == sign), key=lambda mark: (mark.at, mark.text))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": look.label,
        "x": [instant(mark.at) for mark in shown],
        "y": [_marks_seen(data).index(sign)] * len(shown),
        "yaxis": "y2",
        "text": [f"{look.label}: {_wrapped(format_text(mark.text, data.clock))}" for mark in shown],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "symbol": look.symbol,
            "size": 11 if look.symbol.startswith("tri") else 9,
            "color": f"@{look.colour}",
        },
    }


def _wrapped(text: str, width: int = 60) -> str:
    return "<br>".join(html.escape(line) for line in textwrap.wrap(text, width))


def _coverage(windows: Sequence[Window]) -> Plot:
    shown = _in_order(windows)
    return {
        "type": "bar",
        "name": "coverage",
        "x": [instant(window.end_at) for window in shown],
        "y": [window.coverage for window in shown],
        "yaxis": "y3",
        "text": [f"coverage: {w.coverage:.0%} ({w.labels:,} of {w.rows:,} rows)" for w in shown],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": ["@cover" if w.status is WindowStatus.FINAL else "@cover-early" for w in shown]},
    }


def _drift(data: ReportData) -> list[Plot]:
    shown = sorted(data.drift, key=lambda check: check[0])
    limit = data.drift_limit
    over = [share is not None and share >= limit for _, share, _ in shown]
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "drift",
            "x": [instant(at) for at, _, _ in shown],
            "y": [share for _, share, _ in shown],
            "yaxis": "y4",
            "text": [f"drift: {status}" + ("" if share is None else f", {share:.0%}") for _, share, status in shown],
            "hovertemplate": "%{text}<extra></extra>",
            "line": {"color": "@drift", "width": 1.75},
            "marker": {
                "color": "@drift",
                "size": [8 if is_over else 3 for is_over in over],
                "opacity": 1,
                "line": {"width": 0},
            },
        }
    ]


def _shapes(data: ReportData, domains: Sequence[tuple[float, float]]) -> list[Plot]:
    loudest: dict[str, Sign] = {}
    for sign in reversed(_LOUDEST):
        loudest |= {instant(mark.at): sign for mark in data.marks if mark.sign == sign}
    lines = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": domains[1][0], "y1": domains[0][1],
         "layer": "below", "opacity": 0.45, "line": {"color": f"@{LOOKS[sign].colour}", "width": 1, "dash": "dot"}}
        for at, sign in sorted(loudest.items())
    ]  # fmt: skip
    limit = {"type": "line", "xref": "paper", "yref": "y4", "x0": 0, "x1": 1, "y0": data.drift_limit,
             "y1": data.drift_limit, "line": {"color": "@soft", "width": 1, "dash": "dash"}}  # fmt: skip
    return [*lines, limit] if data.drift else lines


def _end_labels(data: ReportData) -> list[Plot]:
    """Names at the right end of the lines; two that would touch are moved apart."""
    base = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 8, "showarrow": False, "align": "left", "name": "end"}
    named = ((data.windows, "<b>loop</b>", "@loop"), (data.baseline, "first model<br>kept for ever", "@base-ink"))
    ends = [(_known(windows)[-1], text, color) for windows, text, color in named if _known(windows)]
    ends.sort(key=lambda end: -end[0])
    apart = len(ends) == 2 and ends[0][0] - ends[1][0] < 0.15 * _spread(data)
    labels = [
        base | {"yref": "y", "y": value, "text": text, "font": {"color": color}, "yshift": (18 - 36 * i) * apart}
        for i, (value, text, color) in enumerate(ends)
    ]
    if data.drift:
        text = f"drift from {data.drift_limit:.0%}"
        labels.append(base | {"yref": "y4", "y": data.drift_limit, "text": text, "font": {"color": "@soft"}})
    return labels


def _known(windows: Sequence[Window]) -> list[float]:
    return [window.realized for window in _in_order(windows) if window.realized is not None]


def _spread(data: ReportData) -> float:
    values = _known((*data.windows, *data.baseline))
    return max(values) - min(values) if values else 0.0


def _time_range(data: ReportData) -> list[str]:
    times = [w.end_at for w in (*data.windows, *data.baseline)] + [check[0] for check in data.drift]
    times += [mark.at for mark in data.marks]
    return [instant(min(times) - data.tick), instant(max(times) + data.tick)] if times else []
