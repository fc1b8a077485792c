"""Does retraining pay? What each way to learn is forecast to gain, against what it costs.

A decision to retrain buys a lower loss on the rows of the next ticks at the price of a fit. What it will gain is not
known, but what the last ones gained is: the same rows were scored by the model before and after. So the forecast is the
shrunken mean of those gains, newest first, and, since nothing is learned by waiting, with one standard error of
optimism. What was long ago says less, so optimism comes back with time, as in a discounted bandit (Garivier and
Moulines, "On upper-confidence bound policies for switching bandit problems", 2011). More data counts by the learning
curve. After Regol et al., "When to retrain a machine learning model" (ICML 2025), and Mahadevan and Mathioudakis,
"Cost-aware retraining" (2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from homeostat.decisions import RetrainingKind
from homeostat.sections.steering import Retraining

# The most rounds of the retraining on everything against which the budget is reckoned.
FULL_ROUNDS = 60
# Where labels are few, as those that people give, training is a matter of milliseconds: a tick counts as this at least.
LEAST_TICK_COST = 30_000
HORIZON_TICKS = 5
DECAY = 0.9
ENOUGH_ROWS, HALF_LIFE_TICKS = 100, 10.0
"""An outcome on fewer rows counts for less, and so does one of long ago: where no step paid, one is tried again."""
FREE_HOPE = 3.0
"""Standard errors of optimism where trying costs nothing: it must be plain that a step does not pay."""
PRIOR_GAIN, PRIOR_WEIGHT, PRIOR_SPREAD = 0.01, 2.0, 0.02
WORDS = {
    "recalibrate": "weighing the members anew",
    "refresh": "refitting on recent rows",
    "retrain": "learning everything anew",
}
RECALIBRATE, REFRESH, RETRAIN = RetrainingKind.RECALIBRATE, RetrainingKind.REFRESH, RetrainingKind.RETRAIN


@dataclass(frozen=True, slots=True)
class Plan:
    """A way to learn: the members it refits, what that costs, and what it learns from more data.

    `row_rounds` is the cost in rows x rounds, `seconds` in CPU seconds of one core, by what fits of its size take.
    """

    kind: str
    members: tuple[str, ...]
    row_rounds: int
    growth: float = 0.0
    seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one act: its forecast, and the mean loss a row it saved on rows that came after.

    `rows` are those that it was measured on, and `age` how many ticks ago.
    """

    kind: str
    forecast: float
    gained: float
    rows: int = ENOUGH_ROWS
    age: float = 0.0

    @property
    def weight(self) -> float:
        """How much it says of what the next one would save: less the fewer its rows are, and the longer it is ago."""
        return min(1.0, self.rows / ENOUGH_ROWS) * 0.5 ** (self.age / HALF_LIFE_TICKS)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan is forecast to bring: gain in mean loss a row and its spread, worth and cost in prices."""

    plan: Plan
    gain: float
    spread: float
    worth: float
    cost: float
    affordable: bool

    @property
    def net(self) -> float:
        """Worth less cost."""
        return self.worth - self.cost


def growth_gain(rows_before: int, rows_now: int) -> float:
    """What a model gains from more rows of the same world, by a learning curve that falls with their square root."""
    if rows_before <= 0 or rows_now <= rows_before:
        return 0.0
    return 1 / math.sqrt(rows_before) - 1 / math.sqrt(rows_now)


def forecast_plan(
    plan: Plan,
    outcomes: Sequence[Outcome],
    *,
    rows_a_tick: float,
    left: float,
    settings: Retraining,
    urgent: bool = False,
) -> Forecast:
    """Forecast one plan from the outcomes of its kind, oldest first. `left` is what the budget still allows.

    What takes no more than `retraining.free_seconds` is free, and so is everything where it is `urgent`.

    >>> plan = Plan("refresh", ("recent",), 100_000)
    >>> made = forecast_plan(plan, (), rows_a_tick=500, left=1e6, settings=Retraining())
    >>> round(made.worth, 2), round(made.cost, 2), made.affordable
    (60.36, 0.1, True)
    """
    mine = [outcome for outcome in outcomes if outcome.kind == plan.kind][::-1]
    gains = [outcome.gained for outcome in mine]
    weights = [DECAY**place * outcome.weight for place, outcome in enumerate(mine)]
    total = PRIOR_WEIGHT + sum(weights)
    mean = (PRIOR_WEIGHT * PRIOR_GAIN + sum(w * g for w, g in zip(weights, gains, strict=True))) / total
    squares = PRIOR_WEIGHT * PRIOR_SPREAD**2 + sum(w * (g - mean) ** 2 for w, g in zip(weights, gains, strict=True))
    spread = math.sqrt(squares / total) / math.sqrt(total)
    gain = mean + plan.growth
    free = urgent or plan.seconds <= settings.free_seconds
    worth = (gain + (FREE_HOPE if free else 1) * spread) * rows_a_tick * HORIZON_TICKS * settings.error_price
    cost = 0.0 if free else plan.row_rounds / 1e6 * settings.price
    return Forecast(plan, gain, spread, worth, cost, affordable=free or plan.row_rounds <= max(left, 0.0))


def choose_plan(
    plans: Sequence[Plan],
    outcomes: Sequence[Outcome],
    *,
    rows_a_tick: float,
    spent: float,
    full_cost: float,
    full_cost_per_tick: float,
    settings: Retraining,
    urgent: bool = False,
) -> tuple[Forecast | None, tuple[Forecast, ...]]:
    """Choose the most thorough plan that pays and that the budget allows; None where none does.

    `plans` come in order, each doing what those before it do and more. That is why they are not set against each other
    by their gains, which were measured at other times: what a thorough step gained includes what a small one would.
    `spent` and `full_cost` are rows x rounds: of the loop since its first model, and of a retraining on everything at
    every tick, of which the budget is a share; `full_cost_per_tick` is that of one more tick. Retraining on
    everything comes seldom, so it may run ahead of the budget, by what the ticks of the horizon will bring: further,
    and small fits would be missed when the world turns. Where it is `urgent`, since what serves is known to have become
    worse, nothing is too dear. Returns the choice and every forecast.
    """
    left = settings.budget * full_cost - spent
    ahead = left + settings.budget * full_cost_per_tick * HORIZON_TICKS
    forecasts = tuple(
        forecast_plan(
            plan,
            outcomes,
            rows_a_tick=rows_a_tick,
            left=ahead if plan.kind == RETRAIN else left,
            settings=settings,
            urgent=urgent,
        )
        for plan in plans
    )
    paying = [forecast for forecast in forecasts if forecast.affordable and (forecast.net > 0 or urgent)]
    return (paying[-1] if paying else None), forecasts


def describe(forecast: Forecast) -> str:
    """A forecast as a person reads it."""
    plan = forecast.plan
    expected = f"is expected to save {forecast.gain:.4f} ± {forecast.spread:.4f} a row"
    if forecast.gain < 0:
        expected = f"is expected to cost {-forecast.gain:.4f} ± {forecast.spread:.4f} a row"
    text = f"{WORDS.get(plan.kind, plan.kind)} {expected}; {_price(plan)}"
    return text if forecast.affordable else text + ", more than the budget allows now"


def _price(plan: Plan) -> str:
    if not plan.row_rounds:
        return "it costs nothing"
    if math.isinf(plan.seconds):
        return f"it costs {plan.row_rounds / 1e6:.2f} M rows x rounds"
    return f"it costs about {plan.seconds:.2g} s of training"
