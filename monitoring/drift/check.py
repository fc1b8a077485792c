"""Drift of a batch against the champion's reference rows, measured by Evidently with pinned methods."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import polars as pl

from homeostat.records import ColumnDrift, DriftResult
from homeostat.sections.steering import Monitoring

NUMERIC_METHOD = "wasserstein"
CATEGORICAL_METHOD = "jensenshannon"
_DIGITS = 9
_GREY, _BLUE = "#9aa3ad", "#2f6db3"


def check_drift(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    settings: Monitoring,
    page: Path | None = None,
    title: str = "Drift",
) -> DriftResult:
    """Measure how far each column of `current` has moved from `reference`, and write Evidently's page.

    Both frames: one row a thing scored, with the named columns where they exist (numeric, or text), and
    `event_at`, by which rows are put in order. At most `settings.sample` present values a column and side
    are used, evenly spaced, so the same frames always give the same answer. Numeric columns: Wasserstein
    distance over the reference's standard deviation; categorical: Jensen-Shannon distance, the rarest
    values of a wide column taken together. A column that cannot be measured is reported with
    `drifted=None` and the reason, and the rest goes on. Under `settings.min_rows` rows on a side nothing
    is measured and no page is written.
    """
    if short := _too_few(reference.height, current.height, settings.min_rows):
        return DriftResult("unknown", None, (), reference.height, current.height, short)
    columns = dict.fromkeys(numeric, NUMERIC_METHOD) | dict.fromkeys(categorical, CATEGORICAL_METHOD)
    reference, current = _by_time(reference), _by_time(current)
    pairs: dict[str, tuple[pl.Series, pl.Series]] = {}
    left_out: dict[str, str] = {}
    for name, method in columns.items():
        pair = _prepare(reference, current, name, method, settings)
        if isinstance(pair, str):
            left_out[name] = pair
        else:
            pairs[name] = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores, run = _measure(pairs, columns, settings.drift_threshold) if pairs else ({}, None)
        found = tuple(_column(name, method, scores, left_out, settings) for name, method in columns.items())
        result = _result(found, reference.height, current.height, settings)
        if page is not None and run is not None:
            _write_page(page, title, run, result)
    return result


def _too_few(reference_rows: int, current_rows: int, least: int) -> str | None:
    for side, rows in (("current", current_rows), ("reference", reference_rows)):
        if rows < least:
            return f"{rows} {side} rows; at least {least} are needed"
    return None


def _by_time(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("event_at", maintain_order=True) if "event_at" in frame.columns else frame


def _column(
    name: str, method: str, scores: dict[str, float], left_out: dict[str, str], settings: Monitoring
) -> ColumnDrift:
    if name in left_out:
        return ColumnDrift(name, None, None, None, None, left_out[name])
    score = round(scores[name], _DIGITS)
    return ColumnDrift(name, method, score, settings.drift_threshold, score >= settings.drift_threshold)


def _result(
    columns: tuple[ColumnDrift, ...], reference_rows: int, current_rows: int, settings: Monitoring
) -> DriftResult:
    measured = [column for column in columns if column.drifted is not None]
    if not measured:
        reason = "no column can be measured"
        return DriftResult("unknown", None, columns, reference_rows, current_rows, reason)
    share = sum(bool(column.drifted) for column in measured) / len(measured)
    status = "drift" if share >= settings.drift_share else "stable"
    return DriftResult(status, share, columns, reference_rows, current_rows)


def _prepare(
    reference: pl.DataFrame, current: pl.DataFrame, name: str, method: str, settings: Monitoring
) -> tuple[pl.Series, pl.Series] | str:
    """Two samples of present values of one column, or the reason why it cannot be measured."""
    for side, frame in (("current", current), ("reference", reference)):
        if name not in frame.columns:
            return f"absent from the {side} rows"
    before, after = _present(reference[name], method), _present(current[name], method)
    if not len(before) and not len(after):
        return "all values missing on both sides"
    if not len(after):
        return "all values missing"
    if not len(before):
        return "all values missing in the reference"
    if short := _too_few(len(before), len(after), settings.min_rows):
        return short.replace("rows;", "values present;")
    if before.n_unique() == 1 and after.n_unique() == 1 and before[0] == after[0]:
        return "the same single value on both sides"
    pair = _spaced(before, settings.sample), _spaced(after, settings.sample)
    return pair if method == NUMERIC_METHOD else _pool(*pair, settings.drift_threshold)


def _present(values: pl.Series, method: str) -> pl.Series:
    if method == CATEGORICAL_METHOD:
        return values.drop_nulls().cast(pl.String)
    values = values.cast(pl.Float64, strict=False).drop_nulls()
    return values.filter(values.is_finite())


def _spaced(values: pl.Series, size: int) -> pl.Series:
    if len(values) <= size:
        return values
    return values.gather([i * len(values) // size for i in range(size)])


def _pool(before: pl.Series, after: pl.Series, threshold: float) -> tuple[pl.Series, pl.Series]:
    """Take the rare values of a wide column together, so that chance alone stays under the threshold.

    With k values, two samples of n and m rows of one distribution have a Jensen-Shannon divergence of about
    (k - 1)(1/n + 1/m) / 8 nats (its second-order expansion); k is bounded so that this is at most half of
    the threshold squared. Half of them are the values commonest on both sides together (the commonest of
    one side would be common there partly by chance, and read as drift); the rest fall into groups by a
    checksum of their text, so that a move among them still shows.
    """
    most = max(4, 1 + int(4 * threshold**2 / (1 / len(before) + 1 / len(after))))
    counts = pl.concat([before.alias("value"), after.alias("value")]).value_counts(name="rows")
    if counts.height <= most:
        return before, after
    ranked = counts.sort("rows", "value", descending=[True, False])["value"].to_list()
    kept, groups = ranked[: most // 2], most - most // 2
    names = {value: f"(others, group {crc32(value.encode()) % groups + 1})" for value in ranked[len(kept) :]}
    return before.replace(names), after.replace(names)


def _measure(
    pairs: dict[str, tuple[pl.Series, pl.Series]], methods: dict[str, str], threshold: float
) -> tuple[dict[str, float], Any]:
    """Evidently's score of each column, and the run that holds its picture of them."""
    from evidently import DataDefinition, Dataset, Report

    metrics = [_drift_metric()(column=name, method=methods[name], threshold=threshold) for name in pairs]
    definition = DataDefinition(
        numerical_columns=[name for name in pairs if methods[name] == NUMERIC_METHOD],
        categorical_columns=[name for name in pairs if methods[name] == CATEGORICAL_METHOD],
    )
    sides = [
        Dataset.from_pandas(_padded({name: pair[i] for name, pair in pairs.items()}), data_definition=definition)
        for i in (0, 1)
    ]
    run = Report(metrics, include_tests=False).run(sides[1], sides[0])
    found: Any = run.metric_results
    return {metric.column: float(found[metric.metric_id].value) for metric in metrics}, run


