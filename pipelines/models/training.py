"""Training: every candidate is fitted on the past, chosen on what came next, judged on what came after that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from homeostat.hooks import Hooks
from homeostat.metrics import better, compute_metrics
from homeostat.pipelines import inference
from homeostat.pipelines.inference import Manifest, Predictor
from homeostat.pipelines.models.candidates import Fit, Table, fit_candidate, row_weights
from homeostat.pipelines.models.data_profile import DataProfile, learn_facts
from homeostat.pipelines.models.features import build_features, raw_view
from homeostat.pipelines.models.folder import keep_estimator, keep_parts, spread
from homeostat.pipelines.models.manifest import describe_model, encode_target, find_classes
from homeostat.pipelines.models.reference import reference_loss
from homeostat.pipelines.models.splits import split_by_time
from homeostat.project import METRICS, Project, Task
from homeostat.records import CandidateResult, FitCost

MIN_PART = 5
BLIND_ROUNDS = 50
Report = Callable[[str], None]


@dataclass
class Trained:
    """A trained model that is not registered yet. `reference` and `loss` are what its family had on the holdout.

    The holdout was kept from the fits that were compared; the model itself is then fitted on all `rows`.
    `candidates` says what each family reached.
    """

    family: str
    classes: list[str] | None
    positive: str | None
    rows: int
    params: dict[str, Any]
    reference: dict[str, float]
    candidates: list[CandidateResult]
    cost: FitCost
    manifest: Manifest
    fit: Fit
    hooks: Hooks
    sample: pl.DataFrame
    facts: DataProfile
    loss: dict[str, Any]

    @cached_property
    def predictor(self) -> Predictor:
        """The predictor, in memory, as it will be in the saved folder."""
        return Predictor(self.manifest, self.fit.model, self.hooks.build_features)

    def save(self, folder: Path) -> Path:
        """Write the model's folder (see `homeostat.pipelines.inference`), with a copy of the predictor's code.

        Returns the folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        keep_estimator(self.fit.model, self.family, folder)
        return keep_parts(folder, self.predictor, self.hooks, self.sample, self.facts)


def train_model(frame: pl.DataFrame, project: Project, hooks: Hooks, report: Report | None = None) -> Trained:
    """Train every candidate, choose by the project's metric, and refit the chosen one on all rows.

    `frame`: an inputs frame with `label`, sorted by event_at and key, holding only what is known by then. `_weight`
    says how much each row counts, and only rows of which `_measured` is true are measured on, where these are given.
    Raises DataError where there are too few rows or only one class. Deterministic, bit for bit.
    """
    say = report or (lambda _: None)
    lesson = _prepare(frame, project, hooks)
    fits, candidates = _compare(lesson, project, hooks, say)
    best = _choose(candidates, project)
    candidates[best] = replace(candidates[best], chosen=True)
    say(f"refitting {fits[best].family} on {lesson.frame.height} rows")
    last = fit_candidate(fits[best].family, lesson.table, lesson.manifest, project, hooks, rounds=fits[best].rounds)
    manifest = last.describe(lesson.manifest)
    if hooks.build_features is None and last.family != "hook":
        manifest["hooks"] = None
    raw = raw_view(lesson.frame, project).with_columns(lesson.frame["label"])
    return Trained(
        family=last.family,
        classes=manifest["classes"],
        positive=manifest["positive"],
        rows=lesson.frame.height,
        params=_params(project, manifest),
        reference=dict(candidates[best].holdout),
        candidates=candidates,
        cost=sum((fit.cost for fit in [*fits, last]), FitCost()),
        manifest=manifest,
        fit=last,
        hooks=hooks,
        sample=raw[spread(raw.height, project.monitoring.sample)],
        facts=learn_facts(lesson.frame, project),
        loss=_loss(lesson, fits[best], project),
    )


