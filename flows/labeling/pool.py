"""The rows that people could be asked about, and their scores by the models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from homeostat.flows.facts import DRAWN, LastDraw
from homeostat.flows.labeling.answers import classes_of
from homeostat.flows.loop import Loop
from homeostat.flows.roles import AS_SCORED, scored_as
from homeostat.metrics import class_chances, positive_class
from homeostat.pipelines.data.sources import has_feedback
from homeostat.pipelines.labels.doubts import find_doubts, is_doubtful
from homeostat.pipelines.models.features import raw_view
from homeostat.project import Task
from homeostat.records import Batch, BatchState, LabelTask, Purpose, Role


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows without a label that nobody was asked about: key, `_batch` and features; `measure` marks those never drawn
    from; `doubtful` has the key, label, propensity and doubt of labels that look wrong, the most doubtful first.
    """

    rows: pl.DataFrame
    measure: np.ndarray
    doubtful: pl.DataFrame


def find_pool(loop: Loop, tasks: list[LabelTask], at: datetime) -> Pool:
    """Gather what can be asked about at `at`; `tasks` are all that were ever asked."""
    batches = _batches(loop, at)
    rows = _unlabelled(loop, batches, {task.key for task in tasks}, at)
    drawn = (loop.store.get_fact(DRAWN) or LastDraw()).drawn
    begun = loop.version_of("champion") is not None
    scored = [batch for batch in batches if not begun or batch.state is BatchState.SCORED]
    fresh = [batch.id for batch in scored if batch.id > drawn]
    measure = rows["_batch"].is_in(fresh).to_numpy() if _wants_measuring(loop) else np.zeros(rows.height, dtype=bool)
    return Pool(rows, measure, _doubtful(loop, scored, tasks, at))


def _wants_measuring(loop: Loop) -> bool:
    """Where labels come by themselves they are what is measured on."""
    return not has_feedback(loop.project, loop.hooks)


def _batches(loop: Loop, at: datetime) -> list[Batch]:
    if loop.version_of("champion") is None:
        usable = {BatchState.VALIDATED, BatchState.HISTORY}
        return [b for b in loop.store.list_batches() if b.state in usable and b.end_at <= at]
    since = at - loop.project.labeling.pool * loop.project.loop.tick
    usable = {BatchState.SCORED, BatchState.HISTORY}
    return [b for b in loop.store.list_batches(after=since) if b.state in usable and b.end_at <= at]


def _unlabelled(loop: Loop, batches: list[Batch], asked: set[str], at: datetime) -> pl.DataFrame:
    columns = [loop.key, "_batch", "event_at", *loop.project.data.features]
    chosen = pl.col("_batch").is_in([b.id for b in batches]) & AS_SCORED
    inputs = loop.lake.scan("inputs", at)
    if inputs is None:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    unlabelled = loop.lake.collect("inputs", inputs.filter(chosen).select(columns))
    by_rule = pl.col("provenance") == "programmatic"
    given = loop.lake.latest("feedback", loop.key, at, where=~by_rule, keys=unlabelled[loop.key])
    if given is not None:
        unlabelled = unlabelled.join(given.select(loop.key), on=loop.key, how="anti", maintain_order="left")
    if asked:
        unlabelled = unlabelled.filter(~unlabelled[loop.key].cast(pl.String).is_in(list(asked)))
    return unlabelled.unique(loop.key, keep="last", maintain_order=True).sort("event_at", loop.key)


def chances_of(loop: Loop, keys: pl.Series, role: Role = Role.CHAMPION) -> np.ndarray | None:
    """Class chances by which a role scored rows when they came, (rows, classes), NaN where it scored none.

    None where no row was scored, and for regression.
    """
    classes = classes_of(loop)
    predictions = predictions_of(loop, keys, role)
    if predictions is None or loop.project.task is Task.REGRESSION or not classes:
        return None
    scored = predictions["prediction"].is_not_null().to_numpy()
    if not scored.any():
        return None
    chances = np.full((len(keys), len(classes)), np.nan)
    chances[scored] = _class_chances(loop, predictions.filter(pl.Series(scored)), classes)
    return chances


