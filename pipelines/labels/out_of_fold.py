"""Class chances of labelled rows from models that have not learned from them: what doubts and consensus are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from homeostat.hooks import Hooks
from homeostat.pipelines import inference
from homeostat.pipelines.inference import Manifest
from homeostat.pipelines.labels.sampling import key_numbers
from homeostat.pipelines.models.candidates import Boosting, Fit, Table, fit_candidate
from homeostat.pipelines.models.features import build_features
from homeostat.pipelines.models.manifest import describe_model, encode_target, find_classes
from homeostat.pipelines.models.members import MOST_STEP
from homeostat.project import Project, Task
from homeostat.records import FitCost

ROUNDS = 40
LEAST_CHANCE = 1e-6


@dataclass(frozen=True)
class OutOfFold:
    """Chances (rows, classes) of each row by models that learned from the others, and what the fits cost.

    `families` are those the chances come from, `losses` each family's mean log loss on the rows with a label.
    """

    classes: tuple[str, ...]
    chances: np.ndarray
    cost: FitCost
    families: tuple[str, ...] = ()
    losses: dict[str, float] | None = None


def score_out_of_fold(
    frame: pl.DataFrame,
    project: Project,
    hooks: Hooks,
    folds: int = 5,
    *,
    weights: np.ndarray | None = None,
    average: bool = False,
) -> OutOfFold:
    """Score each row of a labelled inputs frame with models that were fitted on the other folds.

    A row's fold is made from its key, so it stays the same as rows come and go. A row without a label is scored
    too, and learned from by nobody. Of the project's candidates the one of the least log loss gives the chances, with
    `average` the mean of all. `weights` (rows,) say how much each row counts in fits and losses. A class that was not
    seen in a training part has a tiny chance; none is 0, and each row's add up to 1. Raises ValueError for regression,
    DataError where there are too few labels, or only one class. Deterministic, bit for bit.
    """
    if project.task is Task.REGRESSION:
        raise ValueError("there are no class chances in regression")
    labelled = frame["label"].is_not_null().to_numpy()
    known = frame.filter(labelled)
    classes = find_classes(known, project)
    assert classes is not None
    features = build_features(frame, project, hooks)
    manifest = describe_model(known, features, project, hooks, classes)
    table = Table(inference.encode(features, manifest["features"]), np.zeros(frame.height, dtype=np.int32), weights)
    table.target[labelled] = encode_target(known["label"], manifest)
    at = (key_numbers(frame[project.data.key].cast(pl.String).to_list(), "fold") * folds).astype(np.int64)
    by_family, cost = {}, FitCost()
    for family in dict.fromkeys(project.training.candidates):
        by_family[family], spent = _score_family(family, table, labelled, at, manifest, project, hooks)
        cost += spent
    truth = known["label"].cast(pl.Enum(classes)).to_physical().to_numpy()
    losses = {name: _loss(chances[labelled], truth, weights, labelled) for name, chances in by_family.items()}
    chosen = tuple(by_family) if average else (min(losses, key=lambda name: losses[name]),)
    chances = np.mean([by_family[name] for name in chosen], axis=0)
    return OutOfFold(tuple(classes), chances, cost, chosen, losses)


def _score_family(
    family: str,
    table: Table,
    labelled: np.ndarray,
    at: np.ndarray,
    manifest: Manifest,
    project: Project,
    hooks: Hooks,
) -> tuple[np.ndarray, FitCost]:
    chances, cost = np.zeros((len(at), len(manifest["classes"] or ()))), FitCost()
    for fold in np.unique(at):
        train, held = np.flatnonzero(labelled & (at != fold)), np.flatnonzero(at == fold)
        if len(np.unique(table.target[train])) < 2:
            chances[held] = _rates(table.target[train], manifest)
            continue
        boosting = Boosting(MOST_STEP, project.training.max_depth)
        fit = fit_candidate(family, table.part(train), manifest, project, hooks, rounds=ROUNDS, boosting=boosting)
        chances[held] = _chances(fit, table.matrix[held], manifest)
        cost += fit.cost
    chances = np.clip(chances, LEAST_CHANCE, None)
    return chances / chances.sum(axis=1, keepdims=True), cost


def _chances(fit: Fit, matrix: np.ndarray, manifest: Manifest) -> np.ndarray:
    values = inference.model_values(fit.model, fit.describe(manifest), matrix)
    return _by_class(values, manifest) if values.ndim == 1 else values


def _by_class(positive: np.ndarray, manifest: Manifest) -> np.ndarray:
    return np.stack(
        [positive if label == manifest["positive"] else 1 - positive for label in manifest["classes"] or ()], axis=1
    )


def _rates(target: np.ndarray, manifest: Manifest) -> np.ndarray:
    """The share of each class (classes,) of an encoded target; where there is none at all, equal ones."""
    if not len(target):
        return np.full(len(manifest["classes"] or ()), 1 / len(manifest["classes"] or ()))
    if manifest["task"] == "binary":
        return _by_class(np.array([target.mean()]), manifest)[0]
    return np.bincount(target, minlength=len(manifest["classes"] or ())) / len(target)


def _loss(chances: np.ndarray, truth: np.ndarray, weights: np.ndarray | None, labelled: np.ndarray) -> float:
    lost = -np.log(chances[np.arange(len(truth)), truth])
    return float(np.average(lost, weights=None if weights is None else weights[labelled]))
