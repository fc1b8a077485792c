"""What a loop has lived through: the summary, the report, and the tables that `export` writes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import polars as pl

from homeostat.errors import DataError
from homeostat.flows.facts import TARGET
from homeostat.flows.labeling.collect import spent_on_labels
from homeostat.flows.labels import with_labels
from homeostat.flows.loop import Loop
from homeostat.flows.roles import scored_as
from homeostat.metrics import compute_metrics, stand_for
from homeostat.monitoring.report.page import ReportData, write_report
from homeostat.monitoring.report.story import mark_decision
from homeostat.project import Task
from homeostat.records import Document, Role, Window, WindowStatus
from homeostat.store import rows as plain


def summarize(loop: Loop, wall_seconds: float) -> Document:
    """Sum a replay up: its metric against the first model's, on the same rows, and what it took."""
    store, metric = loop.store, loop.project.metric
    champion, baseline = (_scored(loop, role) for role in (Role.CHAMPION, Role.BASELINE))
    cost = sum((m.cost for m in store.list_models()), spent_on_labels(loop))
    decisions = store.list_decisions()
    return {
        "project": loop.project.name,
        "task": loop.project.task.value,
        "ticks": store.count_ticks("notify"),
        "rows": sum(b.rows for b in store.list_batches()),
        "predictions": 0 if champion is None else champion.height,
        "labels": 0 if champion is None else champion["label"].count(),
        "quarantined": sum(b.quarantined for b in store.list_batches()),
        "metric": metric,
        "static_metric": _metrics(loop, baseline).get(metric),
        "loop_metric": _metrics(loop, champion).get(metric),
        "static_metrics": _metrics(loop, baseline),
        "loop_metrics": _metrics(loop, champion),
        "fits": cost.fits,
        "fit_row_rounds": cost.row_rounds,
        "retrains": sum(d.stage == "retraining" and d.kind in {"retrain", "refresh"} for d in decisions),
        "recalibrations": sum(d.stage == "retraining" and d.kind == "recalibrate" for d in decisions),
        "promotions": sum(d.stage == "promotion" and d.kind == "promote" for d in decisions),
        "refusals": sum(d.stage == "promotion" and d.kind == "refuse" for d in decisions),
        **_kept_promises(loop),
        "rollbacks": sum(d.stage == "rollback" for d in decisions),
        "alarms": sum(d.stage == "alarm" and d.kind == "alarm" for d in decisions),
        "alerts": len(store.list_alerts()),
        **_estimates(store.list_windows()),
        "training_cpu_seconds": round(cost.cpu_seconds, 3),
        "wall_seconds": wall_seconds,
    }


def _kept_promises(loop: Loop) -> Document:
    """What promoted steps were promised to save a row and did save, on average; None where none was measured."""
    bodies = [entry.body for entry in loop.store.list_journal() if entry.kind == "outcome"]
    pairs = [(float(body["promised"]), float(body["gained"])) for body in bodies if body.get("promised") is not None]
    if not pairs:
        return {"promised_gain": None, "given_gain": None}
    return {"promised_gain": mean(one for one, _ in pairs), "given_gain": mean(other for _, other in pairs)}


