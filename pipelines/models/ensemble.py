"""An ensemble: one model whose members learned from different windows, written down and packed as any other model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from homeostat.hooks import Hooks
from homeostat.metrics import order_classes
from homeostat.pipelines.inference import ENSEMBLE, MEMBERS, Manifest, MemberManifest, Predictor
from homeostat.pipelines.models.data_profile import DataProfile, learn_facts
from homeostat.pipelines.models.features import raw_view
from homeostat.pipelines.models.folder import keep_estimator, keep_parts, spread
from homeostat.pipelines.models.members import FIRST, Member, MemberSpec, Window, admit, fit_member, heard, part_of
from homeostat.project import Project
from homeostat.records import FitCost

Rows = Callable[[Window | None], pl.DataFrame]


@dataclass(frozen=True)
class Ensemble:
    """An ensemble that is not registered yet, with what it cost.

    `lesson` is the longest of the frames that its members learned from in this step, None where none did. `folder` is
    where the model that it was made from lies, None where that is in memory alone.
    """

    manifest: Manifest
    members: tuple[Member, ...]
    hooks: Hooks
    folder: Path | None
    cost: FitCost
    lesson: pl.DataFrame | None
    sample: pl.DataFrame | None
    facts: DataProfile | None

    @property
    def rows(self) -> int:
        """How many rows were learned from."""
        return 0 if self.lesson is None else self.lesson.height

    @property
    def predictor(self) -> Predictor:
        """The predictor, in memory, as it will be in the saved folder."""
        return Predictor(self.manifest, [member.model for member in self.members], self.hooks.build_features)

    def save(self, folder: Path) -> Path:
        """Write the model's folder; what did not change is copied from the model that this one came from."""
        assert self.folder is not None
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
    return make_ensemble(manifest, members, specs, weights, rows, project, hooks, folder)


def make_ensemble(
    manifest: Manifest,
    members: Mapping[str, Member],
    specs: tuple[MemberSpec, ...],
    weights: Mapping[str, float],
    rows: Rows,
    project: Project,
    hooks: Hooks,
    folder: Path | None = None,
) -> Ensemble:
    """As `refresh_ensemble`, of the members of a model of this manifest."""
    made, cost, frames = refit_members(members, specs, rows, manifest["classes"], project, hooks)
    whole = frames.get(None) if folder is not None else None
    return Ensemble(
        manifest=describe_ensemble(manifest, made, weights),
        members=tuple(made.values()),
        hooks=hooks,
        folder=folder,
        cost=cost,
        lesson=max(frames.values(), key=lambda frame: frame.height, default=None),
        sample=None if whole is None else _sample(whole, project),
        facts=None if whole is None else learn_facts(whole, project),
    )


def refit_heard(made: Ensemble, specs: tuple[MemberSpec, ...], rows: Rows, project: Project) -> Ensemble:
    """The same ensemble, those of its members that are heard refitted by these specs on other rows; its whole cost."""
    members = {member.name: member for member in made.members}
    heard_now = {part["name"] for part in made.manifest.get("members", ()) if part.get("weight")}
    chosen = tuple(spec for spec in specs if spec.name in heard_now)
    again = make_ensemble(
        made.manifest, members, chosen, weights_of(made.manifest), rows, project, made.hooks, made.folder
    )
    if again.lesson is None:
        return made
    return replace(
        again,
        cost=made.cost + again.cost,
        lesson=max((made.lesson, again.lesson), key=lambda frame: 0 if frame is None else frame.height),
        sample=made.sample if again.sample is None else again.sample,
        facts=made.facts if again.facts is None else again.facts,
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
        fitted = fit_member(spec, frames[spec.window], project, hooks, classes, _base_of(spec, made, specs))
        if fitted is not None:
            made[spec.name] = fitted
            cost += fitted.cost
    return made, cost, frames


def _base_of(spec: MemberSpec, made: Mapping[str, Member], specs: tuple[MemberSpec, ...]) -> Member | None:
    """What a member goes on from: what it was, where it grows and its base is not made anew by these specs."""
    anew = spec.base in {other.name for other in specs}
    own = made.get(spec.name) if spec.grows and not anew else None
    return own if own is not None else made.get(spec.base or "")


def describe_ensemble(manifest: Manifest, members: Mapping[str, Member], weights: Mapping[str, float]) -> Manifest:
    """The manifest of an ensemble of these members, from that of the model it came from."""
    settled = admit(weights, list(members))
    spoken = heard(settled)
    own: list[MemberManifest] = [
        {**member.manifest, "weight": spoken[name], "trust": settled[name]} for name, member in members.items()
    ]
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
    copy.pop("trust", None)
    return copy


def weights_of(manifest: Mapping[str, Any]) -> dict[str, float]:
    """How far the members in a model's manifest are trusted; a model that is no ensemble has one member."""
    members = manifest.get(MEMBERS)
    if members is None:
        return {FIRST: 1.0}
    return {member["name"]: member.get("trust", member["weight"]) for member in members}


def _sample(frame: pl.DataFrame, project: Project) -> pl.DataFrame:
    raw = raw_view(frame, project).with_columns(frame["label"])
    return raw[spread(raw.height, project.monitoring.sample)]
