"""Stage 4: measure every open window, feed the alarm, and check drift against the champion's reference."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from homeostat.durations import format_duration, instant
from homeostat.errors import RegistryError
from homeostat.flows.facts import ALARM
from homeostat.flows.labels import find_delays, with_labels
from homeostat.flows.loop import Loop, alert, group_by_tick
from homeostat.flows.roles import AS_SCORED, scored_as
from homeostat.flows.stages.alarm_state import follow
from homeostat.flows.stages.estimates import with_estimates
from homeostat.flows.stages.label_check import judge
from homeostat.monitoring.drift import check_drift
from homeostat.monitoring.drift.verdict import moved_far
from homeostat.monitoring.estimation.warning import warn_of_estimate
from homeostat.monitoring.novelty import count_as_drift, describe, newly_seen
from homeostat.monitoring.performance.realized import count_misdated, is_closed, measure_window
from homeostat.pipelines.models.data_profile import compare_facts, learn_facts
from homeostat.records import (
    Alert,
    Batch,
    BatchState,
    CheckResult,
    Document,
    DriftResult,
    ModelRecord,
    Role,
    Severity,
    UnseenValues,
    Window,
    WindowStatus,
)
from homeostat.store import Writer

CALM_CHECKS, CALM_FACTS = 3, 10
"""After so many checks without drift, or without an unseen value, the next one is told again."""


def check(loop: Loop, at: datetime) -> Document:
    """Measure the windows that are open or got labels, feed the alarm, and check the newest inputs for drift.

    The newest are those of this tick, and of the batches that came between it and the one before.
    """
    late, delays = _batches_with_new_labels(loop, at), find_delays(loop, at)
    known = {role: {w.batch: w for w in loop.store.list_windows(role)} for role in (Role.CHAMPION, Role.BASELINE)}
    due = {role: _labelled(loop, role, known[role], late, at) for role in known}
    measured = {
        role: [_measured(loop, rows, batch, known[role].get(batch.id), at) for batch, rows in parts]
        for role, parts in due.items()
    }
    windows = {role: [one.window for one in found] for role, found in measured.items()}
    labels = judge(loop, at, due[Role.CHAMPION], delays)
    windows[Role.CHAMPION] = with_estimates(loop, windows[Role.CHAMPION], at, delays)
    foreboding = warn_of_estimate(loop.champion(), _root(loop), windows[Role.CHAMPION], loop.project, at)
    watch = follow(loop, at, windows[Role.CHAMPION], delays, late, without=labels.without_meaning(loop))
    result = _check_drift(loop, at, windows[Role.CHAMPION])
    outcome = {"windows": len(windows[Role.CHAMPION]), "drift": result.drift.status if result else None}
    with loop.store.write("check") as write:
        for role, found in windows.items():
            for window in found:
                write.put_window(window, role)
        if passed := [one for one in measured[Role.CHAMPION] if one.passed]:
            write.append_alert(_passed_alert(loop, passed, at))
        if watch is not None:
            write.put_fact(ALARM.of(watch.lineage), watch)
        labels.keep(write)
        if foreboding is not None:
            write.append_alert(foreboding)
        if result is not None:
            _keep(loop, write, result)
        write.put_stage(at, "check", outcome)
    return outcome


def check_inputs(loop: Loop, at: datetime) -> None:
    """Check the inputs of one slot for drift and columns that have gone, where its tick is not run."""
    result = _check_drift(loop, at, [])
    if result is not None:
        with loop.store.write("check") as write:
            _keep(loop, write, result)


def _keep(loop: Loop, write: Writer, result: CheckResult) -> None:
    earlier = _of_line(loop, result, result.tick_at)
    write.put_check(result)
    if _newly_drifted(result, earlier):
        write.append_alert(_drift_alert(result))
    if strange := _newly_strange(result, earlier):
        body = "; ".join(describe(fact) for fact in strange)
        title = f"version {result.model_version} is given unseen values"
        write.append_alert(alert(result.tick_at, Severity.WARNING, "facts", title, body))


def _root(loop: Loop) -> ModelRecord | None:
    champion = loop.champion()
    return None if champion is None else loop.store.get_model(champion.root_version)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A window, and how many rows it stopped waiting for because their events are dated too far ahead."""

    window: Window
    passed: int = 0


