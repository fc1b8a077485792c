"""Packing: a model's folder becomes one MLflow model, and comes back as a predictor."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeostat.errors import ModelRefused
from homeostat.registry import tracking

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

REQUIREMENTS = ("mlflow", "numpy", "pandas", "polars", "pyarrow", "scikit-learn", "skops", "xgboost-cpu")
_CODE = Path(__file__).with_name("served_model.py")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a model's folder says of itself; raises ModelRefused where it cannot be read."""
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ModelRefused(f"{folder}: no readable manifest.json: {fault}.", "Train the model again.") from None


def log_folder(folder: Path) -> ModelInfo:
    """Log a model's folder as a self-contained pyfunc into the active run; returns MLflow's model info."""
    mlflow = tracking.import_mlflow()
    manifest = read_manifest(folder)
    rows = golden_rows(folder, manifest)
    with tracking.hushed():
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_CODE),
            artifacts={"model": str(folder)},
            signature=describe_signature(manifest),
            input_example=plain_example(rows),
            pip_requirements=pin_requirements(),
            metadata={"raw": manifest["raw"], "target": manifest["target"], "task": manifest["task"]},
        )


def describe_signature(manifest: dict[str, Any]) -> ModelSignature:
    """Make the signature of a model from its manifest.

    Every input may be absent. Inputs are of any type, since MLflow refuses whole numbers for a column of
    doubles and numbers for a column of text; the predictor brings them to the type they had in training.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    named = [manifest["key"], manifest["event_time"], *(spec["name"] for spec in manifest["raw"])]
    inputs: list[Any] = [ColSpec(AnyType(), name, required=False) for name in dict.fromkeys(named)]
    regression = manifest["task"] == "regression"
    made: list[Any] = [ColSpec("double" if regression else "string", "prediction")]
    if manifest["task"] == "binary":
        made.append(ColSpec("double", "score"))
    elif manifest["task"] == "multiclass":
        made += [ColSpec("double", f"score_{label}") for label in manifest["classes"]]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(made))


def pin_requirements() -> list[str]:
    """Pin the packages that a packed model needs to what is installed; named so that MLflow infers nothing."""
    pins = []
    for name in REQUIREMENTS:
        try:
            pins.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return pins


def golden_rows(folder: Path, manifest: dict[str, Any], rows: int = 5) -> pd.DataFrame:
    """Take the first golden rows of a model's folder as a pandas frame of raw inputs."""
    import polars as pl

    wanted = [manifest["key"], manifest["event_time"], *(spec["name"] for spec in manifest["raw"])]
    return pl.read_parquet(folder / "golden.parquet").select(list(dict.fromkeys(wanted))).head(rows).to_pandas()


def plain_example(rows: pd.DataFrame) -> pd.DataFrame:
    """Write times as text, as the JSON of a served request does."""
    rows = rows.head(5).copy()
    for name in rows.columns:
        if rows[name].dtype.kind == "M":
            rows[name] = [None if value != value else value.isoformat() for value in rows[name]]
    return rows


def find_folder(model: Path) -> Path | None:
    """Find our folder inside a downloaded MLflow model; None where the model was made elsewhere."""
    manifests = sorted(model.glob("artifacts/*/manifest.json"))
    return manifests[0].parent if manifests else None


def load_predictor(folder: Path, title: str) -> Any:
    """Load the predictor of a model's folder, its golden rows verified.

    Raises ModelRefused, in one line that begins with `title`, where anything is missing or differs.
    """
    tracking.import_mlflow()
    from homeostat.registry.served_model import import_predictor

    try:
        return import_predictor(folder).Predictor.load(folder)
    except Exception as fault:
        line = str(fault).strip().splitlines()[0] if str(fault).strip() else "no reason given"
        raise ModelRefused(
            f"{title} is refused: {type(fault).__name__}: {line}.",
            "Roll back to another version, or train again.",
        ) from fault
