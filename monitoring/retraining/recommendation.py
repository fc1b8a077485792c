"""Which retraining policy a backtest recommends: the cheapest that is as good as the best, or nearly so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from homeostat.errors import DataError
from homeostat.metrics import better, gain
from homeostat.records import Decision, FitCost

SURE, FEW_TICKS = 1.96, 12
ENOUGH = 0.95


@dataclass(frozen=True, slots=True)
class Standing:
    """How a policy did. `metric` is over all labelled rows, `by_tick` over the rows of each tick, None where undefined.

    `labels` counts the labelled rows of each tick. `setting` is what a project file says to have the policy; None
    where the loop cannot run it. `triggers` counts alarms; None where a policy has none.
    """

    name: str
    setting: Mapping[str, Any] | None
    metric: float | None
    by_tick: tuple[float | None, ...]
    labels: tuple[int, ...]
    cost: FitCost
    triggers: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one policy was than another, a tick, with its standard error; positive is better."""

    mean: float
    error: float
    ticks: int

    @property
    def low(self) -> float:
        """The lower end of the interval of 95%."""
        return self.mean - SURE * self.error

    @property
    def high(self) -> float:
        """The upper end of the interval of 95%."""
        return self.mean + SURE * self.error


def compare(metric: str, one: Standing, other: Standing) -> Difference | None:
    """Compare two policies tick by tick, weighted by labels; None where no tick has both metrics.

    The noise is taken from the differences of successive ticks (von Neumann, "Distribution of the ratio of the mean
    square successive difference to the variance", 1941), with a variance that falls with a tick's labels: a gain that
    comes and goes with the world is no noise. With one tick the error is infinite.
    """
    both = [
        (gain(metric, a, b), weight)
        for a, b, weight in zip(one.by_tick, other.by_tick, one.labels, strict=True)
        if a is not None and b is not None
    ]
    if not both:
        return None
    gains, weights = np.array(both, dtype=np.float64).T
    mean = float(np.average(gains, weights=weights))
    if len(gains) < 2:
        return Difference(mean, math.inf, len(gains))
    per_label = np.mean(np.diff(gains) ** 2 / (1 / weights[1:] + 1 / weights[:-1]))
    return Difference(mean, math.sqrt(per_label / weights.sum()), len(gains))


def decide_policy(standings: Sequence[Standing], metric: str, now: datetime) -> Decision:
    """Recommend, among the policies that a project file can name, the cheapest that is as good as the best; pure.

    Best is the best metric over all rows. As good is what is within noise of it (the interval of the best's advantage a
    tick reaches 0), or keeps `ENOUGH` of its gain over the policy "never". Cheapest is by rows times rounds. Raises
    DataError where no such policy has a metric.
    """
    able = [standing for standing in standings if standing.setting is not None and standing.metric is not None]
    if not able:
        raise DataError(f"{metric} is undefined for every policy that could be recommended.", "Wait for more labels.")
    best = _best(able, metric)
    never = next((standing for standing in able if standing.name == "never"), best)
    good = {standing.name: why for standing in able if (why := _as_good(standing, best, never, metric)) is not None}
    chosen = min(
        (e for e in able if e.name in good), key=lambda standing: (standing.cost.row_rounds, standing.cost.fits)
    )
    evidence = {"metric": metric, "best": best.name, "as_good": list(good), "setting": dict(chosen.setting or {})}
    reasons = (*_reasons(chosen, best, good[chosen.name], metric), *_beyond(standings, best, metric), *_warning(best))
    return Decision(now, "backtest", chosen.name, reasons, evidence)


def _as_good(standing: Standing, best: Standing, never: Standing, metric: str) -> str | None:
    """Why a policy is as good as the best; None where it is not."""
    if standing is best:
        return "it is the best"
    ahead = compare(metric, best, standing)
    if ahead is not None and ahead.low <= 0:
        return f"the best is ahead by {_in_words(ahead)} a tick, which is noise"
    assert standing.metric is not None and best.metric is not None and never.metric is not None
    room = gain(metric, best.metric, never.metric)
    kept = gain(metric, standing.metric, never.metric) / room if room > 0 else 0.0
    return f"it keeps {kept:.0%} of what the best gains over {never.name}" if kept >= ENOUGH else None


def _best(standings: Sequence[Standing], metric: str) -> Standing:
    best = standings[0]
    for standing in standings[1:]:
        if standing.metric is not None and (best.metric is None or better(metric, standing.metric, best.metric)):
            best = standing
    return best


def _reasons(chosen: Standing, best: Standing, why: str, metric: str) -> tuple[str, ...]:
    if chosen is best:
        return (f"{best.name} has the best {metric}, {best.metric:.4f}, and nothing cheaper is as good",)
    share = chosen.cost.row_rounds / best.cost.row_rounds if best.cost.row_rounds else 1.0
    return (
        f"{chosen.name} has {metric} {chosen.metric:.4f}, and the best, {best.name}, {best.metric:.4f}; {why}",
        f"it costs {share:.0%} of what {best.name} costs",
    )


def _beyond(standings: Sequence[Standing], best: Standing, metric: str) -> tuple[str, ...]:
    """A policy that is only for comparison and was better than noise is named, since it shows what is missed."""
    others = [standing for standing in standings if standing.setting is None and standing.metric is not None]
    top = _best([best, *others], metric)
    difference = compare(metric, top, best) if top is not best else None
    if difference is None or difference.low <= 0:
        return ()
    return (f"{top.name}, which is only for comparison, was better than {best.name} by {_in_words(difference)} a tick",)


def _warning(best: Standing) -> tuple[str, ...]:
    known = sum(value is not None for value in best.by_tick)
    return (f"only {known} ticks have a metric, so that little can be told from noise",) if known < FEW_TICKS else ()


def _in_words(difference: Difference) -> str:
    return f"{difference.mean:.4f} ({difference.low:.4f} to {difference.high:.4f})"
