"""Labeling functions: rules that vote on rows, weighed by how often people found them right.

Ratner et al., "Data programming: creating large training sets, quickly" (2016), with accuracies that are measured
against people's labels rather than guessed from the votes alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from homeostat.pipelines.labels.dawid_skene import log_odds

USUAL = 0.7
RESULT = {"label": pl.String, "confidence": pl.Float64}
Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Labeler:
    """How good a labeling function was on checked rows; the last four are None where there was no such row.

    `dropped` says that it is worse than chance, and so left out.
    """

    labeler: str
    votes: int
    coverage: float
    checked: int
    dropped: bool
    accuracy: float | None
    low: float | None
    high: float | None

    @property
    def middle(self) -> float | None:
        """The middle of the interval, which its votes weigh by: two right of two is no certainty."""
        return None if self.low is None or self.high is None else (self.low + self.high) / 2

    def describe(self) -> str:
        """How good it was, in words."""
        if self.accuracy is None:
            return f"{self.labeler}: not checked yet"
        words = f"{self.labeler}: right in {self.accuracy:.0%} of {self.checked}"
        return f"{words} ({self.low:.0%} to {self.high:.0%}){', left out' if self.dropped else ''}"


def vote(
    votes: pl.DataFrame, accuracies: Mapping[str, float] | None, *, classes: Sequence[str] | None = None
) -> pl.DataFrame:
    """Settle each row's votes: label (String, null where all abstain) and confidence in [0, 1] (null likewise).

    `votes` has one column of text labels for each labeling function, null where it abstains. Naive Bayes: a vote weighs
    the log odds of its function's accuracy, and nothing where that is no better than chance. A function that
    `accuracies` does not name counts as right in 7 of 10. `classes` are those that could have been voted for; without
    it, those that were. Of equals the first class is taken.
    """
    named = sorted({*(classes or ()), *(value for column in votes for value in column.drop_nulls())})
    width = max(len(named), 2)
    voted = np.zeros((votes.height, votes.width, width), dtype=bool)
    for at, column in enumerate(votes):
        for place, label in enumerate(named):
            voted[:, at, place] = (column == label).fill_null(False).to_numpy()
    known = np.array([(accuracies or {}).get(name, USUAL) for name in votes.columns], dtype=np.float64)
    weight = np.exp(np.einsum("iac,a->ic", voted, log_odds(known, width)))
    chances = weight / weight.sum(axis=1, keepdims=True)
    best, spoken = chances.argmax(axis=1).tolist(), [bool(row.any()) for row in voted]
    labels = [named[at] if any_vote else None for at, any_vote in zip(best, spoken, strict=True)]
    confidence = [top if any_vote else None for top, any_vote in zip(chances.max(axis=1).tolist(), spoken, strict=True)]
    return pl.DataFrame({"label": labels, "confidence": confidence}, schema=RESULT)


def measure_labelers(votes: pl.DataFrame, truth: pl.Series, *, weights: np.ndarray | None = None) -> pl.DataFrame:
    """How often each labeling function votes and how often it is right, with Wilson's (1927) interval of 95%.

    `truth` (rows,) are people's labels, null where there is none. `weights` (rows,) are the inverse of the chances with
    which rows were sampled for people; the interval then counts by the effective number of rows (Kish, 1965). Returns
    labeler, votes, coverage, accuracy, low, high, checked (votes on rows that people labelled); accuracy, low and high
    are null where there are none.
    """
    weight = np.ones(votes.height) if weights is None else np.asarray(weights, dtype=np.float64)
    rows = []
    for column in votes:
        voted = column.is_not_null().to_numpy()
        judged = voted & truth.is_not_null().to_numpy()
        right = (column.cast(pl.String) == truth.cast(pl.String)).fill_null(False).to_numpy()
        measured = _measure(right[judged], weight[judged])
        coverage = float(voted.mean()) if votes.height else 0.0
        rows.append((column.name, int(voted.sum()), coverage, *measured, int(judged.sum())))
    numbers = dict.fromkeys(("coverage", "accuracy", "low", "high"), pl.Float64)
    schema = {"labeler": pl.String, "votes": pl.Int64, **numbers, "checked": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _measure(right: np.ndarray, weight: np.ndarray) -> tuple[float | None, float | None, float | None]:
    if not len(right) or weight.sum() <= 0:
        return None, None, None
    share = float(np.average(right, weights=weight))
    return share, *wilson_interval(share, float(weight.sum() ** 2 / (weight**2).sum()))


def wilson_interval(share: float, count: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share that was seen in `count` cases.

    >>> [round(edge, 3) for edge in wilson_interval(0.9, 10)]
    [0.596, 0.982]
    """
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
