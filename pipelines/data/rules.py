"""The stated rules of a project, as expressions over source rows and their canonical form side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from homeostat.durations import format_duration
from homeostat.pipelines.data.ahead import lies_ahead
from homeostat.pipelines.data.canonical import canonical_class, canonical_classes, is_missing
from homeostat.project import Project, Task


@dataclass(frozen=True, slots=True)
class Rule:
    """`broken` is true where a row breaks the rule; `detail` says how."""

    name: str
    broken: pl.Expr
    detail: pl.Expr


def made(column: str) -> pl.Expr:
    """A column in its canonical form; those of the source keep their names beside it."""
    return pl.col("=" + column)


def input_rules(both: pl.Schema, source: pl.Schema, project: Project, now: datetime) -> list[Rule]:
    """The rules of inputs, in the order in which a row is blamed: key, time, type, missing, range, class."""
    data = project.data
    rules = [_key_rule(data.key), _time_rule(source, data.event_time), _ahead_rule(project, now)]
    for column in data.numeric:
        wrong = made(column).is_null() & ~is_missing(column, source[column])
        rules.append(Rule(f"type:{column}", wrong, shown(column, "is not a finite number")))
    for column in data.rules.required:
        gone = made(column).is_null()
        if column in data.numeric:
            gone = gone & is_missing(column, source[column])
        rules.append(Rule(f"missing:{column}", gone, pl.lit(f"{column} is missing")))
    for column, stated in data.rules.ranges.items():
        value = made(column).cast(pl.Float64, strict=False)
        low, high = stated.min, stated.max
        outside = pl.lit(False) if low is None else value < low
        outside = outside if high is None else outside | (value > high)
        words = f"is outside of {'' if low is None else low}..{'' if high is None else high}"
        rules.append(Rule(f"range:{column}", outside, shown(column, words)))
    for column, stated in data.rules.classes.items():
        known = pl.Series([canonical_class(value) for value in stated], dtype=pl.String)
        if both["=" + column].is_numeric():
            known = known.cast(pl.Float64, strict=False).drop_nulls()
        value = made(column) if both["=" + column].is_numeric() else made(column).cast(pl.String)
        rules.append(Rule(f"class:{column}", ~value.is_in(known.implode()), shown(column, "is not a stated class")))
    return rules


def feedback_rules(source: pl.Schema, project: Project, classes: tuple[str, ...] | None) -> list[Rule]:
    """The rules of feedback: key, unknown_key, then class or, for a regression target, type; action and propensity."""
    key, target = project.data.key, project.data.target
    rules = [_key_rule(key), Rule("unknown_key", ~made("seen"), shown(key, "is not the key of any input"))]
    stated = canonical_classes(project.data.classes) or (classes if project.task is Task.BINARY else None)
    if project.task is Task.REGRESSION:
        wrong = made("label").is_null() & ~is_missing(target, source[target])
        rules.append(Rule("type", wrong, shown(target, "is not a finite number")))
    elif stated:
        known = pl.Series(stated, dtype=pl.String).implode()
        words = f"is not one of the classes {', '.join(stated)}"
        rules.append(Rule("class", ~made("label").is_in(known), shown(target, words)))
    return rules + _origin_rules(source, project)


def _origin_rules(source: pl.Schema, project: Project) -> list[Rule]:
    """How a label came about must be readable: whether an action caused it, and with which chance it came."""
    action, propensity = project.data.feedback.action, project.data.feedback.propensity
    rules = []
    if action is not None and action in source:
        rules.append(Rule("action", made("caused").is_null(), shown(action, "is neither true nor false")))
    if propensity is not None and propensity in source:
        chance = made("chance")
        given = ~made("caused") & ~is_missing(propensity, source[propensity])
        wrong = given & (chance.is_null() | (chance <= 0) | (chance > 1))
        rules.append(Rule("propensity", wrong, shown(propensity, "is not a probability above 0 and up to 1")))
    return rules


def _key_rule(key: str) -> Rule:
    words = pl.when(pl.col(key).is_null()).then(pl.lit(f"{key} is missing"))
    return Rule("key", made(key).is_null(), words.otherwise(shown(key, "is not a key of the type of the others")))


def _time_rule(source: pl.Schema, event_time: str) -> Rule:
    bad_event = pl.col("event_at").is_null()
    words = pl.lit(f"{event_time} is missing or not a time")
    if source.get(event_time) == pl.String:
        words = pl.when(pl.col(event_time).is_null()).then(words).otherwise(shown(event_time, "is not a time"))
    words = pl.when(bad_event).then(words).otherwise(pl.lit("the time it was known at is missing or not a time"))
    return Rule("time", bad_event | pl.col("available_at").is_null(), words)


def _ahead_rule(project: Project, now: datetime) -> Rule:
    """An event is not known long before it happens, and nothing is known from the future on."""
    data = project.data
    had, event = (pl.col(name).dt.strftime("%Y-%m-%d %H:%M") for name in ("available_at", "event_at"))
    allowed = f"data.inputs.ahead allows {format_duration(data.inputs.ahead)}"
    column = data.event_time.replace("{", "(").replace("}", ")")
    words = "lies too far ahead of {}, when the row could be had, or of now"
    return Rule("time", lies_ahead(project, now), pl.format(f"{column}: {{}} {words}; {allowed}", event, had))


def shown(column: str, words: str) -> pl.Expr:
    """A detail: the column, its value as it came, and what is wrong with it."""
    return pl.format(f"{column.replace('{', '(').replace('}', ')')}: {{}} {words}", pl.col(column).cast(pl.String))
