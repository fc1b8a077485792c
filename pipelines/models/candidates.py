"""Candidates: one fit of one family, with what it cost. Every fit is bit-identical for the same input."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from homeostat.hooks import Hooks
from homeostat.pipelines.inference import Manifest
from homeostat.pipelines.models.families import FAMILIES, Boosting, FitRequest, Table
from homeostat.project import Project
from homeostat.records import FitCost


@dataclass(frozen=True, slots=True)
class Fit:
    """One fitted model. `rounds` are those it predicts with; `boosted` rounds or passes were paid for."""

    family: str
    model: Any
    rows: int
    rounds: int
    boosted: int
    cpu_seconds: float

    @property
    def cost(self) -> FitCost:
        """What this one fit cost: rows times rounds boosted, or times passes."""
        return FitCost(1, self.rows * self.boosted, self.cpu_seconds)

    def describe(self, manifest: Manifest) -> Manifest:
        """The manifest of a model that predicts with this fit."""
        made: Manifest = {**manifest, "family": self.family, "rounds": self.rounds}
        if trusted := FAMILIES.get(self.family).trusted:
            made["trusted"] = list(trusted)
        return made


def row_weights(frame: pl.DataFrame) -> np.ndarray | None:
    """How much each row of a training frame counts, (rows,): its column `_weight`; None where it has none."""
    return frame["_weight"].to_numpy() if "_weight" in frame.columns else None


def fit_candidate(
    family: str,
    train: Table,
    manifest: Manifest,
    project: Project,
    hooks: Hooks,
    *,
    rounds: int,
    valid: Table | None = None,
    boosting: Boosting | None = None,
) -> Fit:
    """Fit one family on `train`; with `valid`, boosting stops early on its loss.

    `manifest` gives the features, classes and task. `rounds` bounds boosting, and counts what is added where
    `boosting` goes on from a base; without `boosting` the project's settings hold. Raises ProjectError where there is
    no such family, or the hook's estimator cannot be built or fitted.
    """
    started = time.process_time()
    request = FitRequest(manifest, project, hooks, rounds, boosting or Boosting.of(project), valid)
    made = FAMILIES.get(family)().fit(train, request)
    seconds = time.process_time() - started
    return Fit(family, made.model, len(train.target), made.rounds, made.passes, seconds)
