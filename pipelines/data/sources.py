"""Where rows come from: slices of a project's inputs and feedback by the time they could be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import polars as pl

from homeostat.durations import instant
from homeostat.errors import HomeostatError, ProjectError
from homeostat.hooks import Hooks
from homeostat.pipelines.data.ahead import last_credible
from homeostat.pipelines.data.posted import frame_inputs
from homeostat.pipelines.data.source_types import open_address
from homeostat.pipelines.data.tables import FrameTable, Table, open_frame, require_columns
from homeostat.pipelines.data.text_types import read_typed, type_text
from homeostat.pipelines.data.times import INSTANT, check_time_type, parse_times
from homeostat.project import Project, Task
from homeostat.sections.data import Source

Which = Literal["inputs", "feedback"]
LoadHook = Callable[[Path, datetime], object]
FOREVER = datetime(2250, 1, 1, tzinfo=UTC)
"""A bound past every clock, and within what nanoseconds since 1970 can say."""


@dataclass(frozen=True, slots=True)
class Span:
    """The ends of a project's data: None where there is nothing, or where labels carry no times.

    Rows so far ahead of all others that their times are taken for mistakes are counted apart, and are no ends.
    """

    first: datetime | None
    last_input_available: datetime | None
    last_label_available: datetime | None
    input_rows: int
    misdated_inputs: int = 0
    misdated_labels: int = 0


def load_inputs(project: Project, hooks: Hooks, since: datetime | None, until: datetime) -> pl.DataFrame:
    """Load the inputs that could be had in [since, until), as a SOURCE frame, sorted by `available_at` and key.

    Columns: the key in its own type, `event_at` and `available_at` (Datetime us UTC, null where unparsable),
    the raw columns in their own types, and the event time's text under its own name where it came as text.
    Without `since` there is no lower bound, and rows whose time cannot be parsed are included. Only the slice
    is held in memory. A project whose inputs come by posts alone has none here.
    Raises DataError or ProjectError, in one line.
    """
    if not has_inputs(project, hooks) and project.data.inputs.posted:
        return frame_inputs([], project)
    table = open_source(project, hooks, "inputs", until)
    data, available = project.data, project.data.inputs.known_at or project.data.event_time
    require_columns(table, [data.key, data.event_time, available, *data.columns])
    wanted = list(dict.fromkeys([data.key, data.event_time, available, *data.columns]))
    rows = _read(table, wanted, available, since, until, project, keep=data.keep)
    event_at = parse_times(rows[data.event_time], data.timezone, table.where).alias("event_at")
    available_at = event_at if available == data.event_time else _times(rows, available, project, table.where)
    at = available_at.alias("available_at")
    inside = _between(at, since, until)
    parsed = data.event_time in ("event_at", "available_at") or rows.schema[data.event_time] != pl.String
    text = [] if parsed else [data.event_time]
    columns = list(dict.fromkeys([data.key, *text, *data.columns]))
    frame = rows.with_columns(event_at, at).select(data.key, "event_at", "available_at", *columns[1:])
    return _within(frame, inside, since).sort("available_at", data.key, nulls_last=True, maintain_order=True)


def load_feedback(project: Project, hooks: Hooks, since: datetime | None, until: datetime) -> pl.DataFrame:
    """Load the labels known in (since, until]: the key and the target in their own types, and `available_at`.

    The columns that `data.feedback` names as action and propensity come with them, as they are. Where
    `data.feedback.known_at` is not set every row is returned with a null `available_at`; the caller decides when it
    counts (see `date_labels`). A project without a source of labels gets none.
    Raises DataError or ProjectError, in one line.
    """
    data, known = project.data, project.data.feedback.known_at
    if not _has_source(project, hooks, "feedback"):
        return pl.DataFrame(schema={data.key: pl.String, data.target: pl.String, "available_at": INSTANT})
    table = open_source(project, hooks, "feedback", until)
    columns = [data.key, data.target, *filter(None, (data.feedback.action, data.feedback.propensity))]
    require_columns(table, columns)
    if known is None:
        rows = _read_feedback(table, columns, None, None, until, project)
        frame = rows.with_columns(pl.lit(None, INSTANT).alias("available_at"))
    else:
        require_columns(table, [known], "the column of data.feedback.known_at, and others,")
        rows = _read_feedback(table, [*columns, known], known, since, until, project)
        at = _times(rows, known, project, table.where).alias("available_at")
        inside = at <= until if since is None else (at > since) & (at <= until)
        frame = _within(rows.with_columns(at), inside, since)
    return frame.select(*columns, "available_at").sort("available_at", data.key, nulls_last=True, maintain_order=True)


def _read_feedback(
    table: Table, columns: list[str], time: str | None, since: datetime | None, until: datetime, project: Project
) -> pl.DataFrame:
    propensity = project.data.feedback.propensity
    return _read(table, columns, time, since, until, project, keep=[] if propensity is None else [propensity])


def date_labels(labels: pl.DataFrame, inputs: pl.DataFrame, project: Project) -> pl.DataFrame:
    """Fill a missing `available_at` of labels with their input's `event_at` plus the feedback horizon.

    `inputs` has the key and `event_at`; of several rows of a key the last one counts. With `had_at` the horizon runs
    from the later of the two. Labels of unknown keys stay null. Row order is kept.
    """
    key = project.data.key
    begun = pl.max_horizontal("event_at", "had_at") if "had_at" in inputs.columns else pl.col("event_at")
    events = inputs.select(as_text(inputs[key]).alias("_key"), event_at=begun).unique("_key", keep="last")
    dated = labels.with_columns(as_text(labels[key]).alias("_key")).join(
        events, on="_key", how="left", maintain_order="left"
    )
    due = pl.col("event_at") + project.data.feedback.horizon
    return dated.with_columns(pl.coalesce("available_at", due).alias("available_at")).drop("_key", "event_at")


def span(project: Project, hooks: Hooks) -> Span:
    """Find the ends of the data: when the first and last input and the last label could be had."""
    data = project.data
    if not has_inputs(project, hooks) and data.inputs.posted:
        return Span(None, None, None, 0)
    table = open_source(project, hooks, "inputs", FOREVER)
    available = data.inputs.known_at or data.event_time
    require_columns(table, [available])
    inputs = _times(table.read([available]), available, project, table.where)
    labels = pl.Series("available_at", [], INSTANT)
    if data.feedback.known_at is not None and _has_source(project, hooks, "feedback"):
        table = open_source(project, hooks, "feedback", FOREVER)
        require_columns(table, [data.feedback.known_at])
        labels = _times(table.read([data.feedback.known_at]), data.feedback.known_at, project, table.where)
    ends = last_credible(inputs), last_credible(labels)
    ahead = (_count_after(times, end) for times, end in zip((inputs, labels), ends, strict=True))
    return Span(_first(inputs), *ends, len(inputs), *ahead)


def load_misdated(project: Project, rows: pl.DataFrame, at: datetime) -> pl.DataFrame | None:
    """The inputs of a uri that lie so far ahead of `at`, and of all others, that their time is a mistake.

    `rows` are those that could be had by `at`. None where there are none.
    """
    after = at + project.data.inputs.ahead
    if project.data.inputs.uri is None or rows.is_empty():
        return None
    table, available = open_address(project.data.inputs, project.folder), project.data.inputs.known_at
    column = available or project.data.event_time
    times = _times(table.read([column], column, after, None), column, project, table.where).alias("available_at")
    times = times.filter((times >= after).fill_null(False))
    end = last_credible(pl.concat([rows["available_at"], times])) if len(times) else None
    if end is None or not (times > end).any():
        return None
    return load_inputs(project, Hooks(), max(after, end + timedelta(microseconds=1)), FOREVER)


def has_inputs(project: Project, hooks: Hooks) -> bool:
    """Say whether the project has a source of inputs besides what is posted."""
    return _has_source(project, hooks, "inputs")


def has_feedback(project: Project, hooks: Hooks) -> bool:
    """Say whether labels come by themselves: from a source that the project names, or by posts."""
    return project.data.feedback.posted or _has_source(project, hooks, "feedback")


def _has_source(project: Project, hooks: Hooks, which: Which) -> bool:
    source, hook = _source_of(project, hooks, which)
    return source.uri is not None or hook is not None


def _source_of(project: Project, hooks: Hooks, which: Which) -> tuple[Source, LoadHook | None]:
    if which == "inputs":
        return project.data.inputs, hooks.load_inputs
    return project.data.feedback, hooks.load_feedback


def open_source(project: Project, hooks: Hooks, which: Which, until: datetime) -> Table:
    """Open the inputs or the feedback of a project: what its uri leads to, or a hook's frame.

    Raises DataError or ProjectError, in one line.
    """
    source, hook = _source_of(project, hooks, which)
    if source.uri is not None:
        return open_address(source, project.folder)
    if hook is None:
        raise ProjectError(
            f"{project.file}: data.{which}: no uri, and hooks.py has no load_{which}.",
            f"Set data.{which}.uri to a file or a SQLAlchemy URL, write the hook, or set posted = true.",
        )
    where = f"{project.folder / 'hooks.py'}: load_{which}"
    return open_frame(_call(hook, project.folder, until, where), where)


def as_text(keys: pl.Series) -> pl.Series:
    """Keys as text, so that 3, "3" and 3.0 meet whatever type a source gives them."""
    if keys.dtype.is_float():
        whole = keys.cast(pl.Int64, strict=False)
        return whole.cast(pl.String).zip_with(whole == keys, keys.cast(pl.String))
    return keys.cast(pl.String)


def _call(hook: LoadHook, folder: Path, until: datetime, where: str) -> object:
    try:
        return hook(folder, until)
    except HomeostatError:
        raise
    except Exception as fault:
        raise ProjectError(f"{where} failed for {instant(until)}: {type(fault).__name__}: {fault}.") from fault


def _read(
    table: Table,
    columns: list[str],
    time: str | None,
    since: datetime | None,
    until: datetime,
    project: Project,
    keep: list[str],
) -> pl.DataFrame:
    """The raw slice; columns of a CSV that hold integers or booleans throughout get those types."""
    data = project.data
    if isinstance(table, FrameTable) and time is not None:
        check_time_type(table.schema[time], data.timezone, f"{table.where}: column {time!r}")
    rows = table.read(columns, time, since, None if until >= FOREVER else until)
    if not isinstance(table, FrameTable) or not table.text:
        return rows
    times = {data.event_time, data.inputs.known_at, data.feedback.known_at}
    asked = [column for column in columns if column not in times and column not in data.numeric]
    if project.task is Task.REGRESSION:
        asked = [column for column in asked if column != data.target]
    types = type_text(table, asked, keep)
    return rows.with_columns(read_typed(pl.col(column), dtype) for column, dtype in types.items())


def _times(rows: pl.DataFrame, column: str, project: Project, where: str) -> pl.Series:
    return parse_times(rows[column], project.data.timezone, where)


def _within(frame: pl.DataFrame, inside: pl.Series, since: datetime | None) -> pl.DataFrame:
    return frame.filter(inside.fill_null(since is None))


def _between(at: pl.Series, since: datetime | None, until: datetime) -> pl.Series:
    """Whether times lie in [since, until); any time there is lies before `FOREVER`."""
    inside = at.is_not_null() if until >= FOREVER else at < until
    return inside if since is None else inside & (at >= since)


def _first(times: pl.Series) -> datetime | None:
    first = times.min()
    return first.astimezone(UTC) if isinstance(first, datetime) else None


def _count_after(times: pl.Series, end: datetime | None) -> int:
    return 0 if end is None else int((times > end).sum())


__all__ = [
    "FOREVER", "Span", "as_text", "date_labels", "has_feedback", "has_inputs", "load_feedback", "load_inputs",
    "load_misdated", "open_source", "span",
]  # fmt: skip
