"""What is written down of a model when it is registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from homeostat.records import CandidateResult, FitCost


@dataclass(frozen=True, slots=True)
class Registration:
    """A model that is to be registered under its `key`, once: what was known then, how good it was, its cost.

    `reference` are the metrics on rows held out from it, `candidates` what every family that was tried reached.
    `lake_versions` are those of the tables under `lake_uri` that it was made from.
    """

    key: str
    as_of: datetime
    family: str
    rows: int
    reference: Mapping[str, float]
    cost: FitCost
    params: Mapping[str, Any] = field(default_factory=dict)
    candidates: Sequence[CandidateResult] = ()
    lake_uri: str = ""
    lake_versions: Mapping[str, int] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Its figures, as a run has them."""
        cost = self.cost
        figures = {f"reference.{name}": value for name, value in self.reference.items()}
        figures |= {"cost.fits": cost.fits, "cost.row_rounds": cost.row_rounds, "cost.cpu_seconds": cost.cpu_seconds}
        for candidate in self.candidates:
            for part, reached in (("valid", candidate.valid), ("holdout", candidate.holdout)):
                figures |= {f"{candidate.family}.{part}.{name}": value for name, value in reached.items()}
            figures[f"{candidate.family}.rounds"] = candidate.rounds
        return figures

    def facts(self) -> dict[str, Any]:
        """What a run says of it besides."""
        known = {"as_of": self.as_of.isoformat(), "rows": self.rows, "family": self.family, **self.params}
        return known | {f"lake.{table}": number for table, number in self.lake_versions.items()}