def _padded(columns: dict[str, pl.Series]) -> Any:
    """A pandas frame of columns of unequal length; Evidently drops the padding column by column."""
    longest = max(len(values) for values in columns.values())
    return pl.DataFrame(
        {name: values.extend_constant(None, longest - len(values)) for name, values in columns.items()}
    ).to_pandas()


@cache
def _drift_metric() -> Any:
    """Evidently's drift metric of one column, drawn as a row of a table.

    Its own picture costs four times what the measurement costs, because Plotly objects are built one by
    one; here the same bars are written as plain data.
    """
    from evidently.metrics import ValueDrift
    from evidently.metrics.column_statistics import ValueDriftCalculation

    class ColumnDriftCalculation(ValueDriftCalculation):
        def _render(self, result: Any, options: Any, color_options: Any) -> list[Any]:
            return [_table([result])]

    class ColumnDriftMetric(ValueDrift):
        def to_calculation(self) -> Any:
            return ColumnDriftCalculation(self.get_metric_id(), self)

    return ColumnDriftMetric


def _table(found: list[Any]) -> Any:
    from evidently.legacy.renderers import html_widgets as ui

    def row(drift: Any) -> Any:
        sides = (("reference", drift.reference, _GREY), ("current", drift.current, _BLUE))
        bars = [_bars(name, side.distribution, color) for name, side, color in sides]
        layout = {
            "barmode": "group",
            "bargap": 0.1,
            "yaxis": {"title": {"text": "share"}, "tickformat": ".0%"},
        }
        figure = ui.BaseWidgetInfo(type="big_graph", title="", size=2, params={"data": bars, "layout": layout})
        fields = {
            "column": drift.column_name,
            "reference": {"x": bars[0]["x"], "y": bars[0]["y"]},
            "current": {"x": bars[1]["x"], "y": bars[1]["y"]},
            "drift": "Detected" if drift.drift_detected else "Not detected",
            "method": drift.stattest_name,
            "score": round(drift.drift_score, 6),
        }
        return ui.RichTableDataRow(fields, ui.RowDetails().with_part("Distribution", figure))

    def histogram(title: str, field: str, color: str) -> Any:
        look = {"xField": "x", "yField": "y", "color": color}
        return ui.ColumnDefinition(title, field, ui.ColumnType.HISTOGRAM, options=look)

    head = [
        ui.ColumnDefinition("Column", "column"),
        histogram("Reference", "reference", _GREY),
        histogram("Current", "current", _BLUE),
        ui.ColumnDefinition("Drift", "drift"),
        ui.ColumnDefinition("Method", "method"),
        ui.ColumnDefinition("Score", "score", sort=ui.SortDirection.DESC),
    ]
    return ui.rich_table_data(columns=head, data=[row(drift) for drift in found])


