"""A first project from a data file: every guess is shown with its reason, and is the person's to change."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from homeostat.durations import format_duration, instant
from homeostat.errors import DataError
from homeostat.pipelines.data.ahead import last_credible
from homeostat.pipelines.data.source_types import open_address
from homeostat.pipelines.data.tables import FrameTable, require_columns
from homeostat.pipelines.data.text_types import read_typed, type_text
from homeostat.pipelines.data.times import parse_times
from homeostat.pipelines.setup.positive import choose_positive, count_classes
from homeostat.project import Task
from homeostat.sections.data import Source

_KEY = re.compile(r"(^|_)(id|key|uuid|guid)$|(Id|ID|Key)$")
_TIME = re.compile(r"(^|_)(at|time|timestamp|datetime|date|day|ts)($|_)|(time|date|Time|Date|At)$", re.IGNORECASE)
_TARGETS = ("y", "target", "label", "outcome", "class", "response", "truth", "churn", "churned", "default", "fraud")
_CODE = re.compile(r"(^|_)(code|id|zip|zipcode|plz|postcode|type|category|class)($|_)|(Code|Id|ID)$", re.IGNORECASE)
_FEW, _TICKS, _SHOWN_FOR_TIMES, _MOSTLY = 20, 70, 1000, 0.95
_UNITS = (timedelta(hours=1), timedelta(days=1), timedelta(weeks=1))
_MONDAY = datetime(2001, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Guess:
    """A project file, and what in it was guessed: (what, value, why)."""

    toml: str
    guesses: list[tuple[str, str, str]]


@dataclass(slots=True)
class _Draft:
    """What is known of the file so far; `left` are the columns that have no role yet."""

    frame: pl.DataFrame
    times: dict[str, pl.Series]
    left: list[str]
    guesses: list[tuple[str, str, str]] = field(default_factory=list)

    def take(self, what: str, column: str, why: str) -> str:
        self.left.remove(column)
        self.guesses.append((what, column, why))
        return column


def guess_project(file: Path, folder: Path | None = None, now: datetime | None = None) -> Guess:
    """Guess a project from a CSV or Parquet file that holds inputs and labels together.

    The uri is written relative to `folder` (default: where the file lies). With `now` events that lie ahead of it are
    seen to do so by nature. Raises DataError where the file cannot be read, or holds no unique column, no time or
    nothing to predict.
    """
    frame = _read(file)
    times = {name: at for name in frame.columns if (at := _as_times(frame[name])) is not None}
    draft = _Draft(frame, times, list(frame.columns))
    key = _guess_key(draft, file)
    event_time = _guess_event_time(draft, file)
    zone = _guess_zone(draft, event_time)
    ahead = _guess_ahead(draft, event_time, now)
    target = _guess_target(draft, file)
    task = _guess_task(draft, target)
    positive = _guess_positive(draft, target) if task is Task.BINARY else None
    numeric, categorical = _guess_kinds(draft, target)
    if not numeric and not categorical:
        raise DataError(f"{file}: no column is left to predict {target!r} from.", "Give a file with more columns.")
    tick, start = _guess_loop(draft, event_time)
    near = (folder or file.parent).absolute()
    whole = file.absolute()
    values = {
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", file.stem).strip("-") or "project",
        "task": task.value, "key": key, "event_time": event_time, "timezone": zone, "target": target,
        "numeric": numeric, "categorical": categorical, "tick": format_duration(tick), "start": start,
        "uri": str(whole.relative_to(near) if whole.is_relative_to(near) else whole),
    }  # fmt: skip
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}
    return Guess(_write({**texts, "ahead": _ahead_line(ahead), "positive": _positive_line(positive)}), draft.guesses)


def _read(file: Path) -> pl.DataFrame:
    table = open_address(Source(uri=str(file.absolute())), Path())
    if len(table.columns) == 1:
        require_columns(table, ["a key, a time and a target"])
    frame = table.read(table.columns)
    if frame.is_empty():
        raise DataError(f"{file}: it holds no rows.", "Give a file with data in it.")
    if not isinstance(table, FrameTable) or not table.text:
        return frame
    types = type_text(table, table.columns, table.columns)
    return frame.with_columns(read_typed(pl.col(column), dtype) for column, dtype in types.items())


def _as_times(values: pl.Series) -> pl.Series | None:
    """The column as instants where it holds times (text: nearly all of it), else None."""
    if values.dtype in (pl.Date, pl.Datetime):
        return parse_times(values, "UTC", "")
    if values.dtype != pl.String:
        return None
    shown = values.drop_nulls().head(_SHOWN_FOR_TIMES)
    if shown.is_empty() or parse_times(shown, "UTC", "").null_count() > 0.05 * len(shown):
        return None
    return parse_times(values, "UTC", "")


def _guess_key(draft: _Draft, file: Path) -> str:
    frame = draft.frame
    usable = [c for c in draft.left if c not in draft.times and not (frame[c].dtype.is_float() or _odd(frame[c]))]
    unique = [c for c in usable if frame[c].null_count() == 0 and frame[c].n_unique() == frame.height]
    named = [c for c in unique if _KEY.search(c)]
    if named:
        best = min(named, key=lambda c: (c.lower() not in ("id", "key"), frame.columns.index(c)))
        return draft.take("key", best, "unique in every row, and named like a key")
    if unique:
        return draft.take("key", unique[0], "the first column that is unique in every row")
    raise DataError(f"{file}: no column is unique in every row.", "Add a key column, such as a row number.")


def _guess_event_time(draft: _Draft, file: Path) -> str:
    times = [c for c in draft.left if c in draft.times]
    if not times:
        raise DataError(f"{file}: no column holds times.", "Add one with datetimes or ISO text (2020-01-31T12:00Z).")
    named = [c for c in times if _TIME.search(c)]
    why = "holds times, and is named like one" if named else "the first column that holds times"
    return draft.take("event_time", (named or times)[0], why)


def _guess_zone(draft: _Draft, event_time: str) -> str:
    values = draft.frame[event_time]
    zone = getattr(values.dtype, "time_zone", None)
    if zone is not None:
        draft.guesses.append(("timezone", zone, "the times carry it"))
        return zone if "/" in zone else "UTC"
    why = "the times carry no zone, so this is a guess; change it where they are local times"
    if values.dtype == pl.String:
        shown = values.drop_nulls().str.strip_chars()
        if shown.str.contains(r"(?:[Zz]|UTC|:\d{2}.*[+-]\d{2}:?\d{0,2})$").all():
            why = "the times carry their offsets"
    draft.guesses.append(("timezone", "UTC", why))
    return "UTC"


def _guess_ahead(draft: _Draft, event_time: str, now: datetime | None) -> timedelta | None:
    """How far events lie ahead, of now or of an earlier time of their row; None where a day is enough."""
    event = draft.times[event_time]
    end = last_credible(event)
    found = [(end - now, "of now")] if now is not None and end is not None else []
    for column in (c for c in draft.left if c in draft.times):
        by = (event - draft.times[column]).drop_nulls()
        longest = by.quantile(0.999)
        if isinstance(longest, timedelta) and (by >= timedelta()).sum() >= _MOSTLY * len(by):
            found.append((longest, f"of {column}; if a row could be had from then on, set data.inputs.known_at to it"))
    longest, why = max(found, default=(timedelta(), ""))
    if longest <= timedelta(days=1):
        return None
    ahead = timedelta(days=longest.days + 1)
    draft.guesses.append(("ahead", format_duration(ahead), f"events lie up to {longest.days} days ahead {why}"))
    return ahead


def _guess_target(draft: _Draft, file: Path) -> str:
    can = [c for c in draft.left if c not in draft.times and not _odd(draft.frame[c]) and _can_be_target(draft, c)]
    named = [c for name in _TARGETS for c in can if c.lower() == name or c.lower().endswith("_" + name)]
    if named:
        return draft.take("target", named[0], "named like what is predicted")
    few = [c for c in can if 2 <= _distinct(draft, c) <= _FEW]
    if few:
        why = f"a guess: the last column with few distinct values ({_distinct(draft, few[-1])})"
        return draft.take("target", few[-1], why)
    if can:
        return draft.take("target", can[-1], "a guess: the last column that holds numbers")
    raise DataError(f"{file}: no column can be what is predicted.", "It needs two values or more that differ.")


def _can_be_target(draft: _Draft, column: str) -> bool:
    distinct = _distinct(draft, column)
    return distinct >= 2 and (draft.frame[column].dtype.is_numeric() or distinct <= _FEW)


def _guess_task(draft: _Draft, target: str) -> Task:
    values, distinct = draft.frame[target], _distinct(draft, target)
    whole = not values.dtype.is_float() or bool((values.drop_nulls() == values.drop_nulls().floor()).all())
    task = Task.BINARY if distinct == 2 else Task.MULTICLASS if distinct <= _FEW and whole else Task.REGRESSION
    draft.guesses.append(("task", task.value, f"{target} has {distinct} distinct values"))
    return task


def _ahead_line(ahead: timedelta | None) -> str:
    if ahead is None:
        return ""
    return f"ahead = {json.dumps(format_duration(ahead)):<22} # so far ahead events may lie\n"


def _guess_positive(draft: _Draft, target: str) -> str | None:
    chosen = choose_positive(count_classes(draft.frame[target]))
    if chosen is None:
        return None
    draft.guesses.append(("positive", chosen.name, f"{chosen.why}; scores are its probability"))
    return chosen.name


def _positive_line(positive: str | None) -> str:
    if positive is None:
        return ""
    line = f"positive = {json.dumps(positive, ensure_ascii=False)}"
    return f"{line:<30} # the class that scores are the probability of\n"


def _guess_kinds(draft: _Draft, target: str) -> tuple[list[str], list[str]]:
    numeric: list[str] = []
    categorical: list[str] = []
    for column in draft.left:
        kind, why = _kind(draft, column)
        if kind == "left out":
            draft.guesses.append((f"{column} left out", "-", why))
        else:
            (numeric if kind == "numeric" else categorical).append(column)
    draft.guesses.append(("numeric", ", ".join(numeric) or "-", "columns that hold numbers"))
    draft.guesses.append(("categorical", ", ".join(categorical) or "-", "text, booleans and whole-number codes"))
    return numeric, categorical


def _kind(draft: _Draft, column: str) -> tuple[str, str]:
    values, distinct = draft.frame[column], _distinct(draft, column)
    if column in draft.times:
        return "left out", "another time; if it says when the label was known, set data.feedback.known_at to it"
    if _odd(values):
        return "left out", f"it holds {values.dtype}, which cannot be a feature as it is"
    if distinct < 2:
        return "left out", "it never changes"
    many = distinct > 50 and distinct > 0.5 * values.count()
    code = values.dtype.is_integer() and _CODE.search(column) is not None
    if values.dtype.is_numeric() and not code:
        return "numeric", ""
    if many or distinct > 10_000:
        return "left out", f"{distinct} distinct values are too many for a category"
    return "categorical", ""


def _guess_loop(draft: _Draft, event_time: str) -> tuple[timedelta, str]:
    at = draft.times[event_time].drop_nulls().sort()
    first, last = at[0], at[-1]
    tick = min(_UNITS, key=lambda unit: abs(math.log(max((last - first) / unit, 1e-9) / _TICKS)))
    boundary = _at_or_after(at[len(at) // 5] + tick, tick)
    if boundary > last:
        boundary = max(_at_or_after(last, tick) - tick, _at_or_after(first, tick))
    start = instant(boundary)
    ticks = math.ceil((last - boundary) / tick)
    draft.guesses.append(("tick", format_duration(tick), f"about {max(ticks, 0)} ticks from the start to the end"))
    draft.guesses.append(("start", start, "after about a fifth of the rows, when their labels are known"))
    return tick, start


def _at_or_after(at: datetime, tick: timedelta) -> datetime:
    """The first boundary of ticks (counted from a Monday midnight) at or after a moment."""
    return _MONDAY + math.ceil((at - _MONDAY) / tick) * tick


def _distinct(draft: _Draft, column: str) -> int:
    return draft.frame[column].drop_nulls().n_unique()


def _odd(values: pl.Series) -> bool:
    dtype: Any = values.dtype
    return dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Duration, pl.Time, pl.Null)


def _write(values: dict[str, str]) -> str:
    return """\
[project]
name = {name}
task = {task}                  # binary | multiclass | regression

[data]
key = {key}                    # unique per row
event_time = {event_time}
timezone = {timezone}          # of times that carry none
target = {target}
{positive}numeric = {numeric}
categorical = {categorical}

[data.inputs]
uri = {uri}
{ahead}
# The labels come from the same file, which does not say when each was known. So each counts as known
# `horizon` after its event: set it to how long the truth really takes. Where the labels come with their own
# time, give that file and its column here: known_at = "COLUMN".
[data.feedback]
uri = {uri}
horizon = {tick}

[loop]
tick = {tick}
start = {start}                # what is known by then trains the first champion
""".format(**values)
