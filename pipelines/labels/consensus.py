"""Consensus: one label an item from several people's answers, and how far each of them is to be trusted.

Where a model's chances are at hand it counts as one more voice: by CROWDLAB, or by the likelihood of the answers
(`homeostat.pipelines.labels.dawid_skene`). Without, the EM of Dawid and Skene settles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from homeostat.pipelines.labels.dawid_skene import weigh_answers
from homeostat.pipelines.labels.label_quality import crowdlab

SHARED = 10
LEAST_CHANCE = 1e-6
ALIKE = 0.1


@dataclass
class Consensus:
    """What was settled of one item: the label, how sure it is, and the share of its annotators who gave the same.

    `quality` and `agreement` are in [0, 1]. `spread` is of numbers only: their mean distance from the median.
    """

    label: str
    quality: float
    agreement: float
    annotators: tuple[str, ...]
    spread: float | None = None


def settle_answers(
    answers: pl.DataFrame,
    classes: Sequence[str],
    chances: np.ndarray | None,
    items: Sequence[str],
    *,
    method: Literal["crowdlab", "likelihood"] = "crowdlab",
) -> tuple[list[Consensus], pl.DataFrame]:
    """Settle one label for each of `items`, in their order, and rate the annotators.

    `answers`: item, annotator, label (text); null labels do not count, and of one annotator's answers to one item the
    last does. `chances` (items, classes) are a model's, out of sample, or None. A label that is not among `classes` is
    a class too. `method` says how the model has its say; that needs two annotators, two classes and some items with two
    answers. Else a vote weighted by the annotators' agreement settles, and the chances only rate what it says.
    The scoreboard is a frame: annotator, answers, agreement (with the consensus), quality, rank (1 is the best).
    Raises ValueError where an item has no answer, or the chances have another shape.
    """
    given = _last_answers(answers, items)
    named = [*classes, *sorted(set(given["label"]) - set(classes))]
    people = sorted(set(given["annotator"]))
    matrix = _lay_out(given, items, people, named)
    known = None if chances is None else _widen(chances, (len(items), len(classes)), matrix, len(named))
    labels, quality, trust = _settle(matrix, known, len(named), method)
    agreed = (matrix == labels[:, None]).sum(axis=1) / np.maximum((matrix >= 0).sum(axis=1), 1)
    made = [
        Consensus(named[label], float(sure), float(share), tuple(people[a] for a in np.flatnonzero(row >= 0)))
        for label, sure, share, row in zip(labels, quality, agreed, matrix, strict=True)
    ]
    return made, _scoreboard(people, matrix >= 0, matrix == labels[:, None], trust)


def settle_numbers(answers: pl.DataFrame, items: Sequence[str] | None = None) -> tuple[list[Consensus], pl.DataFrame]:
    """Settle the median of each item's answers (numbers, or text that says them), and rate the annotators.

    Answers are alike where they differ by less than a tenth of the spread of all medians; `agreement` is the share of
    answers that are like the median, and `quality` is 1 where all are equal and falls as they spread. Items come in the
    order given, else sorted. Frames and errors are as for `settle_answers`.
    """
    wanted = sorted(set(answers["item"].cast(pl.String))) if items is None else items
    given = _last_answers(answers.with_columns(pl.col("label").cast(pl.Float64, strict=False)), wanted)
    people = sorted(set(given["annotator"]))
    values = np.full((len(wanted), len(people)), np.nan)
    values[_positions(given["item"], wanted), _positions(given["annotator"], people)] = given["label"].to_numpy()
    middle = np.nanmedian(values, axis=1) if len(wanted) else np.empty(0)
    off = np.abs(values - middle[:, None])
    scale = float(np.std(middle)) if len(wanted) else 0.0
    scale = scale if scale > 0 else 1.0
    spread, alike = np.array([np.nanmean(row) for row in off]), off <= ALIKE * scale
    answered = np.isfinite(values)
    made = [
        Consensus(str(float(m)), float(1 / (1 + s / scale)), float(a[t].mean()), tuple(np.array(people)[t].tolist()),
                  float(s))
        for m, s, a, t in zip(middle, spread, alike, answered, strict=True)
    ]  # fmt: skip
    trust = np.array([1 / (1 + np.nanmean(off[:, a]) / scale) for a in range(len(people))])
    return made, _scoreboard(people, answered, alike, trust)


def _last_answers(answers: pl.DataFrame, items: Sequence[str]) -> pl.DataFrame:
    given = answers.select(pl.col("item", "annotator").cast(pl.String), "label").drop_nulls()
    given = given.filter(pl.col("item").is_in(list(items)))
    given = given.unique(["item", "annotator"], keep="last", maintain_order=True)
    if missing := set(items) - set(given["item"]):
        raise ValueError(f"{len(missing)} items have no answer, such as {min(missing)!r}")
    return given


def _positions(column: pl.Series, names: Sequence[str]) -> np.ndarray:
    places = {name: at for at, name in enumerate(names)}
    return np.array([places[value] for value in column], dtype=np.int64)


def _lay_out(answers: pl.DataFrame, items: Sequence[str], people: list[str], classes: list[str]) -> np.ndarray:
    matrix = np.full((len(items), len(people)), -1, dtype=np.int64)
    at = _positions(answers["item"], items), _positions(answers["annotator"], people)
    matrix[at] = _positions(answers["label"], classes)
    return matrix


def _widen(chances: np.ndarray, shape: tuple[int, int], matrix: np.ndarray, width: int) -> np.ndarray:
    """Chances (items, width), none of them 0; a class that the model does not know has its share of the answers."""
    if chances.shape != shape:
        raise ValueError(f"chances have the shape {chances.shape}; expected {shape}")
    wide = np.empty((len(chances), width))
    wide[:, : shape[1]] = np.clip(np.nan_to_num(chances, nan=1 / width), LEAST_CHANCE, None)
    wide[:, shape[1] :] = [np.mean(matrix[matrix >= 0] == label) for label in range(shape[1], width)]
    return wide / wide.sum(axis=1, keepdims=True)


def _settle(
    matrix: np.ndarray, chances: np.ndarray | None, classes: int, method: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class positions (items,), quality (items,), and each annotator's quality (annotators,)."""
    heard = chances if _is_comparable(matrix) else None
    weighed, accuracies = weigh_answers(matrix, classes, heard if method == "likelihood" else None)
    settled = crowdlab(matrix, heard) if heard is not None and method == "crowdlab" else None
    if settled is not None:
        trust = np.where(np.isfinite(settled.annotators), settled.annotators, accuracies)
        return settled.labels, np.clip(settled.quality, 0, 1), np.clip(trust, 0, 1)
    labels = weighed.argmax(axis=1)
    rated = weighed if chances is None or heard is not None else (weighed + chances) / 2
    return labels, rated[np.arange(len(labels)), labels], accuracies


def _is_comparable(matrix: np.ndarray) -> bool:
    """Whether there is enough to tell annotators apart by each other: classes, and items with two answers a class."""
    shared = ((matrix >= 0).sum(axis=1) > 1).sum()
    seen = len(np.unique(matrix[matrix >= 0]))
    return matrix.shape[1] > 1 and seen > 1 and shared >= max(SHARED, 2 * seen)


def _scoreboard(people: list[str], answered: np.ndarray, agrees: np.ndarray, trust: np.ndarray) -> pl.DataFrame:
    counts = answered.sum(axis=0)
    board = pl.DataFrame(
        {
            "annotator": pl.Series(people, dtype=pl.String),
            "answers": counts.astype(np.int64),
            "agreement": (agrees & answered).sum(axis=0) / np.maximum(counts, 1),
            "quality": np.asarray(trust, dtype=np.float64),
        }
    )
    board = board.sort(["quality", "agreement", "annotator"], descending=[True, True, False])
    return board.with_columns(rank=pl.int_range(1, board.height + 1, dtype=pl.Int64))
