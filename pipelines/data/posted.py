"""Rows that other systems posted, as frames such as a source would have given.

A column holds what JSON has: where all of its values are of one kind it gets that type, as a frame of a hook would have
it, else it is text, as a CSV would have it. Nothing in a row can make more than that row wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from homeostat.pipelines.data.times import INSTANT, parse_sent_times
from homeostat.project import Project
from homeostat.records import Post

_EXACT = 2**53
_RECEIVED = "=received_at"


def input_columns(project: Project) -> tuple[list[str], list[str]]:
    """The columns that a posted input must have, and all that it may have."""
    data = project.data
    needed = [data.key, data.event_time]
    known = [data.inputs.known_at] if data.inputs.known_at is not None else []
    return needed, list(dict.fromkeys([*needed, *known, *data.columns]))


def label_columns(project: Project) -> tuple[list[str], list[str]]:
    """The columns that a posted label must have, and all that it may have."""
    data = project.data
    more = [data.feedback.known_at, data.feedback.action, data.feedback.propensity]
    needed = [data.key, data.target]
    return needed, [*needed, *(column for column in more if column is not None)]


def frame_inputs(posts: Sequence[Post], project: Project) -> pl.DataFrame:
    """Posted inputs as a SOURCE frame (see `load_inputs` of the sources), in the order in which they came.

    A row could be had from when it says it could, but at the latest from when it was received.
    """
    data = project.data
    _needed, columns = input_columns(project)
    rows = _frame(posts, columns, text=[data.event_time, data.inputs.known_at])
    event_at = parse_sent_times(rows[data.event_time], data.timezone).alias("event_at")
    text = [] if data.event_time in ("event_at", "available_at") else [data.event_time]
    frame = rows.with_columns(event_at, _available(rows, data.inputs.known_at, project))
    wanted = dict.fromkeys([data.key, "event_at", "available_at", *text, *data.columns])
    return frame.select(list(wanted)).sort("available_at", maintain_order=True)


def frame_labels(posts: Sequence[Post], project: Project) -> pl.DataFrame:
    """Posted labels as a SOURCE frame (see `load_feedback` of the sources), in the order of `available_at`.

    A label was known when it says it was, but at the latest when it was received.
    """
    data = project.data
    _needed, columns = label_columns(project)
    rows = _frame(posts, columns, text=[data.feedback.known_at])
    frame = rows.with_columns(_available(rows, data.feedback.known_at, project))
    wanted = [column for column in columns if column != data.feedback.known_at]
    return frame.select(*wanted, "available_at").sort("available_at", maintain_order=True)


def _available(rows: pl.DataFrame, known_at: str | None, project: Project) -> pl.Series:
    received = rows[_RECEIVED]
    if known_at is None:
        return received.alias("available_at")
    sent_at = parse_sent_times(rows[known_at], project.data.timezone)
    return pl.select(pl.min_horizontal(sent_at, received)).to_series().alias("available_at")


def _frame(posts: Sequence[Post], columns: Sequence[str], text: Iterable[str | None]) -> pl.DataFrame:
    rows = [row for post in posts for row in post.rows]
    received = [post.received_at for post in posts for _ in post.rows]
    made = [_column(name, rows, as_text=name in tuple(text)) for name in columns]
    return pl.DataFrame([*made, pl.Series(_RECEIVED, received, INSTANT)])


def _column(name: str, rows: Sequence[Mapping[str, Any]], *, as_text: bool) -> pl.Series:
    values = [row.get(name) for row in rows]
    kinds = {type(value) for value in values if value is not None}
    if not as_text and kinds <= {bool}:
        return pl.Series(name, values, pl.Boolean if kinds else pl.Null)
    if not as_text and kinds <= {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pl.Series(name, values, pl.Int64)
    if not as_text and kinds <= {int, float} and all(value is None or abs(value) <= _EXACT for value in values):
        return pl.Series(name, [None if value is None else float(value) for value in values], pl.Float64)
    return pl.Series(name, [_text(value) for value in values], pl.String)


def _text(value: object) -> str | None:
    """A value as it would stand in a CSV."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return str(int(value))
    return json.dumps(value)


def frame_keys(post: Post, key: str) -> pl.Series:
    """The keys of a post's rows."""
    return _column(key, post.rows, as_text=False)
