"""Learning in small steps: the newest version's members are reweighed and refitted, and what comes of it is compared.

Of the rows of the batches that have become mature since the last step a share, drawn by their keys, is kept from
learning: it is what champion and challenger are compared on now. The next step learns from it too.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from homeostat.durations import instant
from homeostat.errors import DataError, RegistryError
from homeostat.flows.facts import ATTEMPTS, Attempt, NewestVersion
from homeostat.flows.facts import ENSEMBLE as ENSEMBLE_FACT
from homeostat.flows.learning.outcomes import with_attempt
from homeostat.flows.learning.probation import get_probation
from homeostat.flows.learning.promotion import compare_rows, labelled_rows, settle
from homeostat.flows.learning.rules import kept_apart, mean_losses, share_apart
from homeostat.flows.learning.versions import RECORD, SOURCES, count_sources, key_of, read_record, training_frame
from homeostat.flows.loop import Loop, tick_index
from homeostat.monitoring.alarm.rule import is_mature
from homeostat.monitoring.novelty import gone_columns
from homeostat.monitoring.retraining.forecast import RETRAIN
from homeostat.pipelines.inference import ENSEMBLE, MEMBERS
from homeostat.pipelines.models.ensemble import refresh_ensemble, weights_of
from homeostat.pipelines.models.features import raw_view
from homeostat.pipelines.models.members import FIRST, follow, list_specs
from homeostat.records import ModelRecord, Window
from homeostat.registry.packing import read_manifest
from homeostat.registry.promotion import decide_promotion
from homeostat.registry.registration import Registration

MOST_BATCHES = 12


@dataclass(frozen=True, slots=True)
class Base:
    """What the next step starts from: a version, the end of the last batch it knows, the labels it knew whole.

    `anew` says that everything was learned anew because of an alarm, and that nothing of it has been promoted yet.
    """

    version: int
    manifest: Mapping[str, Any]
    until: datetime
    labels: int
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Fresh:
    """What came since the base: its windows, oldest first, and its labelled rows, to learn from and kept apart."""

    windows: Sequence[Window]
    learn: pl.DataFrame
    apart: pl.DataFrame


def find_base(loop: Loop) -> Base | None:
    """The version to go on from: the newest one made, or the champion.

    None where the policy does not learn in steps, or the version has no members of ours.
    """
    fact, champion = loop.store.get_fact(ENSEMBLE_FACT), loop.champion()
    if champion is None or loop.project.retraining.policy != "forecast":
        return None
    if fact is None or champion.version not in (fact.version, fact.champion):
        since = champion.promoted_at or champion.as_of
        fact = NewestVersion(champion.version, since, champion.rows, champion.version)
    try:
        manifest = read_manifest(loop.models.folder(fact.version))
    except RegistryError:
        return None
    return Base(fact.version, manifest, fact.until, fact.labels, fact.anew) if _usable(loop, manifest) else None


def _usable(loop: Loop, manifest: Mapping[str, Any]) -> bool:
    made_of = {feature["name"] for feature in manifest["features"]}
    plain = loop.hooks.build_features is None
    same = made_of == set(loop.project.data.features) if plain else manifest["hooks"] == loop.hooks.digest
    return same and "hook" not in {member["family"] for member in manifest.get("members", ())} | {manifest["family"]}


def new_windows(loop: Loop, base: Base, at: datetime) -> list[Window]:
    """The mature windows after what a base knows, oldest first, the newest `MOST_BATCHES`."""
    settings, broken = loop.project.monitoring, broken_batches(loop)
    found = [w for w in loop.store.list_windows() if base.until < w.end_at <= at and is_mature(w, settings)]
    return [w for w in found if w.batch not in broken][-MOST_BATCHES:]


def broken_batches(loop: Loop) -> set[str]:
    """The batches in which a column that was there has gone: nothing is learned from them, and nothing compared."""
    return {check.batch for check in loop.store.list_checks() if gone_columns(check.facts)}


def fresh_count(loop: Loop, windows: Sequence[Window]) -> int:
    """About how many rows of these windows a comparison would have."""
    labels = sum(w.labels for w in windows)
    return int(labels * share_apart(loop.project, labels))


def refresh(loop: Loop, at: datetime) -> dict[str, Any]:
    """Take the step that was decided at `at`: make a challenger, compare it, promote it or refuse.

    The challenger belongs to the champion's lineage, unless everything was learned anew because of an alarm.
    """
    decision, base, champion = loop.store.get_decision(at, "retraining"), find_base(loop), loop.champion()
    assert decision is not None and base is not None and champion is not None
    windows = new_windows(loop, base, at)
    if not windows:
        raise DataError("no labelled rows came after the last training.", "Wait for labels, then try again.")
    rows = labelled_rows(loop, tuple(w.batch for w in windows), at, weighed=True)
    if rows is None or rows.is_empty():
        raise DataError("no labelled rows came after the last training.", "Wait for labels, then try again.")
    apart = kept_apart(rows[loop.key], share_apart(loop.project, rows.height))
    names = decision.evidence.get("members")
    fresh = Fresh(windows, rows.filter(~apart), rows.filter(apart))
    record = _make(loop, at, base, fresh, names)
    batches = tuple(w.batch for w in windows)
    comparison = compare_rows(loop, champion.version, record.version, fresh.apart, batches)
    verdict = decide_promotion(comparison, loop.project, at)
    late = tick_index(loop.project, at) - tick_index(loop.project, windows[-1].end_at)
    doubt = get_probation(loop, champion).doubt(late)
    if doubt is not None and verdict.kind != "refuse":
        verdict = dataclasses.replace(verdict, kind="refuse", reasons=(*verdict.reasons, doubt))
    verdict = dataclasses.replace(verdict, evidence={**verdict.evidence, "step": decision.kind})
    anew = base.anew or (decision.kind == RETRAIN and decision.evidence["alarm"] != "quiet")
    record = dataclasses.replace(record, lineage=None if anew else champion.root_version)
    if comparison.challenger_metrics:
        record = dataclasses.replace(record, reference=dict(comparison.challenger_metrics))
    labels = decision.evidence["labels"] if decision.kind == RETRAIN else base.labels
    promoted = verdict.kind == "promote"
    newest = NewestVersion(
        record.version,
        windows[-1].end_at,
        labels,
        record.version if promoted else champion.version,
        anew and not promoted,
    )
    attempt = Attempt(at, decision.kind, decision.evidence.get("gain", 0.0), champion.version, record.version)
    outcome = {"did": decision.kind, "version": record.version, "verdict": verdict.kind}
    return settle(loop, at, record, verdict, outcome, {ENSEMBLE_FACT: newest, ATTEMPTS: with_attempt(loop, attempt)})


def _make(loop: Loop, at: datetime, base: Base, fresh: Fresh, names: Sequence[str] | None) -> ModelRecord:
    """Make and register the challenger of a step; once, however often this is called for the same tick."""
    key = key_of(loop, at)
    version = loop.models.find(key)
    if version is None:
        with tempfile.TemporaryDirectory() as scratch:
            version = _make_and_register(loop, at, base, fresh, names, Path(scratch) / "model")
    return read_record(loop, version)


def _make_and_register(
    loop: Loop, at: datetime, base: Base, fresh: Fresh, names: Sequence[str] | None, folder: Path
) -> int:
    specs = tuple(spec for spec in list_specs(loop.project) if names is None or spec.name in names)
    origin, end = loop.models.folder(base.version), fresh.windows[-1].end_at
    sources: dict[str, int] = {}
    known = _rows_until(loop, at, end, fresh.apart[loop.key], sources)
    weights = _followed(loop, weights_of(base.manifest), fresh.windows, fresh.learn)
    made = refresh_ensemble(origin, specs, weights, known, loop.project, loop.hooks)
    made.save(folder)
    told = {member["name"]: round(member["weight"], 6) for member in made.manifest["members"]}
    record = {
        "key": key_of(loop, at),
        "as_of": at.isoformat(),
        "family": ENSEMBLE,
        "rows": made.rows,
        "reference": {},
        "cost": dataclasses.asdict(made.cost),
        "trained_until": instant(end),
        SOURCES: sources,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1))
    registration = Registration(
        key_of(loop, at),
        at,
        ENSEMBLE,
        made.rows,
        {},
        made.cost,
        {f"weight.{name}": weight for name, weight in told.items()},
        lake_uri=loop.paths.lake_uri,
        lake_versions=loop.lake.versions(),
    )
    return loop.models.register(folder, registration)


def _rows_until(loop: Loop, at: datetime, end: datetime, apart: pl.Series, sources: dict[str, int]) -> Any:
    """What may be learned from: labelled rows of sound batches up to `end`, those of the comparison left out.

    `sources` gets the number of labels of each provenance among the most rows that were asked for.
    """
    tick, broken = loop.project.loop.tick, sorted(broken_batches(loop))

    def rows(ticks: int | None) -> pl.DataFrame:
        since = None if ticks is None else end - ticks * tick
        frame = training_frame(loop, at, until=end, since=since, without=apart)
        frame = frame.filter(~pl.col("_batch").is_in(broken))
        if frame.height > sum(sources.values()):
            sources.clear()
            sources.update(count_sources(frame))
        return frame

    return rows


def _followed(loop: Loop, weights: dict[str, float], windows: Sequence[Window], rows: pl.DataFrame) -> dict[str, float]:
    """The weights after the new batches, each member's loss as of the version that stood when a batch was scored."""
    for window in windows:
        mine, standing = rows.filter(pl.col("_batch") == window.batch), loop.standing_version(window.end_at)
        if not mine.is_empty() and standing is not None:
            weights = follow(weights, _member_losses(loop, standing, mine))
    return weights


def _member_losses(loop: Loop, version: int, rows: pl.DataFrame) -> dict[str, float]:
    model = loop.models.load(version)
    raw, task = raw_view(rows, loop.project), loop.project.task
    together = model.score(raw)
    alone = model.score_members(raw) if MEMBERS in model.manifest else {FIRST: together}
    return mean_losses(task, rows["label"], together, alone, model.positive)
