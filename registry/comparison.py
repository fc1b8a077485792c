"""A comparison of champion and challenger on the same fresh rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from homeostat.registry.segments import GroupGap, SegmentGain


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models scored on the same fresh rows, which neither was trained on.

    `champion_metrics` and `challenger_metrics` are computed on those `rows` rows, of `batches`, in this comparison;
    `gain` is the mean loss a row that the challenger saves (`homeostat.losses.scoring_losses`), `gain_error` its
    standard error, row by row; None where only the metrics are compared. `problem` says why it could not be made.
    `segments` are the groups that were compared one by one, `fairness` how far apart those of sensitive columns are.
    """

    champion: int
    challenger: int
    rows: int
    batches: tuple[str, ...]
    champion_metrics: Mapping[str, float]
    challenger_metrics: Mapping[str, float]
    problem: str | None = None
    gain: float | None = None
    gain_error: float | None = None
    segments: tuple[SegmentGain, ...] = ()
    fairness: tuple[GroupGap, ...] = ()