def _labelled(
    loop: Loop, role: Role, known: Mapping[str, Window], late: set[str], at: datetime
) -> list[tuple[Batch, pl.DataFrame]]:
    """The batches whose windows are open or got labels, with all others of their ticks.

    Each comes with its predictions and the labels known at `at`.
    """
    if role is Role.BASELINE and loop.version_of(role.value) is None:
        return []
    scored = [b for b in loop.store.list_batches(BatchState.SCORED) if b.rows]
    done = {batch for batch, window in known.items() if is_closed(window, loop.project, at)}
    ids = {b.id for b in scored if b.id in late or b.id not in done}
    due = [b for came in group_by_tick(loop.project, scored) if not ids.isdisjoint(b.id for b in came) for b in came]
    if not due:
        return []
    rows = loop.lake.read("predictions", scored_as(role) & pl.col("batch").is_in([b.id for b in due]))
    if rows is None or rows.is_empty():
        return []
    labelled = with_labels(loop, rows, at)
    parts = {name[0]: part for name, part in labelled.partition_by("batch", as_dict=True, maintain_order=True).items()}
    return [(b, parts[b.id]) for b in due if b.id in parts]


def _measured(loop: Loop, rows: pl.DataFrame, batch: Batch, before: Window | None, at: datetime) -> _Measured:
    window = measure_window(
        rows, batch=batch, project=loop.project, now=at, positive=loop.positive, evaluate=loop.hooks.evaluate
    )
    final, was = window.status is WindowStatus.FINAL, before is not None and before.status is WindowStatus.FINAL
    return _Measured(window, count_misdated(rows, loop.project, batch.end_at) if final and not was else 0)


def _passed_alert(loop: Loop, passed: list[_Measured], at: datetime) -> Alert:
    rows, batches = sum(one.passed for one in passed), ", ".join(one.window.batch for one in passed)
    ahead, horizon = (format_duration(d) for d in (loop.project.data.inputs.ahead, loop.project.data.feedback.horizon))
    body = (
        f"their events are dated more than {ahead} (data.inputs.ahead) after they came, in the batches {batches}. "
        f"Their labels count as missing {horizon} after that. If events lie ahead by nature, raise data.inputs.ahead."
    )
    return alert(at, Severity.WARNING, "misdated", f"{rows} rows dated far ahead are no longer waited for", body)


def _batches_with_new_labels(loop: Loop, at: datetime) -> set[str]:
    before = loop.store.last_tick("check")
    after = at - loop.project.loop.tick if before is None or before >= at else min(before, at - loop.project.loop.tick)
    since = (pl.col("ingested_at") > after) & (pl.col("ingested_at") <= at)
    fresh = loop.lake.read("feedback", since, [loop.key])
    if fresh is None or fresh.is_empty():
        return set()
    scored = loop.lake.scan("predictions")
    if scored is None:
        return set()
    batches = loop.lake.collect(
        "predictions", scored.join(fresh.lazy(), on=loop.key, how="semi").select("batch").unique()
    )
    return set(batches["batch"])


def _check_drift(loop: Loop, at: datetime, windows: list[Window]) -> CheckResult | None:
    batch = loop.store.get_batch(instant(at))
    champion = loop.version_of("champion")
    if champion is None or batch is None:
        return None
    since = loop.store.list_batches(BatchState.SCORED, after=at - loop.project.loop.tick)
    ids = [b.id for b in since if b.end_at <= at and b.rows]
    rows = loop.lake.read("inputs", pl.col("_batch").is_in(ids) & AS_SCORED) if ids else None
    if rows is None or rows.is_empty():
        return None
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "evidently.html"
        drift, facts = _compare(loop, champion, rows.sort("event_at", loop.key), page)
        values = _logged(drift, windows, rows.height)
        tags = {"batch": batch.id, "model_version": str(champion), "drift": drift.status}
        key = f"{loop.paths.model_name}/{batch.id}/check"
        run = loop.models.log_check(at, key, values, tags, page if page.exists() else None)
    return CheckResult(at, batch.id, champion, drift, facts, run)


