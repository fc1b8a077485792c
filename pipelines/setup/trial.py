"""A trial before anything runs: each candidate is fitted and saved on a sample, and each feature looked at alone.

What cannot be fitted or saved is found now, and not at night; and a feature that knows the answer is named.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from homeostat.errors import HomeostatError
from homeostat.hooks import Hooks
from homeostat.metrics import compute_metrics
from homeostat.pipelines import inference
from homeostat.pipelines.models.candidates import Boosting, Table, fit_candidate
from homeostat.pipelines.models.features import build_features
from homeostat.pipelines.models.manifest import describe_model, encode_target, find_classes
from homeostat.pipelines.models.members import BOOSTED
from homeostat.pipelines.models.splits import split_by_time
from homeostat.pipelines.models.training import train_model
from homeostat.pipelines.setup.findings import Finding
from homeostat.project import Project, Task

MOST_ROWS, MOST_FEATURES = 2000, 200
TOO_GOOD = {Task.BINARY: ("auc", 0.99), Task.MULTICLASS: ("accuracy", 0.99), Task.REGRESSION: ("r2", 0.99)}
"""From this on, by one feature alone, a prediction is likelier to be a leak than a finding."""
ROUNDS, DEPTH, STEP = 10, 3, 0.5


def try_out(project: Project, hooks: Hooks, labelled: pl.DataFrame) -> list[Finding]:
    """Fit, score and save one model of each candidate on a sample of labelled rows, and look for leaks.

    `labelled` is an inputs frame with `label`. Findings are errors where a candidate cannot be fitted or saved, and
    warnings where one feature alone predicts too well.
    """
    rows = labelled.sort("event_at", project.data.key)
    if rows.height > MOST_ROWS:
        rows = rows[np.linspace(0, rows.height - 1, MOST_ROWS).astype(int).tolist()]
    if rows.height < project.training.min_rows or (
        project.task is not Task.REGRESSION and rows["label"].n_unique() < 2
    ):
        return []
    found = [_try(project, hooks, rows, family) for family in dict.fromkeys(project.training.candidates)]
    return [*found, *_leaks(project, hooks, rows)]


def _try(project: Project, hooks: Hooks, rows: pl.DataFrame, family: str) -> Finding:
    where, metric = "training.candidates", project.metric
    alone = project.model_copy(update={"training": project.training.model_copy(update={"candidates": [family]})})
    try:
        made = train_model(rows, alone, hooks)
        with tempfile.TemporaryDirectory() as folder:
            saved = made.save(Path(folder) / "model")
            size = sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())
    except HomeostatError as fault:
        return Finding("error", where, f"{family!r} cannot be fitted and saved: {fault}")
    value = made.reference.get(metric)
    said = f"{metric} {value:.4f}" if value is not None else f"{metric} unknown"
    return Finding(
        "ok", where, f"{family} has {said} on the last of {rows.height:,} rows; a model takes {size:,} bytes"
    )


def _leaks(project: Project, hooks: Hooks, rows: pl.DataFrame) -> Iterator[Finding]:
    classes, features = find_classes(rows, project), build_features(rows, project, hooks)
    learn, measure = split_by_time(rows, (0.7, 0.3))
    metric, most = TOO_GOOD[project.task]
    if features.width < 2 or (classes is not None and rows["label"].gather(learn).n_unique() < len(classes)):
        return
    for name in features.columns[:MOST_FEATURES]:
        one = features.select(name)
        manifest = describe_model(rows, one, project, hooks, classes)
        table = Table(inference.encode(one, manifest["features"]), encode_target(rows["label"], manifest))
        boosting = Boosting(STEP, DEPTH)
        fit = fit_candidate(BOOSTED, table.part(learn), manifest, project, hooks, rounds=ROUNDS, boosting=boosting)
        values = inference.model_values(fit.model, fit.describe(manifest), table.matrix[measure])
        scored = inference.outputs(values, manifest["task"], classes, manifest["positive"])
        truth = rows["label"].gather(measure)
        reached = compute_metrics(project.task, truth, scored, manifest["positive"]).get(metric)
        usual = 0.0 if project.task is not Task.MULTICLASS else _largest_share(truth)
        if reached is not None and reached >= most and usual < most:
            yield Finding("warning", f"feature {name}", _in_words(name, project, metric, reached))


def _largest_share(truth: pl.Series) -> float:
    return truth.value_counts()["count"].to_numpy().max() / len(truth)


def _in_words(name: str, project: Project, metric: str, reached: float) -> str:
    return (
        f"{name!r} alone predicts {project.data.target!r} with {metric} {reached:.4f} on later rows. If it is only "
        "known once the outcome is, leave it out of the features; else nothing is wrong."
    )
