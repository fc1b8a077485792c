"""A model's folder, as the predictor reads it: what every kind of model writes down in the same way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from homeostat.hooks import Hooks
from homeostat.pipelines import inference
from homeostat.pipelines.inference import Predictor
from homeostat.pipelines.models.data_profile import DataProfile

GOLDEN_ROWS = 50


def keep_estimator(model: Any, family: str, folder: Path, name: str = "model") -> None:
    """Write a fitted estimator in its own format, without pickle."""
    inference.serving_of(family).save(model, folder / inference.model_file(family, name))


def keep_parts(folder: Path, predictor: Predictor, hooks: Hooks, sample: pl.DataFrame, facts: DataProfile) -> Path:
    """Write everything besides the estimators: manifest, hooks, facts, reference and golden rows, predictor's code.

    `sample`: raw rows that the model learned from, and their `label`. Returns the folder.
    """
    if predictor.manifest["hooks"] is not None and hooks.source is not None:
        (folder / "hooks.py").write_bytes(hooks.source.encode())
    for name, content in (("manifest.json", predictor.manifest), ("facts.json", facts)):
        (folder / name).write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
    sample.write_parquet(folder / "reference.parquet")
    raw = sample.drop("label")
    predictor.golden(raw[spread(raw.height, GOLDEN_ROWS)]).write_parquet(folder / "golden.parquet")
    _keep_code(folder / "predictor")
    return folder


def _keep_code(folder: Path) -> None:
    """Copy the predictor's code, a package of few modules, so that the model needs nothing of Homeostat."""
    folder.mkdir(exist_ok=True)
    for module in sorted(Path(inference.__file__).parent.glob("*.py")):
        shutil.copyfile(module, folder / module.name)


def spread(rows: int, wanted: int) -> np.ndarray:
    """Positions of at most `wanted` rows, spread evenly from the first to the last."""
    return np.unique(np.linspace(0, rows - 1, min(rows, wanted)).astype(np.int64))