def chances_now(loop: Loop, keys: pl.Series, at: datetime) -> np.ndarray | None:
    """As `chances_of` the champion; rows that it did not score when they came it scores now.

    For rows without a label only: a model is too sure of rows that it learned from.
    """
    version, classes = loop.version_of("champion"), classes_of(loop)
    if version is None or not classes:
        return None
    earlier = chances_of(loop, keys)
    chances = np.full((len(keys), len(classes)), np.nan) if earlier is None else earlier
    silent = np.isnan(chances).any(axis=1)
    rows = (
        loop.lake.latest("inputs", loop.key, at, AS_SCORED, keys.filter(pl.Series(np.asarray(silent))))
        if silent.any()
        else None
    )
    if rows is not None and not rows.is_empty():
        predictions = loop.models.load(version).score(raw_view(rows, loop.project))
        place = {key: i for i, key in enumerate(keys.to_list())}
        chances[[place[key] for key in rows[loop.key].to_list()]] = _class_chances(loop, predictions, classes)
    return chances


def _class_chances(loop: Loop, predictions: pl.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """The scores of predictions as (rows, classes)."""
    if loop.project.task is not Task.BINARY:
        return class_chances(predictions, classes)
    score = predictions["score"].cast(pl.Float64).to_numpy()
    at = classes.index(positive_class(classes, loop.project.data.positive))
    return np.stack([score if i == at else 1 - score for i in range(2)], axis=1)


def predictions_of(loop: Loop, keys: pl.Series, role: Role = Role.CHAMPION) -> pl.DataFrame | None:
    """The newest prediction of each key in a role, in the order of `keys`; null where there is none."""
    scored = loop.lake.scan("predictions")
    if scored is None:
        return None
    mine = scored.filter(scored_as(role)).join(keys.to_frame().lazy(), on=loop.key, how="semi")
    newest = loop.lake.collect("predictions", mine).sort("scored_at").unique(loop.key, keep="last")
    return keys.to_frame().join(newest, on=loop.key, how="left", maintain_order="left")


def _doubtful(loop: Loop, batches: list[Batch], tasks: list[LabelTask], at: datetime) -> pl.DataFrame:
    """Labels of the pool's batches that the model, which had not learned from them, makes look wrong."""
    empty = pl.DataFrame(
        schema={loop.key: pl.String, "label": pl.String, "propensity": pl.Float64, "doubt": pl.Float64}
    )
    if loop.version_of("champion") is None or loop.project.task is Task.REGRESSION or not loop.project.labeling.relabel:
        return empty
    chosen = pl.col("_batch").is_in([b.id for b in batches])
    inputs = loop.lake.read("inputs", chosen & AS_SCORED, [loop.key])
    if inputs is None or inputs.is_empty():
        return empty
    labels = loop.lake.latest("feedback", loop.key, at, keys=inputs[loop.key])
    if labels is None or labels.is_empty():
        return empty
    again = {task.key for task in tasks if task.purpose is Purpose.RELABEL or task.wanted > 1}
    labels = labels.filter(~pl.col(loop.key).cast(pl.String).is_in(list(again)))
    chances, classes = chances_of(loop, labels[loop.key]), classes_of(loop)
    if chances is None:
        return empty
    known = np.asarray(np.isfinite(chances).all(axis=1))
    labels, chances = labels.filter(pl.Series(known)), chances[known]
    if labels.is_empty():
        return empty
    doubt = find_doubts(labels["label"], chances, classes)
    doubtful = labels.select(loop.key, "label", "propensity").with_columns(doubt=doubt)
    doubtful = doubtful.filter(pl.Series(is_doubtful(labels["label"], chances, classes)))
    return doubtful.sort(["doubt", loop.key], descending=[True, False])
