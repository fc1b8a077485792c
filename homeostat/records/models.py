"""What is known of registered versions, and what fitting costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class FitCost:
    """What fitting cost: `fits` fits, `row_rounds` rows times boosting rounds (or passes), CPU seconds."""

    fits: int = 0
    row_rounds: int = 0
    cpu_seconds: float = 0.0

    def __add__(self, other: FitCost) -> FitCost:
        return FitCost(self.fits + other.fits, self.row_rounds + other.row_rounds, self.cpu_seconds + other.cpu_seconds)


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """What one family reached: its metrics on the `valid` rows, by which one is chosen, and on the `holdout`.

    It was fitted on `rows` rows, predicts with `rounds` of the `boosted` rounds (or passes), and took `seconds`.
    """

    family: str
    rows: int
    rounds: int
    boosted: int
    valid: Mapping[str, float]
    holdout: Mapping[str, float]
    seconds: float
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One registered version: what it learned from, how good it was on its holdout, what it cost.

    `key` is the idempotency tag of its registration. `reference` holds the metrics on the rows that
    were held out from it; empty where a model came from elsewhere. `lineage` is the root version of its lineage, whose
    `loss` on its holdout the alarm compares the whole lineage with; None means itself. `loss` is what
    `homeostat.losses.describe_losses` gives: mean, rows, scale and more; empty where nothing was held out.
    """

    version: int
    key: str
    as_of: datetime
    family: str
    rows: int
    reference: Mapping[str, float]
    cost: FitCost
    run_id: str | None = None
    trained_until: datetime | None = None
    promoted_at: datetime | None = None
    lineage: int | None = None
    loss: Mapping[str, Any] = field(default_factory=dict)

    @property
    def root_version(self) -> int:
        """The root version of this one's lineage."""
        return self.version if self.lineage is None else self.lineage
