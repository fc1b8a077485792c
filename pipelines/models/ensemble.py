"""An ensemble: one model whose members learned from different windows, written down and packed as any other model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from homeostat.hooks import Hooks
from homeostat.metrics import order_classes
from homeostat.pipelines.inference import ENSEMBLE, MEMBERS, Manifest, MemberManifest, Predictor
from homeostat.pipelines.models.data_profile import DataProfile, learn_facts
from homeostat.pipelines.models.features import raw_view
from homeostat.pipelines.models.folder import keep_estimator, keep_parts, spread
from homeostat.pipelines.models.members import FIRST, Member, MemberSpec, Window, admit, fit_member, part_of
from homeostat.project import Project
from homeostat.records import FitCost

Rows = Callable[[Window | None], pl.DataFrame]


@dataclass(frozen=True)
class Ensemble:
    """An ensemble that is not registered yet. `folder` is where its kept members and parts lie."""

    manifest: Manifest
    members: tuple[Member, ...]
    hooks: Hooks
    folder: Path
    rows: int
    cost: FitCost
    sample: pl.DataFrame | None
    facts: DataProfile | None

    @property
    def predictor(self) -> Predictor:
        """The predictor, in memory, as it will be in the saved folder."""
        return Predictor(self.manifest, [member.model for member in self.members], self.hooks.build_features)

    def save(self, folder: Path) -> Path:
        """Write the model's folder; what did not change is copied from the model that this one came from."""
        (folder / MEMBERS).mkdir(parents=True, exist_ok=True)
        for member in self.members:
            keep_estimator(member.model, member.manifest["family"], folder / MEMBERS, member.name)
        sample = pl.read_parquet(self.folder / "reference.parquet") if self.sample is None else self.sample
        facts = json.loads((self.folder / "facts.json").read_text()) if self.facts is None else self.facts
        return keep_parts(folder, self.predictor, self.hooks, sample, facts)


def refresh_ensemble(
    folder: Path,
    specs: tuple[MemberSpec, ...],
    weights: Mapping[str, float],
    rows: Rows,
    project: Project,
    hooks: Hooks,
) -> Ensemble:
    """Refit the members of `specs` of the model in `folder` and give the weights; the other members stay as they are.

    `rows` gives the labelled rows that may be learned from: of a window, or all for None, sorted by event
    and key. `weights` are those of the members that are there; a new one is admitted beside them.
    """
    manifest, members = open_members(folder)
    made, cost, frames = refit_members(members, specs, rows, manifest["classes"], project, hooks)
    whole = frames.get(None)
    return Ensemble(
        manifest=describe_ensemble(manifest, made, weights),
        members=tuple(made.values()),
        hooks=hooks,
        folder=folder,
        rows=max((frame.height for frame in frames.values()), default=0),
        cost=cost,
        sample=None if whole is None else _sample(whole, project),
        facts=None if whole is None else learn_facts(whole, project),
    )


def refit_members(
    members: Mapping[str, Member],
    specs: tuple[MemberSpec, ...],
    rows: Rows,
    classes: list[str] | None,
    project: Project,
    hooks: Hooks,
) -> tuple[dict[str, Member], FitCost, dict[Window | None, pl.DataFrame]]:
    """Refit the members of `specs`: all members, what it cost, and the frames learned from, by their windows."""
    made, cost = dict(members), FitCost()
    frames: dict[Window | None, pl.DataFrame] = {}
    for spec in specs:
        if spec.window not in frames:
            frames[spec.window] = rows(spec.window)
        fitted = fit_member(spec, frames[spec.window], project, hooks, classes, made.get(spec.base or ""))
        if fitted is not None:
            made[spec.name] = fitted
            cost += fitted.cost
    return made, cost, frames


def describe_ensemble(manifest: Manifest, members: Mapping[str, Member], weights: Mapping[str, float]) -> Manifest:
    """The manifest of an ensemble of these members, from that of the model it came from."""
    settled = admit(weights, list(members))
    own: list[MemberManifest] = [{**member.manifest, "weight": settled[name]} for name, member in members.items()]
    return {**manifest, "classes": _classes(manifest, members), "family": ENSEMBLE, "rounds": None, "members": own}


def _classes(manifest: Manifest, members: Mapping[str, Member]) -> list[str] | None:
    if manifest["classes"] is None:
        return None
    return list(
        order_classes([*manifest["classes"], *(c for m in members.values() for c in m.manifest["classes"] or ())])
    )


def open_members(folder: Path) -> tuple[Manifest, dict[str, Member]]:
    """The manifest of a model's folder, and its members by name; what is no ensemble is its own first member."""
    made = Predictor.load(folder, verify=False)
    manifest = made.manifest
    if MEMBERS not in manifest:
        return manifest, {FIRST: Member(part_of(FIRST, manifest), made.model, FitCost())}
    pairs = zip(manifest["members"], made.model, strict=True)
    members = [Member(_weightless(member), model, FitCost()) for member, model in pairs]
    return manifest, {member.name: member for member in members}


def _weightless(member: MemberManifest) -> MemberManifest:
    copy = member.copy()
    copy.pop("weight", None)
    return copy


def weights_of(manifest: Mapping[str, Any]) -> dict[str, float]:
    """The weights in a model's manifest; a model that is no ensemble has one member."""
    members = manifest.get(MEMBERS)
    return {FIRST: 1.0} if members is None else {member["name"]: member["weight"] for member in members}


def _sample(frame: pl.DataFrame, project: Project) -> pl.DataFrame:
    raw = raw_view(frame, project).with_columns(frame["label"])
    return raw[spread(raw.height, project.monitoring.sample)]