@dataclass(frozen=True, slots=True)
class _Lesson:
    """Labelled rows, encoded as every candidate learns from them."""

    frame: pl.DataFrame
    manifest: Manifest
    table: Table

    def score(self, fit: Fit, part: np.ndarray) -> pl.DataFrame:
        """What a fit predicts of the rows at these positions."""
        manifest = self.manifest
        values = inference.model_values(fit.model, fit.describe(manifest), self.table.matrix[part])
        return inference.outputs(values, manifest["task"], manifest["classes"], manifest["positive"])

    def measure(self, fit: Fit, part: np.ndarray, task: Task) -> dict[str, float]:
        """The task's metrics of a fit on the rows at these positions; none where there are none."""
        if not len(part):
            return {}
        labels = self.frame["label"].gather(part)
        return compute_metrics(task, labels, self.score(fit, part), self.manifest["positive"])


def _prepare(frame: pl.DataFrame, project: Project, hooks: Hooks) -> _Lesson:
    labelled = frame.filter(pl.col("label").is_not_null())
    classes = find_classes(labelled, project)
    features = build_features(labelled, project, hooks)
    manifest = describe_model(labelled, features, project, hooks, classes)
    target = encode_target(labelled["label"], manifest)
    table = Table(inference.encode(features, manifest["features"]), target, row_weights(labelled))
    return _Lesson(labelled, manifest, table)


def _loss(lesson: _Lesson, fit: Fit, project: Project) -> dict[str, Any]:
    parts, positive = _parts(lesson.frame, project.task), lesson.manifest["positive"]
    return reference_loss(lesson.frame, lambda part: lesson.score(fit, part), parts, project, positive)


def _compare(lesson: _Lesson, project: Project, hooks: Hooks, say: Report) -> tuple[list[Fit], list[CandidateResult]]:
    train, valid, holdout = _parts(lesson.frame, project.task)
    fits, results = [], []
    for family in dict.fromkeys(project.training.candidates):
        say(f"fitting {family} on {len(train)} rows")
        started = time.perf_counter()
        watched = lesson.table.part(valid) if len(valid) else None
        rounds = project.training.rounds if watched else min(project.training.rounds, BLIND_ROUNDS)
        table = lesson.table.part(train)
        fit = fit_candidate(family, table, lesson.manifest, project, hooks, rounds=rounds, valid=watched)
        seconds = time.perf_counter() - started
        reached = [lesson.measure(fit, part, project.task) for part in (valid, holdout)]
        fits.append(fit)
        results.append(CandidateResult(family, fit.rows, fit.rounds, fit.boosted, reached[0], reached[1], seconds))
    return fits, results


def _parts(frame: pl.DataFrame, task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split into train, valid and holdout; with little to learn from there are fewer parts.

    Rows that are not to be measured on are left out of valid and holdout, and learned from where they come early.
    Two parts use the later one for both; with one part nothing is held out, and nothing is measured.
    """

    def usable(parts: tuple[np.ndarray, ...]) -> bool:
        enough = all(len(part) >= MIN_PART for part in parts)
        return enough and (task is Task.REGRESSION or frame["label"].gather(parts[0]).n_unique() > 1)

    def measured(part: np.ndarray) -> np.ndarray:
        return part[frame["_measured"].to_numpy()[part]] if "_measured" in frame.columns else part

    first, *later = split_by_time(frame)
    three = first, *map(measured, later)
    if usable(three):
        return three[0], three[1], three[2]
    first, last = split_by_time(frame, (0.8, 0.2))
    two = first, measured(last)
    if usable(two):
        return two[0], two[1], two[1]
    nothing = np.empty(0, dtype=np.int64)
    return np.arange(frame.height), nothing, nothing


def _choose(candidates: list[CandidateResult], project: Project) -> int:
    """Choose by the project's metric on valid; where that is undefined, by the first that all have."""
    for metric in dict.fromkeys([project.metric, *METRICS[project.task]]):
        if all(metric in candidate.valid for candidate in candidates):
            best = 0
            for index, candidate in enumerate(candidates):
                if better(metric, candidate.valid[metric], candidates[best].valid[metric]):
                    best = index
            return best
    return 0


def _params(project: Project, manifest: Manifest) -> dict[str, Any]:
    settings = project.training
    known = {"family": manifest["family"], "rounds": manifest["rounds"], "seed": settings.seed}
    if manifest["family"] == "xgboost":
        known |= {"learning_rate": settings.learning_rate, "max_depth": settings.max_depth}
    return known | {"features": len(manifest["features"]), "metric": project.metric}