def _compare(loop: Loop, version: int, rows: pl.DataFrame, page: Path) -> tuple[DriftResult, tuple[UnseenValues, ...]]:
    data = loop.project.data
    try:
        folder = loop.models.folder(version)
        reference = pl.read_parquet(folder / "reference.parquet")
    except (RegistryError, OSError):
        unknown = DriftResult("unknown", None, (), 0, rows.height, "the champion has no reference")
        return unknown, _missing(loop, rows)
    drift = check_drift(
        reference,
        rows,
        numeric=[c for c in data.numeric if c in reference.columns],
        categorical=[c for c in data.categorical if c in reference.columns],
        settings=loop.project.monitoring,
        page=page,
        title=f"{loop.project.name}, batch {rows['_batch'].max()}, against what version {version} learned from",
    )
    learned = folder / "facts.json"
    facts = compare_facts(json.loads(learned.read_text()), rows, loop.project) if learned.exists() else ()
    return count_as_drift(drift, facts, loop.project.monitoring), facts


def _missing(loop: Loop, rows: pl.DataFrame) -> tuple[UnseenValues, ...]:
    """The columns of which more is missing than in the first rows that came, for a champion that was made elsewhere.

    Nobody knows what such a model learned from. None where fewer than `monitoring.min_rows` rows came before.
    """
    newest, first, count = set(rows["_batch"].unique()), list[str](), 0
    for batch in loop.store.list_batches(BatchState.HISTORY) + loop.store.list_batches(BatchState.SCORED):
        if batch.rows and batch.id not in newest and count < loop.project.monitoring.min_rows:
            first.append(batch.id)
            count += batch.rows
    before = loop.lake.read("inputs", pl.col("_batch").is_in(first) & ~pl.col("_correction")) if first else None
    if before is None or count < loop.project.monitoring.min_rows:
        return ()
    found = compare_facts(learn_facts(before, loop.project), rows, loop.project)
    return tuple(fact for fact in found if fact.kind == "null_rate")


def _logged(drift: DriftResult, windows: list[Window], rows: int) -> dict[str, float]:
    values = {} if drift.share is None else {"drift_share": drift.share}
    for column in drift.columns:
        if column.score is not None:
            values[f"drift.{column.column}"] = column.score
    known = [w for w in windows if w.realized is not None]
    if known:
        newest = max(known, key=lambda w: w.end_at)
        values |= {f"realized.{name}": value for name, value in newest.metrics.items()}
        values["coverage"] = newest.coverage
    estimated = [w for w in windows if w.estimated is not None]
    if estimated:
        newest = max(estimated, key=lambda w: w.end_at)
        values[f"estimated.{newest.metric}"] = newest.estimated or 0.0
    return values | {"rows": float(rows)}


def _of_line(loop: Loop, result: CheckResult, at: datetime) -> list[CheckResult]:
    """The earlier checks of the same lineage."""
    roots = {model.version: model.root_version for model in loop.store.list_models()}
    lineage = roots.get(result.model_version, result.model_version)
    checks = loop.store.list_checks()
    return [c for c in checks if c.tick_at < at and roots.get(c.model_version, c.model_version) == lineage]


def _newly_drifted(result: CheckResult, earlier: list[CheckResult]) -> bool:
    """Whether drift of this lineage's inputs begins, or a column moves far that had not; said every time, nobody reads.

    What the last `CALM_CHECKS` checks found has been told; after so many without it, it begins again.
    """
    if result.drift.status != "drift":
        return False
    recent = [check.drift for check in _recent(earlier, CALM_CHECKS) if check.drift.status == "drift"]
    known = {column.column for drift in recent for column in drift.columns if column.drifted}
    far = {column.column for column in result.drift.columns if moved_far(column)}
    return not recent or not far <= known


def _newly_strange(result: CheckResult, earlier: list[CheckResult]) -> tuple[UnseenValues, ...]:
    """What this lineage did not meet in its last `CALM_FACTS` checks; too few rows to measure drift on warn of none."""
    if result.drift.status == "unknown":
        return ()
    known = [fact for check in _recent(earlier, CALM_FACTS) for fact in check.facts]
    return newly_seen(result.facts, known)


def _recent(checks: list[CheckResult], number: int) -> list[CheckResult]:
    return [check for check in checks if check.drift.status != "unknown"][-number:]


def _drift_alert(result: CheckResult) -> Any:
    far = [column.column for column in result.drift.columns if moved_far(column)]
    columns = ", ".join(c.column for c in result.drift.columns if c.drifted)
    share = result.drift.share or 0.0
    body = f"{share:.0%} of the measured columns of batch {result.batch} moved away from the reference: {columns}."
    body += f" So far that they count alone: {', '.join(far)}." if far else ""
    title = f"the inputs drifted from what version {result.model_version} learned"
    return alert(result.tick_at, Severity.WARNING, "drift", title, body)
