"""The report's traces of what was estimated, as plain data for Plotly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from homeostat.durations import instant
from homeostat.monitoring.report.story import number
from homeostat.records import Window

Plot = dict[str, Any]
"""A trace, a shape or a layout of Plotly, as its JSON schema has it."""


def estimate_traces(windows: Sequence[Window], metric: str) -> list[Plot]:
    """What was expected before the labels: a dashed line in a faint band; none where nothing was estimated.

    `windows` come oldest first; those watched by another metric are gaps.
    """
    shown = [w if w.metric == metric else replace(w, estimated=None) for w in windows]
    if all(window.estimated is None for window in shown):
        return []
    times = [instant(window.end_at) for window in shown]
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "estimated",
        "x": times,
        "y": [window.estimated for window in shown],
        "text": [_expected(window) for window in shown],
        "hovertemplate": "%{text}<extra></extra>",
        "connectgaps": False,
        "line": {"color": "@estimate", "width": 1.5, "dash": "4px,3px"},
    }
    return [*_band(shown), line]


def _band(shown: Sequence[Window]) -> list[Plot]:
    """The interval, as one closed outline a stretch without gaps."""
    traces = []
    for known, stretch in groupby(shown, key=lambda w: w.estimated is not None and w.estimated_low is not None):
        windows = list(stretch)
        if known and len(windows) > 1:
            there = [(instant(w.end_at), w.estimated_high) for w in windows]
            back = [(instant(w.end_at), w.estimated_low) for w in reversed(windows)]
            outline = {"x": [at for at, _ in there + back], "y": [value for _, value in there + back]}
            look = {"mode": "lines", "line": {"width": 0}, "fill": "toself", "fillcolor": "@estimate-band"}
            traces.append({"type": "scatter", "name": "estimated", "hoverinfo": "skip"} | outline | look)
    return traces


def _expected(window: Window) -> str:
    if window.estimated is None:
        return ""
    text = f"estimated: {number(window.estimated)}"
    if window.estimated_low is None or window.estimated_high is None:
        return text
    return f"{text} ({number(window.estimated_low)} to {number(window.estimated_high)})"
