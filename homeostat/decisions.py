"""What decisions can say: the answers to each question, and what a decision about a challenger carries.

An answer is stored as its text, in `Decision.kind`; evidence as JSON, in `Decision.evidence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel


class AlarmKind(StrEnum):
    """Has the champion's lineage become worse? An alarm is raised once and stands until health is back, or until
    corrected labels leave it without ground; then it is ended or withdrawn, once."""

    ALARM = "alarm"
    STANDING = "standing"
    QUIET = "quiet"
    ENDED = "ended"
    WITHDRAWN = "withdrawn"

    @property
    def stands(self) -> bool:
        """Whether the champion's lineage is held for worse now."""
        return self in (AlarmKind.ALARM, AlarmKind.STANDING)


class RetrainingKind(StrEnum):
    """What is to be done about the champion?"""

    TRAIN_FIRST = "train_first"
    ADOPT = "adopt"
    RECALIBRATE = "recalibrate"
    REFRESH = "refresh"
    RETRAIN = "retrain"
    ROLLBACK = "rollback"
    FIX_DATA = "fix_data"
    LABEL = "label"
    WAIT = "wait"


STEPS = frozenset({RetrainingKind.RECALIBRATE, RetrainingKind.REFRESH, RetrainingKind.RETRAIN})
IDLE = frozenset({RetrainingKind.WAIT, RetrainingKind.FIX_DATA, RetrainingKind.LABEL})


class PromotionKind(StrEnum):
    """May a challenger take the champion's place? `WAIT`: it may, if a person says so, but nobody is asked now."""

    PROMOTE = "promote"
    ASK = "ask"
    WAIT = "wait"
    REFUSE = "refuse"


class Evidence(BaseModel, frozen=True):
    """What a decision had before its eyes. What was never set is not stored."""

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return self.model_dump(mode="json", exclude_unset=True)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """The evidence that was stored; keys that this version does not know are left out."""
        return cls.model_validate(dict(stored))


class Gate(Evidence, frozen=True):
    """Something that a challenger must show, as it was found when it was compared.

    `value` was measured and `limit` asked for, None where there is no number. One that is not `binding` warns only.
    `reason` says in words why it passed or did not; `details` are sentences for each group that a gate looked at.
    """

    name: str
    value: int | float | None
    limit: int | float | None
    passed: bool
    binding: bool
    reason: str
    details: tuple[str, ...] = ()


class PromotionEvidence(Evidence, frozen=True):
    """What champion and challenger were compared on, and every gate. `gain` is loss a row saved, where it was compared.

    `promised` is what it was found to save, shrunken for having been chosen. `step` is the retraining decision that
    made the challenger, `refitted` says that it has since learned from the compared rows too; `by`, `why` and
    `asked_at` are a person's word on it.
    """

    champion: int
    challenger: int
    rows: int
    batches: tuple[str, ...]
    champion_metrics: dict[str, float]
    challenger_metrics: dict[str, float]
    gates: tuple[Gate, ...] = ()
    segments: tuple[dict[str, Any], ...] = ()
    fairness: tuple[dict[str, Any], ...] = ()
    gain: float | None = None
    gain_error: float | None = None
    promised: float | None = None
    step: str | None = None
    refitted: bool = False
    by: str | None = None
    why: str | None = None
    asked_at: str | None = None


class PlanForecast(Evidence, frozen=True):
    """What one way to learn was forecast to bring: gain and spread in loss a row, worth and cost in prices."""

    kind: str
    gain: float
    spread: float
    worth: float
    cost: float
    row_rounds: int
    affordable: bool
    seconds: float | None = None


class Weighing(Evidence, frozen=True):
    """What a policy weighed: every way to learn, and the accounts in rows x rounds.

    `members` are those that the chosen step refits, `gain` what it is forecast to save a row; `free` says that it costs
    no more than may always be spent.
    """

    forecasts: tuple[PlanForecast, ...] = ()
    spent: int | float = 0
    full_cost: int | float = 0
    full_cost_per_tick: int | float = 0
    members: tuple[str, ...] | None = None
    gain: float = 0.0
    free: bool = False


class RetrainingFacts(Weighing, frozen=True):
    """What was known when retraining was decided: labels, the alarm, and what was weighed.

    `broken` says which column has gone, `unlabelled` why labels are wanted, `harm` why the root version would come back
    if a person's rollback did not hold; each only where it is so.
    """

    policy: str = ""
    labels: int = 0
    fresh_labels: int = 0
    labels_at_last_attempt: int = 0
    alarm: AlarmKind = AlarmKind.QUIET
    caused: float = 0.0
    blocked: bool = False
    broken: str | None = None
    unlabelled: str | None = None
    harm: str | None = None


class AlarmFacts(Evidence, frozen=True):
    """The e-processes of a lineage, one for all rows and one for each segment; `began` and `until` are instants.

    `changes` counts the alarms that were reached, ended or withdrawn.
    """

    lineage: int
    began: str
    until: str
    waits_for: str | None
    alpha: float
    tolerance: float
    loss_scale: float | None
    e_processes: tuple[dict[str, Any], ...]
    changes: int = 0
