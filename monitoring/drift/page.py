"""Evidently's page of a drift check: a table of columns with their distributions, whole in one file."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeostat.records import DriftResult

if TYPE_CHECKING:
    from evidently.core.report import Snapshot
    from evidently.legacy.calculations.data_drift import ColumnDataDriftMetrics
    from evidently.legacy.metric_results import Distribution
    from evidently.legacy.renderers.html_widgets import BaseWidgetInfo, ColumnDefinition, RichTableDataRow

_GREY, _BLUE = "#9aa3ad", "#2f6db3"


@cache
def column_metric() -> type[Any]:
    """Evidently's drift metric of one column, drawn as a row of a table; its values were multiplied by `factor`.

    Its own picture costs four times what the measurement costs, because Plotly objects are built one by
    one; here the same bars are written as plain data.
    """
    from evidently.metrics import ValueDrift
    from evidently.metrics.column_statistics import ValueDriftCalculation

    class ColumnDriftCalculation(ValueDriftCalculation):
        def _render(
            self, result: ColumnDataDriftMetrics, options: object, color_options: object
        ) -> list[BaseWidgetInfo]:
            assert isinstance(self.metric, ColumnDriftMetric)
            return [_table(result, self.metric.factor)]

    class ColumnDriftMetric(ValueDrift):
        factor: float = 1.0

        def to_calculation(self) -> ColumnDriftCalculation:
            return ColumnDriftCalculation(self.get_metric_id(), self)

    return ColumnDriftMetric


def write_page(page: Path, title: str, run: Snapshot, result: DriftResult) -> None:
    """Write the page of a run of `column_metric`s; it needs no network."""
    from evidently.core.metric_types import render_widgets
    from evidently.legacy.renderers import html_widgets as ui

    tables = [widget for metric in run.metric_results.values() for widget in metric.get_widgets()]
    widgets = [ui.header_text(label=title), _counters(result), _joined(tables, result)]
    if unmeasured := [[column.column, column.reason] for column in result.columns if column.drifted is None]:
        widgets.append(ui.table_data(title="Not measured", column_names=["Column", "Why"], data=unmeasured))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_widgets([ui.group_widget(title="", widgets=widgets)]), encoding="utf-8")


def _joined(tables: list[BaseWidgetInfo], result: DriftResult) -> BaseWidgetInfo:
    """One table of the rows of all, each with what was found of its column."""
    whole = tables[0]
    drifted = {column.column: bool(column.drifted) for column in result.columns}
    for row in (row for table in tables for row in (table.params or {})["data"]):
        row["drift"] = "Detected" if drifted[row["column"]] else "Not detected"
    whole.params = {
        **(whole.params or {}),
        "rowsPerPage": len(tables),
        "data": [row for table in tables for row in (table.params or {})["data"]],
    }
    whole.additionalGraphs = [graph for table in tables for graph in table.additionalGraphs]
    return whole


def _counters(result: DriftResult) -> BaseWidgetInfo:
    from evidently.legacy.renderers.html_widgets import CounterData, counter

    measured = [column for column in result.columns if column.drifted is not None]
    drifted = sum(bool(column.drifted) for column in measured)
    figures = [
        CounterData("drifted columns", f"{drifted} of {len(measured)}"),
        CounterData("reference rows", f"{result.reference_rows:,}"),
        CounterData("current rows", f"{result.current_rows:,}"),
    ]
    return counter(counters=figures)


def _table(drift: ColumnDataDriftMetrics, factor: float) -> BaseWidgetInfo:
    from evidently.legacy.renderers import html_widgets as ui

    columns = [
        ui.ColumnDefinition("Column", "column"),
        _histogram("Reference", "reference", _GREY),
        _histogram("Current", "current", _BLUE),
        ui.ColumnDefinition("Drift", "drift"),
        ui.ColumnDefinition("Method", "method"),
        ui.ColumnDefinition("Score", "score", sort=ui.SortDirection.DESC),
    ]
    return ui.rich_table_data(columns=columns, data=[_row(drift, factor)])


def _histogram(title: str, field: str, color: str) -> ColumnDefinition:
    from evidently.legacy.renderers import html_widgets as ui

    look = {"xField": "x", "yField": "y", "color": color}
    return ui.ColumnDefinition(title, field, ui.ColumnType.HISTOGRAM, options=look)


def _row(drift: ColumnDataDriftMetrics, factor: float) -> RichTableDataRow:
    from evidently.legacy.renderers import html_widgets as ui

    sides = (("reference", drift.reference, _GREY), ("current", drift.current, _BLUE))
    bars = [
        _bars(name, side.distribution, color, factor) for name, side, color in sides if side.distribution is not None
    ]
    layout = {"barmode": "group", "bargap": 0.1, "yaxis": {"title": {"text": "share"}, "tickformat": ".0%"}}
    figure = ui.BaseWidgetInfo(type="big_graph", title="", size=2, params={"data": bars, "layout": layout})
    fields = {
        "column": drift.column_name,
        **{bar["name"]: {"x": bar["x"], "y": bar["y"]} for bar in bars},
        "drift": "Detected" if drift.drift_detected else "Not detected",
        "method": drift.stattest_name,
        "score": round(drift.drift_score, 6),
    }
    return ui.RichTableDataRow(fields, ui.RowDetails().with_part("Distribution", figure))


def _bars(name: str, side: Distribution, color: str, factor: float) -> dict[str, Any]:
    """A Plotly bar chart of a distribution, as plain data."""
    counts = [float(count) for count in side.y]
    places: list[Any] = [value if isinstance(value, str) else float(value) / factor for value in side.x]
    if len(places) == len(counts) + 1:
        places = [(low + high) / 2 for low, high in pairwise(places)]
    by_place = sorted(zip(places, counts, strict=True), key=lambda pair: pair[0])
    total = sum(counts) or 1.0
    return {
        "type": "bar",
        "name": name,
        "x": [place for place, _ in by_place],
        "y": [count / total for _, count in by_place],
        "marker": {"color": color},
    }