def _bars(name: str, side: Any, color: str) -> dict[str, Any]:
    places: list[Any] = [value if isinstance(value, str) else float(value) for value in side.x]
    if len(places) == len(side.y) + 1:
        places = [(low + high) / 2 for low, high in pairwise(places)]
    by_place = sorted(zip(places, side.y, strict=True), key=lambda pair: pair[0])
    total = float(sum(side.y)) or 1.0
    return {
        "type": "bar",
        "name": name,
        "x": [place for place, _ in by_place],
        "y": [float(count) / total for _, count in by_place],
        "marker": {"color": color},
    }


def _write_page(page: Path, title: str, run: Any, result: DriftResult) -> None:
    from evidently.core.metric_types import render_widgets
    from evidently.legacy.renderers import html_widgets as ui

    tables = [widget for found in run.metric_results.values() for widget in found.get_widgets()]
    table = tables[0]
    table.params["rowsPerPage"] = len(tables)
    table.params["data"] = [row for each in tables for row in each.params["data"]]
    table.additionalGraphs = [graph for each in tables for graph in each.additionalGraphs]
    measured = [column for column in result.columns if column.drifted is not None]
    drifted = sum(bool(column.drifted) for column in measured)
    figures = [
        ui.CounterData("drifted columns", f"{drifted} of {len(measured)}"),
        ui.CounterData("reference rows", f"{result.reference_rows:,}"),
        ui.CounterData("current rows", f"{result.current_rows:,}"),
    ]
    widgets = [ui.header_text(label=title), ui.counter(counters=figures), table]
    if rest := [[column.column, column.reason] for column in result.columns if column.drifted is None]:
        widgets.append(ui.table_data(title="Not measured", column_names=["Column", "Why"], data=rest))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_widgets([ui.group_widget(title="", widgets=widgets)]), encoding="utf-8")
