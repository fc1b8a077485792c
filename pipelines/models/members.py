"""The members of an ensemble: models that differ in what they learned from, and how their weights follow the world.

A world changes abruptly or slowly, for good or back and forth, and no one window of learning suits all of it. So
models of several windows stand side by side, each cheap, and their weights follow which of them is right now: the
fixed-share forecaster (Herbster and Warmuth, "Tracking the best expert", 1998), on the loss that each showed on batches
that it had not learned from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from homeostat.hooks import Hooks
from homeostat.metrics import order_classes
from homeostat.pipelines import inference
from homeostat.pipelines.inference import Manifest, MemberManifest
from homeostat.pipelines.models.candidates import Boosting, Table, fit_candidate, row_weights
from homeostat.pipelines.models.families import FAMILIES
from homeostat.pipelines.models.features import build_features
from homeostat.pipelines.models.manifest import describe_model, encode_target
from homeostat.project import Project, Task
from homeostat.records import FitCost

FIRST, EVERYTHING, GROWING, LONG = "first", "everything", "growing", "long"
BOOSTED = "xgboost"
LONG_TICKS = 20
"""The slow member's window, beside those of `training.windows`."""
USUAL_ROUNDS = 40
MOST_STEP = 0.3
REACH = 10.0
"""Rounds times step of what learns from nothing: one that is worth few rounds must go far in each of them."""
# Share and rate were frozen on streams other than those that the benchmark measures.
SHARE, RATE = 0.2, 7.5
# A member with less than this share of what it would have if all were trusted alike is not heard.
QUIET_BELOW = 0.5
LEAST_ROWS = 100
LEAST_WINDOW = 400, 150
"""Rows of the wide and the narrow window at least: a few small ticks are too little to learn from."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a member learns on: the rows of the last so many ticks, or the newest `rows` where those are fewer."""

    ticks: int
    rows: int


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """How a member learns: on which `window` (None: on everything), in how many rounds, from which `base`.

    What learns on everything from nothing is refitted when there is much more of it. The others are refitted at every
    refresh: from the base as it is, or, for one that `grows`, from what it was itself until the base is made anew.
    """

    name: str
    family: str
    window: Window | None
    rounds: int
    max_depth: int
    step: float = MOST_STEP
    base: str | None = None
    grows: bool = False

    @property
    def whole(self) -> bool:
        """Whether it learns everything from nothing."""
        return self.window is None and self.base is None

    @property
    def short(self) -> bool:
        """Whether it learns a few of the newest ticks alone, of which each row matters."""
        return self.window is not None and self.name != LONG


@dataclass(frozen=True, slots=True)
class Member:
    """A fitted member: `told` is its part of the manifest (name, family, rounds, classes, features)."""

    manifest: MemberManifest
    model: Any
    cost: FitCost

    @property
    def name(self) -> str:
        """Its name in the ensemble."""
        return self.manifest["name"]


