"""A project's history in memory: every row and every label, and the tick at which each became known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl

from homeostat.errors import DataError
from homeostat.hooks import Hooks
from homeostat.pipelines.data.ahead import came_late
from homeostat.pipelines.data.canonical import canonical_key
from homeostat.pipelines.data.sources import FOREVER, date_labels, load_feedback, load_inputs
from homeostat.pipelines.data.validation import Validated, decide_validation, validate_feedback, validate_inputs
from homeostat.pipelines.labels.delays import LabelDelays, estimate_delays, lookback, slot_of
from homeostat.pipelines.labels.sampling import fair_share
from homeostat.pipelines.models.features import build_features
from homeostat.project import Project


@dataclass(frozen=True, eq=False)
class History:
    """`rows` inputs and `m` labels, with ticks counted from the loop's start: what came before it has ticks up to 0.

    `frame` is an inputs frame sorted by event_at and key, `features` what the project's features are of it, and
    `tick` (rows,) the tick whose batch a row came with. Label number i is `labels[i]`, of the row `label_row[i]`,
    known from `label_tick[i]` on, and that was `label_delay[i]` ticks after its row came; labels are in the order in
    which they became known, corrections among them. A null takes the row's label back.
    """

    project: Project
    hooks: Hooks
    frame: pl.DataFrame
    features: pl.DataFrame
    tick: np.ndarray
    labels: pl.Series
    label_row: np.ndarray
    label_tick: np.ndarray
    label_delay: np.ndarray
    last: int

    def at(self, tick: int) -> datetime:
        """The end of a tick's slot."""
        return self.project.start_at + tick * self.project.loop.tick

    def batch(self, tick: int) -> np.ndarray:
        """Positions of the rows that came with a tick, in order."""
        return np.flatnonzero(self.tick == tick)

    @cached_property
    def came(self) -> np.ndarray:
        """The tick from which on the age of a row counts, (rows,): of the history, that of its event."""
        return self.frame.with_columns(_tick=pl.Series(self.tick)).select(_came(self.project)).to_series().to_numpy()

    @cached_property
    def first_delay(self) -> np.ndarray:
        """How many ticks after its row the first label of each row came, (rows,); none where none did."""
        least = np.full(self.frame.height, np.iinfo(np.int64).max)
        np.minimum.at(least, self.label_row, self.label_delay)
        return least

    def known(self, tick: int) -> Known:
        """What is known at the end of a tick."""
        upto = int(np.searchsorted(self.label_tick, tick, side="right"))
        counts = np.full(self.frame.height, -1, dtype=np.int64)
        np.maximum.at(counts, self.label_row[:upto], np.arange(upto))
        withdrawn = self.labels.is_null().to_numpy()
        counts[(counts >= 0) & withdrawn[counts]] = -1
        return Known(self, tick, counts)

    def truth(self) -> pl.Series:
        """The label of each row that counts in the end, null where none came."""
        return self.known(self.last).truth()


@dataclass(frozen=True, eq=False)
class Known:
    """What is known at a tick, and nothing else: rows that came by then, and their labels as they were known then.

    `counts` (rows,) is the number of the label that counts for each row, -1 where none is known.
    """

    history: History
    tick: int
    counts: np.ndarray

    @cached_property
    def labelled(self) -> np.ndarray:
        """Positions of the rows whose label is known, in the order of event and key."""
        return np.flatnonzero(self.counts >= 0)

    @cached_property
    def rows(self) -> np.ndarray:
        """Of the rows whose label is known those that are old enough for it to be a fair sample, in the same order."""
        rows = self.labelled
        return rows[self.ages(rows) >= self.delays.settled_after]

    @property
    def first_rows(self) -> np.ndarray:
        """What a first model learns from: `rows`, or all that are labelled where those would be too few."""
        return self.rows if len(self.rows) >= self.history.project.training.min_rows else self.labelled

    def ages(self, rows: np.ndarray) -> np.ndarray:
        """How many ticks ago rows came, (rows,)."""
        return np.maximum(self.tick - self.history.came[rows], 0)

    @cached_property
    def delays(self) -> LabelDelays:
        """How long labels have taken to come."""
        rows = self.labelled
        rows = rows[self.history.came[rows] > self.tick - lookback(self.history.project)]
        first = self.history.first_delay[rows]
        labels = self.history.labels.gather(self.counts[rows])
        return estimate_delays(labels, first, np.maximum(self.ages(rows), first), self.history.project)

    @property
    def fresh(self) -> np.ndarray:
        """Positions of the rows whose first label came with this tick, in the order in which labels became known."""
        rows, ticks = self.history.label_row, self.history.label_tick
        new = rows[ticks == self.tick]
        _, first = np.unique(new, return_index=True)
        new = new[np.sort(first)]
        return new[~np.isin(new, rows[ticks < self.tick])]

    def recent(self, ticks: int) -> np.ndarray:
        """Labelled rows of the newest `ticks` batches that may be learned from."""
        rows = self.rows
        return rows[self.history.tick[rows] > self.history.tick[rows].max(initial=0) - ticks]

    def truth(self) -> pl.Series:
        """The label of every row of the history as it is known now, null where none is."""
        counts = pl.Series(self.counts)
        return self.history.labels.gather(counts.set(counts < 0, None))

    def frame(self, rows: np.ndarray) -> pl.DataFrame:
        """An inputs frame of these rows with `label`, as training takes it. Raises ValueError for rows yet to come."""
        if len(rows) and int(self.history.tick[rows].max()) > self.tick:
            raise ValueError(f"rows of a later tick than {self.tick} are not known yet")
        return self.history.frame[rows].with_columns(label=self.truth().gather(rows))

    def lesson(self, rows: np.ndarray) -> pl.DataFrame:
        """As `frame`; where labels of some class are still to come `_weight` and `_measured` make up for them."""
        frame = self.frame(rows)
        chances = self.chances(frame, rows)
        if (chances == 1).all() or (self.ages(rows) < self.delays.settled_after).any():
            return frame
        drawn = frame.select(self.history.project.data.key).with_columns(
            _sample=pl.Series(self.history.came[rows].astype(str)), propensity=pl.Series(chances)
        )
        fair = pl.Series(fair_share(drawn, self.history.project.data.key, "_sample"))
        return frame.with_columns(_weight=pl.Series(1 / chances), _measured=fair)

    def weights(self, rows: np.ndarray) -> np.ndarray | None:
        """How much each of these rows counts in a `lesson`, (rows,); None where all count the same."""
        frame = self.lesson(rows)
        return frame["_weight"].to_numpy() if "_weight" in frame.columns else None

    def chances(self, frame: pl.DataFrame, rows: np.ndarray) -> np.ndarray:
        """The chance of the label of each row of a frame, at these positions, to have come by now, (rows,)."""
        return self.delays.chances(frame["label"], self.ages(rows))


