"""Drift of a batch against the champion's reference rows, measured by Evidently."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import polars as pl

from homeostat.monitoring.drift.chance import chance_limit
from homeostat.monitoring.drift.measures import ColumnKind, DriftMeasure, find_measure, name_for_evidently
from homeostat.monitoring.drift.page import column_metric, write_page
from homeostat.monitoring.drift.verdict import judge_columns
from homeostat.records import ColumnDrift, DriftResult
from homeostat.sections.steering import Monitoring

if TYPE_CHECKING:
    import pandas as pd
    from evidently.core.report import Snapshot

_DIGITS = 9
_SMALL_SCALE = 0.01


@dataclass(frozen=True, slots=True)
class _Sample:
    """Present values of a column on both sides, times `factor`, and how it is measured."""

    kind: ColumnKind
    name: str
    measure: DriftMeasure
    reference: pl.Series
    current: pl.Series
    factor: float = 1.0


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
    are used, evenly spaced, so the same frames always give the same answer. Unless the settings name other
    measures, numeric columns: Wasserstein distance over the reference's standard deviation; categorical:
    Jensen-Shannon distance, the rarest values of a wide column taken together. A column has drifted where its
    score is at least `settings.drift_threshold`, and more than chance gives with so few rows: where nothing
    moved, any column is called drifted with a chance of about `settings.alpha`. A column that cannot be
    measured is reported with `drifted=None` and the reason, and the rest goes on. Under `settings.min_rows`
    rows on a side nothing is measured and no page is written. Raises ProjectError where the settings name a
    measure that is not known, or one fails.
    """
    if short := _too_few(reference.height, current.height, settings.min_rows):
        return DriftResult("unknown", None, (), reference.height, current.height, short)
    kinds = dict.fromkeys(numeric, ColumnKind.NUMERIC) | dict.fromkeys(categorical, ColumnKind.CATEGORICAL)
    reference, current = _by_time(reference), _by_time(current)
    samples = {name: _prepare(reference, current, name, kind, settings) for name, kind in kinds.items()}
    usable = {name: sample for name, sample in samples.items() if isinstance(sample, _Sample)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores, run = _measure(usable, settings.drift_threshold) if usable else ({}, None)
        level = settings.alpha / max(2 * len(usable), 1)
        columns = tuple(_column(name, sample, scores, settings, level) for name, sample in samples.items())
        result = _result(columns, reference.height, current.height, settings)
        if page is not None and run is not None:
            write_page(page, title, run, result)
    return result


def _too_few(reference_rows: int, current_rows: int, least: int) -> str | None:
    for side, rows in (("current", current_rows), ("reference", reference_rows)):
        if rows < least:
            return f"{rows} {side} rows; at least {least} are needed"
    return None


def _by_time(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("event_at", maintain_order=True) if "event_at" in frame.columns else frame


def _column(
    name: str, sample: _Sample | str, scores: Mapping[str, float], settings: Monitoring, level: float
) -> ColumnDrift:
    if isinstance(sample, str):
        return ColumnDrift(name, None, None, None, None, sample)
    score, threshold = round(scores[name], _DIGITS), settings.drift_threshold
    if score >= threshold:
        by_chance = chance_limit(sample.reference, sample.current, sample.measure.chance, level)
        threshold = max(threshold, round(by_chance, _DIGITS))
    return ColumnDrift(name, sample.name, score, threshold, score >= threshold)


def _result(
    columns: tuple[ColumnDrift, ...], reference_rows: int, current_rows: int, settings: Monitoring
) -> DriftResult:
    status, share = judge_columns(columns, settings)
    reason = None if share is not None else "no column can be measured"
    return DriftResult(status, share, columns, reference_rows, current_rows, reason)


def _prepare(
    reference: pl.DataFrame, current: pl.DataFrame, column: str, kind: ColumnKind, settings: Monitoring
) -> _Sample | str:
    """Present values of one column on both sides, or the reason why it cannot be measured."""
    for side, frame in (("current", current), ("reference", reference)):
        if column not in frame.columns:
            return f"absent from the {side} rows"
    before, after = _present(reference[column], kind), _present(current[column], kind)
    if reason := _unusable(before, after, settings):
        return reason
    name, measure = find_measure(kind, settings)
    before, after = _spaced(before, settings.sample), _spaced(after, settings.sample)
    if measure.pools:
        before, after = _pool(before, after, settings.drift_threshold)
    if kind is ColumnKind.CATEGORICAL or measure.distance is not None:
        return _Sample(kind, name, measure, before, after)
    factor = _factor(before, after)
    return _Sample(kind, name, measure, before * factor, after * factor, factor)


def _factor(before: pl.Series, after: pl.Series) -> float:
    """What brings a column of small scale to that of others: Evidently holds a deviation under 0.001 for 0.001."""
    largest = max(before.abs().to_numpy().max(), after.abs().to_numpy().max())
    deviation = largest if before.n_unique() == 1 else float(before.to_numpy().std())
    return 1.0 if deviation >= _SMALL_SCALE or deviation == 0 else 10.0 ** -math.floor(math.log10(deviation))


def _unusable(before: pl.Series, after: pl.Series, settings: Monitoring) -> str | None:
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
    return None


def _present(values: pl.Series, kind: ColumnKind) -> pl.Series:
    if kind is ColumnKind.CATEGORICAL:
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


def _measure(samples: Mapping[str, _Sample], threshold: float) -> tuple[dict[str, float], Snapshot]:
    """Evidently's score of each column, and the run that holds its picture of them."""
    from evidently import DataDefinition, Dataset, Report

    metric = column_metric()
    metrics = [
        metric(
            column=name,
            method=name_for_evidently(sample.name, sample.measure),
            threshold=threshold,
            factor=sample.factor,
        )
        for name, sample in samples.items()
    ]
    definition = DataDefinition(
        numerical_columns=[name for name, sample in samples.items() if sample.kind is ColumnKind.NUMERIC],
        categorical_columns=[name for name, sample in samples.items() if sample.kind is ColumnKind.CATEGORICAL],
    )
    reference, current = (
        Dataset.from_pandas(_padded(side), data_definition=definition)
        for side in (
            {name: sample.reference for name, sample in samples.items()},
            {name: sample.current for name, sample in samples.items()},
        )
    )
    run = Report(metrics, include_tests=False).run(current, reference)
    return {metric.column: _value(run, metric.metric_id) for metric in metrics}, run


def _value(run: Snapshot, metric: str) -> float:
    from evidently.core.metric_types import SingleValue

    result = run.metric_results[metric]
    assert isinstance(result, SingleValue)
    return float(result.value)


def _padded(columns: Mapping[str, pl.Series]) -> pd.DataFrame:
    """A pandas frame of columns of unequal length; Evidently drops the padding column by column."""
    longest = max(len(values) for values in columns.values())
    return pl.DataFrame(
        {name: values.extend_constant(None, longest - len(values)) for name, values in columns.items()}
    ).to_pandas()
