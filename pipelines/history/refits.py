"""Refits of one learner on sets of rows, each made once: whoever asks for the same rows gets the same model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from homeostat.pipelines import inference
from homeostat.pipelines.history.knowledge import History, Known
from homeostat.pipelines.inference import Manifest
from homeostat.pipelines.models.candidates import Table, fit_candidate, row_weights
from homeostat.pipelines.models.manifest import describe_model, encode_target, find_classes
from homeostat.pipelines.models.training import train_model
from homeostat.records import FitCost


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    """A fitted model: `key` names what it learned from, `rows` are the positions of it, `cost` what it cost."""

    key: str
    manifest: Manifest
    model: Any
    rows: np.ndarray
    cost: FitCost

    def score_features(self, features: pl.DataFrame) -> pl.DataFrame:
        """Score rows of features: prediction, score, classes, scores, as `Predictor.score` gives them."""
        manifest = self.manifest
        values = inference.model_values(self.model, manifest, inference.encode(features, manifest["features"]))
        return inference.outputs(values, manifest["task"], manifest["classes"], manifest["positive"])


class Learner:
    """The learner that all policies share: the family and rounds that the first training chose.

    With `share` a fit on the same rows with the same labels and rounds is made once, and so is the scoring of a batch
    by it; without, everything is made anew each time, and comes out the same.
    """

    def __init__(self, history: History, share: bool = True) -> None:
        self.history, self.share = history, share
        self.family, self.rounds = "", 0
        self._fits: dict[str, Refit] = {}
        self._scored: dict[tuple[str, int], pl.DataFrame] = {}

    def train_first(self, known: Known) -> Refit:
        """Train as the loop trains its first champion, on all that is labelled. Raises DataError where it cannot."""
        history = self.history
        trained = train_model(known.lesson(known.first_rows), history.project, history.hooks)
        self.family, self.rounds = trained.fit.family, trained.fit.rounds
        return Refit("first", trained.manifest, trained.fit.model, known.first_rows, trained.cost)

    def fit(self, known: Known, rows: np.ndarray, rounds: int | None = None) -> Refit:
        """Fit on these labelled rows (positions, ascending), with labels as they are known.

        Raises DataError where they are too few or of one class only, ValueError where one has no known label.
        """
        if len(rows) and known.counts[rows].min() < 0:
            raise ValueError("rows without a known label cannot be learned from")
        wanted = self.rounds if rounds is None else rounds
        key = _name(rows, known.counts[rows], wanted, known.weights(rows))
        if key not in self._fits or not self.share:
            self._fits[key] = self._make(key, known, rows, wanted)
        return self._fits[key]

    def score(self, model: Refit, tick: int) -> pl.DataFrame:
        """Score the batch of a tick."""
        named = model.key, tick
        if named not in self._scored or not self.share:
            self._scored[named] = model.score_features(self.history.features[self.history.batch(tick)])
        return self._scored[named]

    def forget(self, kept: set[str]) -> None:
        """Let go of all fits but those of these keys, and of what was scored."""
        self._fits = {key: fit for key, fit in self._fits.items() if key in kept}
        self._scored = {}

    def _make(self, key: str, known: Known, rows: np.ndarray, rounds: int) -> Refit:
        project, hooks = self.history.project, self.history.hooks
        frame, features = known.lesson(rows), self.history.features[rows]
        manifest = describe_model(frame, features, project, hooks, find_classes(frame, project))
        target = encode_target(frame["label"], manifest)
        table = Table(inference.encode(features, manifest["features"]), target, row_weights(frame))
        made = fit_candidate(self.family, table, manifest, project, hooks, rounds=rounds)
        return Refit(key, made.describe(manifest), made.model, rows, made.cost)


def _name(rows: np.ndarray, labels: np.ndarray, rounds: int, weights: np.ndarray | None) -> str:
    digest = hashlib.blake2b(rows.astype(np.int64).tobytes(), digest_size=16)
    digest.update(labels.astype(np.int64).tobytes())
    if weights is not None:
        digest.update(weights.tobytes())
    return f"{digest.hexdigest()}/{rounds}"