def load_history(project: Project, hooks: Hooks, last: int) -> History:
    """Load everything that is known by the end of tick `last`, validated batch by batch as the loop does it.

    Rows that break a stated rule are left out, and so are whole batches that would be held. Of several rows of a key
    the first batch counts. A label is known at its `known_at`, without one at its event plus the horizon, and not
    before its row. Features are built batch by batch, so no batch can see another. Raises DataError or ProjectError.
    """
    end = project.start_at + last * project.loop.tick
    frame = _inputs(project, hooks, end)
    if frame.is_empty():
        raise DataError(f"{project.file}: no input is known by {end:%Y-%m-%d %H:%M}.", "Give a later --until.")
    features = [
        build_features(part, project, hooks).with_columns(_row=part["_row"])
        for part in frame.with_row_index("_row").partition_by("_tick", maintain_order=True)
    ]
    labels = _labels(project, hooks, frame, end)
    return History(
        project,
        hooks,
        frame.drop("_tick"),
        pl.concat(features, how="diagonal_relaxed").sort("_row").drop("_row"),
        frame["_tick"].to_numpy(),
        labels["label"],
        labels["_row"].to_numpy().astype(np.int64),
        labels["_tick"].to_numpy(),
        labels["_delay"].to_numpy(),
        last,
    )


def _came(project: Project) -> pl.Expr:
    """The tick of a row; of the history, which comes at once, the one in whose slot its event lies."""
    by_event = slot_of(pl.col("event_at"), project, closed_left=True).clip(upper_bound=0)
    return pl.when(pl.col("_tick") <= 0).then(by_event).otherwise(pl.col("_tick"))


def _inputs(project: Project, hooks: Hooks, end: datetime) -> pl.DataFrame:
    """Accepted inputs with `_tick`: of a key that comes again the first batch counts, and of that its last row.

    Before the start, its first row.
    """
    key = project.data.key
    rows = load_inputs(project, hooks, None, end)
    slot = slot_of(pl.col("available_at"), project, closed_left=True).fill_null(0)
    slots = rows.with_columns(_tick=slot, _batch=slot.clip(0)).sort("_tick", maintain_order=True)
    accepted: list[pl.DataFrame] = []
    dtype = None
    # What came before the start is one batch, as it is for the loop.
    for part in slots.partition_by("_batch", maintain_order=True):
        at = project.start_at + int(part["_batch"][0]) * project.loop.tick
        checked = validate_inputs(part.drop("_tick", "_batch"), project, dtype, at)
        total = checked.accepted.height + checked.rejected.height
        if checked.accepted.height and _is_accepted(checked, total, project, at):
            dtype = checked.accepted.schema[key]
            ticks = part.select(canonical_key(part[key], dtype), "_tick").unique(key, keep="first", maintain_order=True)
            counts = "first" if part["_batch"][0] == 0 else "last"
            kept = checked.accepted.unique(key, keep=counts, maintain_order=True)
            accepted.append(kept.join(ticks, on=key, how="left", maintain_order="left"))
    if not accepted:
        return rows.clear()
    whole = pl.concat(accepted, how="diagonal_relaxed")
    return whole.unique(key, keep="first", maintain_order=True).sort("event_at", key)


def _is_accepted(checked: Validated, total: int, project: Project, at: datetime) -> bool:
    return decide_validation(checked.rejected_by_rule, total, project, at, "").kind == "accept"


def _labels(project: Project, hooks: Hooks, frame: pl.DataFrame, end: datetime) -> pl.DataFrame:
    """Labels of known rows in the order in which they became known: `label`, `_row`, `_tick`, `_delay`.

    None that was caused.
    """
    key = project.data.key
    rows = load_feedback(project, hooks, None, FOREVER if project.data.feedback.known_at is None else end)
    dated = rows
    if project.data.feedback.known_at is None:
        dated = date_labels(rows, frame.with_columns(had_at=came_late(project)), project)
    dated = dated.filter(pl.col("available_at") <= end)
    checked = validate_feedback(dated, project, frame[key], frame.schema[key], None, end)
    places = frame.select(pl.col(key), came="_tick", age_from=_came(project)).with_row_index("_row")
    known = checked.accepted.join(places, on=key, how="inner", maintain_order="left")
    slot = slot_of(pl.col("known_at"), project, closed_left=False)
    known = known.with_columns(
        _tick=pl.max_horizontal(slot, pl.col("came"), pl.lit(0, pl.Int64)),
        _delay=(slot - pl.col("age_from")).clip(0),
        label=pl.when(~pl.col("caused")).then("label"),
    )
    return known.sort("_tick", "known_at", "_row", maintain_order=True).select("label", "_row", "_tick", "_delay")
