"""Several ways to estimate one number, combined by how they fared on past windows, with an interval from the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray

NEWEST, LEAST_ERRORS, LEVEL = 3, 3, 0.9
NORMAL = 1.645  # of a normal error, LEVEL lies within so many standard deviations


@dataclass(frozen=True, slots=True)
class PastEstimate:
    """What each way estimated for one past window without its labels, what was realized, and its noise by chance."""

    end_at: datetime
    values: Mapping[str, float]
    realized: float
    noise: float


def combine(estimates: Mapping[str, float], past: Sequence[PastEstimate], gap: timedelta) -> float:
    """One estimate from those of several ways.

    `gap` is how much older than a window the labels are that it is estimated with. Each way stands as it is, and moved
    by its mean error over the newest past windows. These are averaged with weights by the likelihood of their errors
    (Bayesian model averaging with a common normal error: Hoeting et al., Statistical Science 1999). Ways that did
    about equally well are averaged, so that luck does not choose; one that did clearly better counts nearly alone.
    Without past windows it is their median.
    """
    import numpy as np

    ways = [way for way in estimates if all(way in one.values for one in past)]
    if not past or not ways:
        return float(np.median(list(estimates.values())))
    values, errors = [], []
    for way in ways:
        error = np.array([t.realized - t.values[way] for t in past])
        moved = [e - _shift(way, _known(past, t, gap)) for e, t in zip(error, past, strict=True)]
        values += [estimates[way], estimates[way] + _shift(way, past)]
        errors += [error, np.array(moved)]
    loss = np.array([np.sum(error**2) for error in errors])
    chance = np.sum([one.noise**2 for one in past])
    weight = np.exp(-0.5 * len(past) * (loss - loss.min()) / max(loss.min(), chance, 1e-24))
    return float(np.array(values) @ weight / weight.sum())


def past_errors(past: Sequence[PastEstimate], gap: timedelta) -> list[tuple[float, float]]:
    """What `combine` would have been off by on each past window, with what was known by then alone, and the noise."""
    known = [(one, _known(past, one, gap)) for one in past]
    return [(t.realized - combine(t.values, earlier, gap), t.noise) for t, earlier in known]


def half_width(errors: Sequence[tuple[float, float]], noise: float) -> float | None:
    """Half of an interval that is meant to hold LEVEL of what comes; None with too few past errors.

    Each error is taken in units of its scale, chance together with what past errors show beyond chance, and the
    conformal quantile of these is laid out in the scale of now (Lei et al., JASA 2018, with normalized residuals). It
    holds where errors are exchangeable. With too few for the quantile, the largest, and more than a normal error's.
    """
    if len(errors) < LEAST_ERRORS:
        return None
    more = max(sum(e**2 - s**2 for e, s in errors) / len(errors), 0.0)
    scaled = sorted(abs(e) / max((s**2 + more) ** 0.5, 1e-12) for e, s in errors)
    rank = -int(-LEVEL * (len(scaled) + 1) // 1)
    short = max(scaled[-1], NORMAL * (1 + 2 / len(scaled)))
    return (scaled[rank - 1] if rank <= len(scaled) else short) * (noise**2 + more) ** 0.5


def _known(past: Sequence[PastEstimate], one: PastEstimate, gap: timedelta) -> list[PastEstimate]:
    return [earlier for earlier in past if earlier.end_at <= one.end_at - gap and earlier is not one]


def _shift(way: str, past: Sequence[PastEstimate]) -> float:
    """The mean error over the newest past windows, shrunk by what chance explains (James and Stein, positive part)."""
    newest = [one for one in past[-NEWEST:] if way in one.values]
    if not newest:
        return 0.0
    mean = sum(t.realized - t.values[way] for t in newest) / len(newest)
    chance = sum(t.noise**2 for t in newest) / len(newest) ** 2
    return mean * max(0.0, 1 - chance / max(mean**2, 1e-24))
