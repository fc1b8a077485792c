"""Several ways to estimate one number, combined by how they fared on past windows, with an interval from the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

NEWEST, LEAST_ERRORS, LEVEL = 3, 3, 0.9
NORMAL = 1.645  # of a normal error, LEVEL lies within so many standard deviations


@dataclass(frozen=True, slots=True)
class Trial:
    """What each way said of one past window without its labels, what came of it, and its noise by chance."""

    end_at: datetime
    said: Mapping[str, float]
    realized: float
    noise: float


def combine(said: Mapping[str, float], trials: Sequence[Trial], gap: timedelta) -> float:
    """One estimate from what each way says; `gap` is how much older than a window the labels are that it is made with.

    Each way stands as it is, and moved by its mean error over the newest trials; these are averaged with weights by
    the likelihood of their errors (Bayesian model averaging with a common normal error: Hoeting et al., Statistical
    Science 1999). Ways that fared alike are averaged, so that luck does not choose; one that fared clearly better is
    left nearly alone. Without trials it is the median of what they say.
    """
    import numpy as np

    ways = [way for way in said if all(way in trial.said for trial in trials)]
    if not trials or not ways:
        return float(np.median(list(said.values())))
    values, errors = [], []
    for way in ways:
        error = np.array([t.realized - t.said[way] for t in trials])
        moved = [e - _shift(way, _known(trials, t, gap)) for e, t in zip(error, trials, strict=True)]
        values += [said[way], said[way] + _shift(way, trials)]
        errors += [error, np.array(moved)]
    loss = np.array([np.sum(error**2) for error in errors])
    chance = np.sum([trial.noise**2 for trial in trials])
    weight = np.exp(-0.5 * len(trials) * (loss - loss.min()) / max(loss.min(), chance, 1e-24))
    return float(np.array(values) @ weight / weight.sum())


def past_errors(trials: Sequence[Trial], gap: timedelta) -> list[tuple[float, float]]:
    """What `combine` would have been off by on each trial, with the trials known by then alone, and the noise."""
    known = [(trial, _known(trials, trial, gap)) for trial in trials]
    return [(t.realized - combine(t.said, earlier, gap), t.noise) for t, earlier in known]


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


def _known(trials: Sequence[Trial], trial: Trial, gap: timedelta) -> list[Trial]:
    return [earlier for earlier in trials if earlier.end_at <= trial.end_at - gap and earlier is not trial]


def _shift(way: str, trials: Sequence[Trial]) -> float:
    """The mean error of the newest trials, less the more of it chance explains (James and Stein, positive part)."""
    newest = [trial for trial in trials[-NEWEST:] if way in trial.said]
    if not newest:
        return 0.0
    mean = sum(t.realized - t.said[way] for t in newest) / len(newest)
    chance = sum(t.noise**2 for t in newest) / len(newest) ** 2
    return mean * max(0.0, 1 - chance / max(mean**2, 1e-24))
