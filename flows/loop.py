"""One project in one scope with its memory open: what every stage works on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import polars as pl

from homeostat.durations import instant
from homeostat.flows.facts import BASELINE, CHALLENGER, CHAMPION
from homeostat.flows.labeling.backends import Backend, find_backend
from homeostat.hooks import Hooks, load_hooks
from homeostat.lake import Lake
from homeostat.metrics import positive_class
from homeostat.monitoring.drift import require_measures
from homeostat.monitoring.retraining.policies import get_policy
from homeostat.pipelines.models.families import check_candidates
from homeostat.project import Project, load_project
from homeostat.records import Alert, Batch, ModelRecord, Scope, Severity, Window
from homeostat.registry.models import Models
from homeostat.settings import ProjectPaths, find_paths
from homeostat.store import Store
from homeostat.store.facts import Fact

Ended = TypeVar("Ended", Batch, Window)

_ROLES: dict[str, Fact[Any]] = {f.name: f for f in (CHAMPION, CHALLENGER, BASELINE)}


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A project, its hooks, and its lake, store and models in one scope."""

    project: Project
    hooks: Hooks
    scope: Scope
    paths: ProjectPaths
    lake: Lake
    store: Store
    models: Models
    clock: datetime | None = None
    """What the clock says while a tick is run, where it is known to be later than the tick; never in a replay."""
    begun_at: datetime | None = None
    """What the clock said when the ticks that this one is run with were listed; never in a replay."""

    @property
    def key(self) -> str:
        """The name of the key column."""
        return self.project.data.key

    @property
    def replaying(self) -> bool:
        """Whether this is a replay, with a simulated clock and a past that is known to be whole."""
        return self.scope is Scope.REPLAY

    @property
    def positive(self) -> str | None:
        """The positive class where the project names it; None leaves it to the classes themselves."""
        stated = self.project.data.positive
        return None if stated is None else positive_class((), stated)

    def backend(self) -> Backend:
        """Where people answer. Raises HomeostatError where it lacks what it needs."""
        return find_backend(self.project)(self.project, self.hooks, self.paths.model_name)

    def key_dtype(self) -> pl.DataType | None:
        """The type of the key in the lake; None before the first row."""
        schema = self.lake.schema("inputs")
        return None if schema is None else schema[self.key]

    def version_of(self, role: str) -> int | None:
        """The version in a role ("champion", "baseline", "challenger"), by the store."""
        fact = self.store.get_fact(_ROLES[role])
        return None if fact is None else fact.version

    def champion(self) -> ModelRecord | None:
        """The champion's record; None before the first."""
        version = self.version_of("champion")
        return None if version is None else self.store.get_model(version)

    def standing_version(self, before: datetime) -> int | None:
        """The newest version that was made before a time, champion or not; None before the first."""
        versions = [m.version for m in self.store.list_models() if m.as_of < before]
        return versions[-1] if versions else None

    def told_at(self, at: datetime) -> datetime:
        """From when on people count who are asked or told at a tick: from now, though the tick be of the past."""
        return at if self.clock is None else max(at, self.clock)

    def is_past(self, at: datetime) -> bool:
        """Whether a newer slot than that of the tick at `at` was due when this work began, so that the loop catches up.

        The newest of them counts as of now however long the others took: who is always behind is told all the same.
        """
        begun_at = self.begun_at if self.begun_at is not None else self.clock
        return begun_at is not None and at + self.project.loop.tick <= begun_at

    def previous_tick(self, at: datetime) -> datetime | None:
        """The end of the newest slot ingested before `at`."""
        ends = [b.end_at for b in self.store.list_batches() if b.end_at < at]
        return max(ends) if ends else None


def open_loop(folder: Path | str, scope: Scope) -> Loop:
    """Open a project in a scope; once per process, until its files change."""
    project = load_project(folder)
    require_known_names(project)
    files = [project.file, project.folder / "hooks.py"]
    stamp = tuple(f.stat().st_mtime_ns if f.exists() else 0 for f in files)
    return _open(str(project.folder), scope, stamp)


def require_known_names(project: Project) -> None:
    """Raise ProjectError where the project names something that no extension goes by.

    A policy, an estimator family, a drift measure, or a labeling backend.
    """
    get_policy(project)
    check_candidates(project)
    require_measures(project)
    find_backend(project)


@lru_cache(maxsize=64)
def _open(folder: str, scope: Scope, _stamp: tuple[int, ...]) -> Loop:
    project = load_project(folder)
    return _make(project, scope, find_paths(project, scope))


def _make(project: Project, scope: Scope, paths: ProjectPaths) -> Loop:
    return Loop(
        project,
        load_hooks(project.folder),
        scope,
        paths,
        Lake(paths.lake_uri, paths.model_name),
        Store(paths.store_url, paths.model_name),
        Models(paths.tracking_uri, paths.artifact_root, paths.model_name, project.name),
    )


@contextmanager
def open_untouched(folder: Path | str) -> Iterator[Loop]:
    """Open the live state to look at it; where there is none yet, an empty one in its place that leaves no trace."""
    project = load_project(folder)
    paths = find_paths(project, Scope.LIVE)
    if paths.root.exists() or str(paths.root) not in paths.store_url:
        yield open_loop(folder, Scope.LIVE)
        return
    with TemporaryDirectory() as scratch:
        yield _make(project, Scope.LIVE, replace(paths, store_url=f"sqlite:///{scratch}/store.db"))


def forget_open_loops() -> None:
    """Close what `open_loop` keeps open, so that the next call opens it anew."""
    _open.cache_clear()


def alert(at: datetime, severity: Severity, subject: str, title: str, body: str) -> Alert:
    """Make an alert; the same subject at the same tick is the same alert."""
    return Alert(f"{instant(at)}/{subject}", at, severity, title, body)


def tick_index(project: Project, at: datetime) -> int:
    """How many whole ticks lie between the loop's start and `at`."""
    return int((at - project.start_at) / project.loop.tick)


def end_of_tick(project: Project, at: datetime) -> datetime:
    """The end of the slot that `at` lies in, which is `at` where a slot ends there."""
    index = tick_index(project, at)
    return at if slot(project, index) >= at else slot(project, index + 1)


def group_by_tick(project: Project, items: Iterable[Ended]) -> list[list[Ended]]:
    """Batches or windows in order of their end, those that came within one tick together."""
    return [list(came) for _, came in groupby(items, lambda item: end_of_tick(project, item.end_at))]


def with_tick_mates(loop: Loop, ids: Collection[str]) -> set[str]:
    """These batches, and all others that came within the same ticks."""
    if not ids:
        return set()
    groups = [{batch.id for batch in came} for came in group_by_tick(loop.project, loop.store.list_batches())]
    return set().union(ids, *(came for came in groups if not came.isdisjoint(ids)))


def slot(project: Project, index: int) -> datetime:
    """The end of a slot of the project's tick grid; slot 0 ends at the loop's start."""
    return project.start_at + index * project.loop.tick if index else project.start_at
