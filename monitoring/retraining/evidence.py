"""What is known when retraining is decided, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from homeostat.decisions import RetrainingKind, Weighing
from homeostat.metrics import gain
from homeostat.monitoring.retraining.forecast import Outcome, Plan
from homeostat.records import Decision, ModelRecord

MUCH, FELL = 1.2, 0.02
"""A fall that is worth telling: a loss so many times what it was, or another metric so much lower."""


@dataclass(frozen=True, slots=True)
class Learning:
    """What a forecast is made of: the plans that can be carried out, what came of earlier ones, and the accounts.

    `rows_a_tick` counts labelled rows, `new_labels` those since the last step; `spent`, `full_cost` and
    `full_cost_per_tick` are rows x rounds (see `homeostat.monitoring.retraining.forecast`).
    """

    plans: tuple[Plan, ...]
    outcomes: tuple[Outcome, ...]
    rows_a_tick: float
    new_labels: int
    spent: float
    full_cost: float
    full_cost_per_tick: float


@dataclass(frozen=True, slots=True)
class RetrainingEvidence:
    """What is known at a tick when retraining is decided.

    `labels` counts the labelled rows that may be trained on, `fresh_labels` those the champion can be compared on
    (scored after it was made), `labels_at_last_attempt` what `labels` was when a model was last trained. `caused` is
    the share of all labels, or of those of high scores if that is larger, that an action on the model's score caused.

    Each of the others is a sentence, where it holds: `broken`, what is wrong with the newest rows; `harm`, why the
    lineage's root version must come back; `held`, why nothing may take the champion's place without a person;
    `unlabelled`, why labels are wanted where too few have come; `stopped`, that labels used to come and no longer do;
    `fallen`, by how much the champion's newest metric is worse than it was.
    `learning` is there where the project learns in steps.
    """

    champion: ModelRecord | None
    labels: int
    fresh_labels: int
    labels_at_last_attempt: int
    last_attempt_at: datetime | None
    ticks_since_attempt: int
    alarm: Decision
    learning: Learning | None = None
    caused: float = 0.0
    broken: str | None = None
    harm: str | None = None
    held: str | None = None
    unlabelled: str | None = None
    stopped: str | None = None
    fallen: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy wants done and why; `weighing` is what it weighed, where it weighed something."""

    kind: RetrainingKind
    reasons: tuple[str, ...]
    weighing: Weighing = field(default_factory=Weighing)


def describe_fall(metric: str, was: float, now: float, version: int) -> str | None:
    """By how much a metric is worse than it was, as a person reads it; None where that is little.

    >>> describe_fall("rmse", 20.0, 100.0, 3)
    'rmse is 5.0x what it was when version 3 was made (100 against 20)'
    >>> describe_fall("auc", 0.8, 0.79, 3)
    """
    when = f"when version {version} was made"
    if gain(metric, 1.0, 0.0) > 0:
        return f"{metric} is {now:.3g}, and was {was:.3g} {when}" if was - now >= FELL else None
    if was <= 0 or now < MUCH * was:
        return None
    return f"{metric} is {now / was:.1f}x what it was {when} ({now:.3g} against {was:.3g})"
