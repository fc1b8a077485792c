"""Between frames and matrices: features become numbers, and what a model says becomes predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from .manifest import Feature, Manifest

if TYPE_CHECKING:
    import pandas as pd

_TEXTS, _NUMBERS = pl.List(pl.String), pl.List(pl.Float64)


def encode(features: pl.DataFrame, specs: list[Feature]) -> np.ndarray:
    """Encode features as float32, (rows, features): numbers, or positions in the frozen vocabulary.

    Null, infinite and never-seen values are NaN, which every family reads as missing.
    """
    matrix = np.empty((features.height, len(specs)), dtype=np.float32)
    for at, spec in enumerate(specs):
        column = features[spec["name"]]
        if spec["kind"] == "categorical":
            known = pl.Enum(spec["vocabulary"] or [])
            codes = column.cast(pl.String).cast(known, strict=False).to_physical()
            matrix[:, at] = codes.cast(pl.Float32).to_numpy()
        else:
            with np.errstate(over="ignore"):
                matrix[:, at] = column.cast(pl.Float64, strict=False).to_numpy().astype(np.float32)
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


def align_classes(values: np.ndarray, own: list[str], classes: list[str]) -> np.ndarray:
    """Lay class chances (rows, own) out in the columns of `classes`; a class that is not among `own` has chance 0."""
    if own == classes:
        return values
    chances = np.zeros((len(values), len(classes)))
    chances[:, [classes.index(label) for label in own]] = values
    return chances


def estimator_table(matrix: np.ndarray, manifest: Manifest) -> pd.DataFrame:
    """Lay the encoded features out as the pandas frame that a hook's estimator is given: float64, by name."""
    import pandas as pd

    names = pd.Index([spec["name"] for spec in manifest["features"]])
    return pd.DataFrame(matrix.astype(np.float64), columns=names)


def outputs(values: np.ndarray, task: str, classes: list[str] | None, positive: str | None) -> pl.DataFrame:
    """Turn what a model says into the frame that `Predictor.score` returns."""
    height = len(values)
    score, lists, labels = pl.Series([None] * height, dtype=pl.Float64), None, None
    if task == "regression":
        prediction = pl.Series(values, dtype=pl.Float64)
    elif task == "binary":
        assert classes is not None and positive is not None
        negative = next(label for label in classes if label != positive)
        prediction = pl.Series(np.where(values >= 0.5, positive, negative).tolist(), dtype=pl.String)
        score = pl.Series(values, dtype=pl.Float64)
    else:
        assert classes is not None
        best = values.argmax(axis=1) if height else np.empty(0, dtype=int)
        prediction = pl.Series([classes[i] for i in best], dtype=pl.String)
        labels = pl.Series([classes], dtype=_TEXTS).new_from_index(0, height)
        lists = pl.Series(values.ravel(), dtype=pl.Float64).reshape((height, len(classes))).cast(_NUMBERS)
    empty = pl.Series([None], dtype=pl.Null).new_from_index(0, height)
    return pl.DataFrame(
        {
            "prediction": prediction,
            "score": score,
            "classes": empty.cast(_TEXTS) if labels is None else labels,
            "scores": empty.cast(_NUMBERS) if lists is None else lists,
        }
    )