def write_history(loop: Loop, summary: Document) -> Path:
    """Write `summary.json` and `report.html` into the scope's folder; returns the report's path."""
    (loop.paths.root / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    report = loop.paths.root / "report.html"
    write_report(report, report_data(loop, summary))
    return report


def report_data(loop: Loop, summary: Document) -> ReportData:
    """Gather what the report shows."""
    store = loop.store
    decisions = tuple(d for d in store.list_decisions() if d.kind != "wait")
    return ReportData(
        project=loop.project.name,
        task=loop.project.task,
        metric=loop.project.metric,
        tick=loop.project.loop.tick,
        windows=tuple(store.list_windows()),
        baseline=tuple(store.list_windows(Role.BASELINE)),
        drift=tuple((c.tick_at, c.drift.share, c.drift.status) for c in store.list_checks()),
        marks=tuple(m for d in decisions if (m := mark_decision(d)) is not None),
        decisions=decisions,
        alerts=tuple(store.list_alerts()),
        summary=summary,
        drift_limit=loop.project.monitoring.drift_share,
    )


def export_predictions(loop: Loop, role: str = Role.CHAMPION) -> pl.DataFrame:
    """The last prediction of each row in a role, sorted by event and key; classes in the types of the source.

    Where `labeling.explore` was ever set, `explore` says which rows are to be left alone.
    """
    rows = loop.lake.read("predictions", scored_as(role))
    if rows is None or rows.is_empty():
        raise DataError(
            f"there are no predictions of the role {role!r} yet.", "Run 'homeostat replay' or 'tick' first."
        )
    rows = rows.sort("scored_at").unique(loop.key, keep="last").sort("event_at", loop.key)
    front: list[Any] = [loop.key, "event_at", "scored_at", "batch", "model_version", "role", "prediction"]
    if "explore" in rows.columns:
        front.append(pl.col("explore").fill_null(False))
    if loop.project.task is Task.MULTICLASS:
        return rows.select(front).with_columns(source_type(loop, rows["prediction"])).hstack(_class_scores(rows))
    score = [] if loop.project.task is Task.REGRESSION else ["score"]
    return rows.select(*front, *score).with_columns(source_type(loop, rows["prediction"]))


def export_decisions(loop: Loop) -> pl.DataFrame:
    """Every decision: tick, stage, kind, reasons, model_version and its evidence as JSON."""
    records = [
        {
            "tick": d.tick_at,
            "stage": d.stage,
            "kind": d.kind,
            "reasons": "; ".join(d.reasons),
            "model_version": d.model_version,
            "evidence": json.dumps(d.evidence, sort_keys=True),
        }
        for d in loop.store.list_decisions()
    ]
    types = {"tick": pl.Datetime("us", "UTC"), "model_version": pl.Int64}
    names = ("tick", "stage", "kind", "reasons", "model_version", "evidence")
    return pl.DataFrame(records, schema={name: types.get(name, pl.String) for name in names})


def export_windows(loop: Loop) -> pl.DataFrame:
    """Every window of the champion, oldest first, with the task's metrics one a column."""
    windows = loop.store.list_windows()
    metrics = sorted({name for w in windows for name in w.metrics})
    when, number = pl.Datetime("us", "UTC"), pl.Float64
    schema: Document = {"start": when, "end": when, "batch": pl.String, "rows": pl.Int64, "labels": pl.Int64}
    schema |= {"coverage": number, "status": pl.String, "metric": pl.String, "realized": number}
    schema |= {"realized_low": number, "realized_high": number}
    schema |= {"estimated": number, "estimated_low": number, "estimated_high": number}
    schema |= {"model_version": pl.Int64, "checked_at": when} | {f"metric_{name}": number for name in metrics}
    rows = [
        {"start": w.start_at, "end": w.end_at}
        | {f.name: getattr(w, f.name) for f in dataclasses.fields(w) if f.name in schema}
        | {f"metric_{name}": w.metrics.get(name) for name in metrics}
        for w in windows
    ]
    return pl.DataFrame([plain.plain(r) for r in rows], schema=schema)


def source_type(loop: Loop, labels: pl.Series) -> pl.Series:
    """Class labels back in the type that their canonical text came from: integers, booleans or text."""
    if labels.dtype != pl.String or ((target := loop.store.get_fact(TARGET)) and target.text):
        return labels
    known = labels.drop_nulls()
    if known.is_in(["true", "false"]).all():
        return labels == "true"
    numbers = known.cast(pl.Int64, strict=False)
    whole = not numbers.null_count() and (numbers.cast(pl.String) == known).all()
    return labels.cast(pl.Int64) if whole else labels


def _class_scores(rows: pl.DataFrame) -> pl.DataFrame:
    """One column a class: `score_<class>`; null where a version did not know the class."""
    long = rows.select("classes", "scores").with_row_index("row").explode("classes", "scores").drop_nulls()
    names = long["classes"].unique().sort().to_list()
    wide = long.pivot(on="classes", index="row", values="scores")
    wide = pl.DataFrame({"row": range(rows.height)}, schema={"row": pl.UInt32}).join(wide, on="row", how="left")
    return wide.sort("row").select(pl.col(name).alias(f"score_{name}") for name in names)


def _scored(loop: Loop, role: Role) -> pl.DataFrame | None:
    rows = loop.lake.read("predictions", scored_as(role))
    last = loop.store.last_tick("notify")
    return None if rows is None or last is None or rows.is_empty() else with_labels(loop, rows, last)


def _metrics(loop: Loop, rows: pl.DataFrame | None) -> dict[str, float]:
    if rows is None:
        return {}
    return compute_metrics(loop.project.task, rows["label"], rows, loop.positive, stand_for(rows))


def _estimates(windows: Sequence[Window]) -> Document:
    """What was published of the estimates' own error: its mean absolute size, and how often the interval held."""
    both = [(w, w.estimated, w.realized) for w in windows if w.status is WindowStatus.FINAL]
    errors = [abs(estimated - real) for _, estimated, real in both if estimated is not None and real is not None]
    held = [
        w.estimated_low <= real <= w.estimated_high
        for w, _, real in both
        if w.estimated_low is not None and w.estimated_high is not None and real is not None
    ]
    return {
        "estimated_windows": len(errors),
        "estimate_error": sum(errors) / len(errors) if errors else None,
        "estimate_held": sum(held) / len(held) if held else None,
    }


def write_table(frame: pl.DataFrame, file: Path) -> None:
    """Write a frame as .parquet, .csv or .jsonl, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    try:
        if file.suffix == ".parquet":
            frame.write_parquet(part)
        elif file.suffix == ".csv":
            frame.write_csv(part, datetime_format="%Y-%m-%dT%H:%M:%S%.f%:z")
        else:
            frame.write_ndjson(part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
