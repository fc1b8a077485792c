"""Which retraining policy a backtest recommends: the cheapest whose metric is within noise of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from homeostat.errors import DataError
from homeostat.metrics import better, gain
from homeostat.records import Decision, FitCost

DRAWS, LEVEL = 2000, 0.95
FEW_TICKS = 12


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
    """How much better one policy was than another, a tick, with an interval of 95%; positive is better."""

    mean: float
    low: float
    high: float
    ticks: int

    @property
    def is_noise(self) -> bool:
        """Whether no difference at all is inside of the interval."""
        return self.low <= 0 <= self.high


def compare(metric: str, one: Standing, other: Standing) -> Difference | None:
    """Compare two policies tick by tick, weighted by labels; None where no tick has both metrics.

    The interval is that of a circular block bootstrap over ticks (Politis and Romano, 1992) with blocks of the cube
    root of their number: what is good at one tick tends to be good at the next. The draws are always the same.
    """
    both = [
        (gain(metric, a, b), weight)
        for a, b, weight in zip(one.by_tick, other.by_tick, one.labels, strict=True)
        if a is not None and b is not None
    ]
    if not both:
        return None
    gains, weights = np.array(both, dtype=np.float64).T
    count = len(gains)
    block = max(1, round(count ** (1 / 3)))
    starts = np.random.default_rng(0).integers(0, count, (DRAWS, -(-count // block)))
    drawn = ((starts[:, :, None] + np.arange(block)) % count).reshape(DRAWS, -1)[:, :count]
    means = (gains * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(float(np.average(gains, weights=weights)), float(low), float(high), count)


def decide_policy(standings: Sequence[Standing], metric: str, now: datetime) -> Decision:
    """Recommend, among the policies that a project file can name, the cheapest within noise of the best; pure.

    Best by the metric over all rows; within noise where the interval of the best's advantage a tick holds 0 or lies
    below it; cheapest by rows times rounds. Raises DataError where no such policy has a metric.
    """
    able = [each for each in standings if each.setting is not None and each.metric is not None]
    if not able:
        raise DataError(f"{metric} is undefined for every policy that could be recommended.", "Wait for more labels.")
    best = _best(able, metric)
    ahead = {each.name: compare(metric, best, each) for each in able if each is not best}
    close = [best] + [e for e in able if e is not best and (found := ahead[e.name]) is not None and found.low <= 0]
    chosen = min(close, key=lambda each: (each.cost.row_rounds, each.cost.fits))
    evidence = {
        "metric": metric,
        "best": best.name,
        "within_noise": [each.name for each in able if each in close],
        "setting": dict(chosen.setting or {}),
    }
    reasons = (*_reasons(chosen, best, ahead, metric), *_beyond(standings, best, metric), *_warning(best))
    return Decision(now, "backtest", chosen.name, reasons, evidence)


def _best(standings: Sequence[Standing], metric: str) -> Standing:
    best = standings[0]
    for each in standings[1:]:
        if each.metric is not None and (best.metric is None or better(metric, each.metric, best.metric)):
            best = each
    return best


def _reasons(chosen: Standing, best: Standing, ahead: Mapping[str, Difference | None], metric: str) -> tuple[str, ...]:
    if chosen is best:
        return (f"{best.name} has the best {metric}, {best.metric:.4f}, and nothing cheaper is within noise of it",)
    found = ahead[chosen.name]
    assert found is not None
    share = chosen.cost.row_rounds / best.cost.row_rounds if best.cost.row_rounds else 1.0
    return (
        f"{chosen.name} has {metric} {chosen.metric:.4f}, and the best, {best.name}, {best.metric:.4f}: "
        f"{_told(found)} a tick, which is noise",
        f"it costs {share:.0%} of what {best.name} costs",
    )


def _beyond(standings: Sequence[Standing], best: Standing, metric: str) -> tuple[str, ...]:
    """A policy that is only for comparison and was better than noise is named, since it shows what is missed."""
    others = [each for each in standings if each.setting is None and each.metric is not None]
    top = _best([best, *others], metric)
    found = compare(metric, top, best) if top is not best else None
    if found is None or found.low <= 0:
        return ()
    return (f"{top.name}, which is only for comparison, was better than {best.name} by {_told(found)} a tick",)


def _warning(best: Standing) -> tuple[str, ...]:
    known = sum(value is not None for value in best.by_tick)
    return (f"only {known} ticks have a metric, so that little can be told from noise",) if known < FEW_TICKS else ()


def _told(found: Difference) -> str:
    return f"{found.mean:.4f} ({found.low:.4f} to {found.high:.4f})"
