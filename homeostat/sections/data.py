"""`[data]`: where rows come from, which column is what, and what is stated about them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from homeostat.sections.values import Class, Column, Duration, Number, Section, Zone

RESERVED = frozenset({
    "event_at", "available_at", "known_at", "label",
    "_batch", "_correction", "_posted", "_row", "_weight", "_measured", "_provenance",
})  # fmt: skip
RESERVED_KEYS = RESERVED | {
    "batch", "model_version", "role", "prediction", "score", "classes", "scores", "reasons", "scored_at",
    "ingested_at", "provenance", "who", "propensity", "caused", "explore",
}  # fmt: skip


class Source(Section):
    """Where rows come from: a path, a glob or a SQLAlchemy URL with a table or a query; no uri means the hook.

    `posted` says that they may also come by posts alone, where there is neither a uri nor a hook.
    """

    uri: str | None = None
    posted: bool = False
    table: str | None = None
    query: str | None = None
    known_at: Column | None = None

    @model_validator(mode="after")
    def _names_one_place(self) -> Self:
        if self.table is not None and self.query is not None:
            raise ValueError("query: give a table or a query, not both")
        if self.uri is None and (self.table is not None or self.query is not None):
            raise ValueError("uri: missing; a table or a query needs the SQLAlchemy URL of its database")
        return self


class InputSource(Source):
    """`[data.inputs]`: an event lies at most `ahead` after the row could be had; else its time is taken for a mistake.

    `corrections` says which version of a row is learned from: the one that was scored, or first known, or the newest.
    """

    ahead: Duration = timedelta(days=1)
    corrections: Literal["first", "newest"] = "first"


class FeedbackSource(Source):
    """`[data.feedback]`: `horizon` after the event a missing label counts as missing.

    `action` names a column that says whether something was done because of the model's score, `propensity` one with the
    chance that the label was left to come by itself all the same.
    """

    horizon: Duration = timedelta(days=7)
    action: Column | None = None
    propensity: Column | None = None


class Range(Section):
    """A stated range of a numeric column; a row outside of it is quarantined."""

    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _has_an_inside(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min: {self.min:g} is above max, {self.max:g}; nothing would lie between them")
        return self


class Rules(Section):
    """`[data.rules]`: stated facts about columns. What breaks one is quarantined."""

    ranges: dict[str, Range] = {}
    classes: dict[str, list[Class]] = {}
    required: list[str] = []
    max_broken: Annotated[Number, Field(ge=0, le=1)] = 0.5


_COLUMN_LISTS = ("numeric", "categorical", "keep", "segments", "sensitive")


class Data(Section):
    """`[data]`: which column is what."""

    key: Column
    event_time: Column
    timezone: Zone | None = None
    target: Column
    classes: list[Class] | None = None
    positive: Class | None = None
    numeric: list[Column] = []
    categorical: list[Column] = []
    keep: list[Column] = []
    segments: list[Column] = []
    sensitive: list[Column] = []
    inputs: InputSource = InputSource()
    feedback: FeedbackSource = FeedbackSource()
    rules: Rules = Rules()

    @property
    def features(self) -> list[str]:
        """The raw feature columns, numeric first."""
        return [*self.numeric, *self.categorical]

    @property
    def columns(self) -> list[str]:
        """Every raw column that is read besides key and event time, each once."""
        return list(dict.fromkeys([*self.features, *self.keep, *self.segments, *self.sensitive]))

    @model_validator(mode="after")
    def _columns_make_sense(self) -> Self:
        for mistake in (self._role_mistake(), self._feature_mistake(), self._name_mistake(), self._rule_mistake()):
            if mistake is not None:
                raise ValueError(mistake)
        return self

    def _role_mistake(self) -> str | None:
        for first, second in (("event_time", "key"), ("target", "key"), ("target", "event_time")):
            if getattr(self, first) == getattr(self, second):
                return f"{first}: {getattr(self, first)!r} is the {second} already; they are two columns"
        for named in ("action", "propensity"):
            column = getattr(self.feedback, named)
            if column is not None and column in (self.key, self.target, self.feedback.known_at, "available_at"):
                return f"feedback.{named}: {column!r} means something else already; name a column of its own"
        if self.feedback.action is not None and self.feedback.action == self.feedback.propensity:
            return f"feedback.propensity: {self.feedback.propensity!r} is the action already; they are two columns"
        if self.target in self.columns:
            lists = ", ".join(role for role in _COLUMN_LISTS if self.target in getattr(self, role))
            return f"target: {self.target!r} is among the features; take it out of {lists}"
        return None

    def _feature_mistake(self) -> str | None:
        if not self.columns:
            return "numeric: no feature columns; name at least one under numeric, categorical or keep"
        for role in _COLUMN_LISTS:
            named = getattr(self, role)
            if twice := [column for column in named if named.count(column) > 1]:
                return f"{role}: {twice[0]!r} is named twice"
        if both := sorted(set(self.numeric) & set(self.categorical)):
            return f"categorical: {both[0]!r} is numeric already; name it once"
        for role, column in (("key", self.key), ("event_time", self.event_time)):
            if column in self.features:
                return f"{role}: {column!r} is among the features; take it out"
        return None

    def _name_mistake(self) -> str | None:
        if self.key in RESERVED_KEYS:
            return f"key: {self.key!r} is a name Homeostat keeps for itself; rename the key column"
        for role in _COLUMN_LISTS:
            if taken := RESERVED & set(getattr(self, role)):
                return f"{role}: {min(taken)!r} is a name Homeostat keeps for itself; rename the column"
        return None

    def _rule_mistake(self) -> str | None:
        for rule in ("ranges", "classes", "required"):
            for column in getattr(self.rules, rule):
                if column not in self.columns:
                    return f"rules.{rule}: {column!r} is not a column of this project{nearest(column, self.columns)}"
        if self.classes is not None and len(set(map(str, self.classes))) < len(self.classes):
            return "classes: a class is named twice"
        return None


def nearest(name: str, known: Sequence[str]) -> str:
    """How a message about an unknown column ends: with the one that was meant, or with all there are."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; its columns are {', '.join(known)}"
