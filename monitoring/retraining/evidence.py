"""What is known when retraining is decided, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from homeostat.decisions import RetrainingKind, Weighing
from homeostat.monitoring.retraining.forecast import Outcome, Plan
from homeostat.records import Decision, ModelRecord


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
    `unlabelled`, why labels are wanted where too few have come; `stopped`, that labels used to come and no longer do.
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy wants done and why; `weighing` is what it weighed, where it weighed something."""

    kind: RetrainingKind
    reasons: tuple[str, ...]
    weighing: Weighing = field(default_factory=Weighing)