def list_specs(project: Project, manifest: Mapping[str, Any] | None = None) -> tuple[MemberSpec, ...]:
    """The members that a project's ensemble is made of besides its first model; a base comes before what needs it.

    How many rounds they boost follows from how many the first model of the `manifest` was found to need, on rows that
    came after those it learned from. An estimator of a hook is no member: what one fit of it costs is not known.
    """
    settings, (wide, narrow) = project.training, map(Window, project.training.windows, LEAST_WINDOW)
    depth, specs = settings.max_depth, []

    def step(rounds: int) -> float:
        return min(max(settings.learning_rate, REACH / rounds), MOST_STEP)

    if "xgboost" in settings.candidates:
        rounds, long = _rounds_needed(project, manifest), Window(max(LONG_TICKS, 2 * wide.ticks), 4 * wide.rows)
        some, few, fewest = max(rounds // 3, 20), max(rounds // 5, 10), max(rounds // 5, 12)
        specs += [
            MemberSpec(EVERYTHING, BOOSTED, None, rounds, depth, step(rounds)),
            MemberSpec(GROWING, BOOSTED, None, max(rounds // 10, 4), depth, step(rounds), EVERYTHING, grows=True),
            MemberSpec(LONG, BOOSTED, long, few, depth, step(rounds), EVERYTHING),
            MemberSpec("continued", BOOSTED, wide, few, depth, step(rounds), EVERYTHING),
            MemberSpec("recent", BOOSTED, wide, some, depth, step(some)),
            MemberSpec("newest", BOOSTED, narrow, fewest, min(depth, 4), step(fewest)),
        ]
    if "linear" in settings.candidates:
        specs.append(MemberSpec("linear_everything", "linear", None, 10, depth))
        specs.append(MemberSpec("linear_recent", "linear", wide, 10, depth))
    return tuple(specs)


def _rounds_needed(project: Project, manifest: Mapping[str, Any] | None) -> int:
    """How many rounds a model on everything needs: what stopping early found for the first model, if it was boosted."""
    most = project.training.rounds
    if manifest is None:
        return min(USUAL_ROUNDS, most)
    first = next(iter(manifest.get("members", ())), manifest)
    found = first["rounds"] if first["family"] == BOOSTED else USUAL_ROUNDS
    return min(max(found, USUAL_ROUNDS), most)


def forecast_cost(spec: MemberSpec, rows: int) -> int:
    """What a fit of a member will cost, in rows times rounds (a linear model is reckoned at ten passes)."""
    return rows * spec.rounds


def forecast_seconds(spec: MemberSpec, rows: int, columns: int, outputs: int) -> float:
    """What a fit of a member will cost, in CPU seconds of one core, for so many outputs; infinite where unknown."""
    price = FAMILIES.get(spec.family).price
    return math.inf if price is None else price.seconds(rows, columns, spec.rounds, outputs)


def fit_member(
    spec: MemberSpec,
    frame: pl.DataFrame,
    project: Project,
    hooks: Hooks,
    classes: list[str] | None,
    base: Member | None,
) -> Member | None:
    """Fit a member on a frame of labelled rows, sorted by event and key.

    How much each row counts is its `_weight`, where the frame has one. A class that is not among `classes` is learned
    too, where there are more than two. None where there is too little to learn from: fewer rows than `LEAST_ROWS`, one
    class only, or no base. Deterministic, bit for bit.
    """
    if spec.base is not None and base is None:
        return None
    own = _classes_of(frame, project, classes, base)
    frame = frame if own is None else frame.filter(pl.col("label").is_in(own))
    if frame.height < LEAST_ROWS or (own is not None and frame["label"].n_unique() < 2):
        return None
    features = build_features(frame, project, hooks)
    manifest = describe_model(frame, features, project, hooks, own)
    if base is not None:
        manifest["features"] = base.manifest["features"]
    target = encode_target(frame["label"], manifest)
    table = Table(inference.encode(features, manifest["features"]), target, row_weights(frame))
    boosting = Boosting(spec.step, spec.max_depth, None if base is None else base.model)
    fit = fit_candidate(spec.family, table, manifest, project, hooks, rounds=spec.rounds, boosting=boosting)
    return Member(part_of(spec.name, fit.describe(manifest)), fit.model, fit.cost)


def part_of(name: str, manifest: Manifest) -> MemberManifest:
    """What an ensemble says of a model of this manifest that is a member of it."""
    return {
        "name": name,
        "family": manifest["family"],
        "rounds": manifest["rounds"],
        "classes": manifest["classes"],
        "features": manifest["features"],
    }


def _classes_of(
    frame: pl.DataFrame, project: Project, classes: list[str] | None, base: Member | None
) -> list[str] | None:
    """The classes a member knows: its base's, else all of the ensemble's and those that have come since."""
    if classes is None or base is not None:
        return None if base is None else base.manifest["classes"]
    return list(order_classes([*classes, *frame["label"].unique()])) if project.task is Task.MULTICLASS else classes


def follow(weights: Mapping[str, float], losses: Mapping[str, float]) -> dict[str, float]:
    """One step of the fixed-share forecaster: weights (they add up to 1) after a batch of these mean losses.

    A member without a loss on this batch is taken to have lost what the others lost on average.

    >>> after = follow({"first": 0.5, "recent": 0.5}, {"first": 0.7, "recent": 0.5})
    >>> round(after["recent"], 3), round(sum(after.values()), 6)
    (0.754, 1.0)
    """
    if not losses:
        return dict(weights)
    average = sum(losses.values()) / len(losses)
    logs = {name: math.log(weight) - RATE * losses.get(name, average) for name, weight in weights.items()}
    top = max(logs.values())
    raw = {name: math.exp(value - top) for name, value in logs.items()}
    total = sum(raw.values())
    return {name: (1 - SHARE) * value / total + SHARE / len(raw) for name, value in raw.items()}


def heard(trust: Mapping[str, float]) -> dict[str, float]:
    """The weights (they add up to 1) with which members speak: who is trusted far less than most is not heard.

    Trust never falls to nothing, so that a member can come back; what is left of it would only blur the others.

    >>> heard({"first": 0.1, "recent": 0.45, "newest": 0.45})
    {'first': 0.0, 'recent': 0.5, 'newest': 0.5}
    """
    least = QUIET_BELOW / len(trust)
    total = sum(value for value in trust.values() if value >= least)
    return {name: value / total if value >= least else 0.0 for name, value in trust.items()}


def admit(weights: Mapping[str, float], names: list[str]) -> dict[str, float]:
    """Weights (they add up to 1) for `names`: who is new begins with as much as the best has, who is gone leaves.

    >>> admit({"first": 1.0}, ["first", "recent"])
    {'first': 0.5, 'recent': 0.5}
    """
    top = max((weights[name] for name in names if name in weights), default=1.0)
    raw = {name: weights.get(name, top) for name in names}
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()}
