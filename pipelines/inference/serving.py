"""How models of each family are kept in a file, read again, and asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from .encoding import estimator_table
from .faults import BrokenModel
from .manifest import Manifest, hooks_module

SKLEARN_TYPES = frozenset(
    {
        "numpy.dtype",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.linear_model._ridge.Ridge",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
    }
)
TRUSTED = ("builtins.", "numpy.", "scipy.", "sklearn.", "xgboost.")
"""The modules whose types a file of an estimator may hold, whoever made it."""


class Serving:
    """An estimator of scikit-learn's interface, kept by skops: what every family is that says nothing else.

    It is given the encoded features (rows, features) as float32, missing ones as NaN.
    """

    suffix = ".skops"

    def save(self, model: Any, file: Path) -> None:
        """Write a fitted model in its own format, without pickle."""
        import skops.io

        skops.io.dump(model, file)

    def load(self, file: Path, manifest: Manifest) -> Any:
        """Read what `save` wrote. Raises BrokenModel where it holds a type that is not trusted."""
        import skops.io

        types = sorted(set(skops.io.get_untrusted_types(file=file)))
        for name in types:
            if not self.trusts(name, manifest):
                raise BrokenModel(f"{file.name} holds the type {name}, which is not trusted")
        return skops.io.load(file, trusted=types)

    def trusts(self, name: str, manifest: Manifest) -> bool:
        """Whether a file may hold a type of this name."""
        own = [f"{module.rstrip('.')}." for module in manifest.get("trusted", ())]
        return name in SKLEARN_TYPES or name.startswith((*TRUSTED, *own))

    def values(self, model: Any, manifest: Manifest, matrix: np.ndarray) -> np.ndarray:
        """Class chances (rows, classes), an unseen class has 0; for regression values (rows,)."""
        if manifest["task"] == "regression":
            return np.asarray(model.predict(self.table(matrix, manifest)), dtype=np.float64).reshape(len(matrix))
        chances = np.zeros((len(matrix), len(manifest["classes"] or ())))
        chances[:, np.asarray(model.classes_, dtype=int)] = model.predict_proba(self.table(matrix, manifest))
        return chances if manifest["task"] == "multiclass" else chances[:, 1]

    def table(self, matrix: np.ndarray, manifest: Manifest) -> Any:
        """The encoded features as the estimator takes them."""
        return matrix

    def contributions(self, model: Any, manifest: Manifest, matrix: np.ndarray) -> np.ndarray | None:
        """What each feature adds to the margin, (rows, features) or (rows, classes, features); None where unknown."""
        return None


class HookServing(Serving):
    """An estimator that a hook made: it is given a pandas frame, and may hold types of the hook file."""

    def trusts(self, name: str, manifest: Manifest) -> bool:
        """Whether a file may hold a type of this name."""
        own = manifest["hooks"]
        return super().trusts(name, manifest) or (own is not None and name.startswith(f"{hooks_module(own)}."))

    def table(self, matrix: np.ndarray, manifest: Manifest) -> Any:
        """The encoded features by name."""
        return estimator_table(matrix, manifest)


class LinearServing(Serving):
    """A linear model behind its own preparation of columns."""

    def trusts(self, name: str, manifest: Manifest) -> bool:
        """Whether a file may hold a type of this name."""
        return name in SKLEARN_TYPES

    def contributions(self, model: Any, manifest: Manifest, matrix: np.ndarray) -> np.ndarray:
        """Coefficient times standardised value."""
        columns, estimator = model[:-1], model[-1]
        names = columns.get_feature_names_out()
        sources = [int(re.search(r"__x(\d+)(?:_|$)", name)[1]) for name in names]  # type: ignore[index]
        gather = np.zeros((len(sources), matrix.shape[1]))
        gather[np.arange(len(sources)), sources] = 1
        table, coefficients = columns.transform(matrix), np.atleast_2d(estimator.coef_)
        classes = len(manifest["classes"] or ())
        if classes <= 2:
            return np.asarray(table @ (gather * coefficients[0][:, None]))
        if len(coefficients) == 1:
            coefficients = np.stack([-coefficients[0], coefficients[0]])
        parts = np.zeros((len(matrix), classes, matrix.shape[1]))
        for label, row in zip(estimator.classes_, coefficients, strict=True):
            parts[:, int(label)] = table @ (gather * row[:, None])
        return parts


class BoosterServing(Serving):
    """An XGBoost booster in XGBoost's own format."""

    suffix = ".ubj"

    def save(self, model: Any, file: Path) -> None:
        """Write a fitted booster."""
        model.save_model(file)

    def load(self, file: Path, manifest: Manifest) -> Any:
        """Read what `save` wrote."""
        import xgboost

        booster = xgboost.Booster(model_file=file)
        booster.set_param({"nthread": manifest["threads"]})
        return booster

    def values(self, model: Any, manifest: Manifest, matrix: np.ndarray) -> np.ndarray:
        """P(positive) (rows,), class chances (rows, classes), or values (rows,)."""
        upto = (0, manifest.get("rounds") or 0)
        return np.asarray(model.inplace_predict(matrix, missing=np.nan, iteration_range=upto), dtype=np.float64)

    def contributions(self, model: Any, manifest: Manifest, matrix: np.ndarray) -> np.ndarray:
        """The approximate path contributions (`approx_contribs`)."""
        import xgboost

        kinds = ["c" if spec["kind"] == "categorical" else "q" for spec in manifest["features"]]
        table = xgboost.DMatrix(
            matrix, feature_types=kinds, enable_categorical=True, missing=np.nan, nthread=manifest["threads"]
        )
        upto = (0, manifest.get("rounds") or 0)
        return model.predict(table, pred_contribs=True, approx_contribs=True, iteration_range=upto)[..., :-1]


SERVING = {"xgboost": BoosterServing(), "linear": LinearServing(), "hook": HookServing()}
_ESTIMATOR = Serving()


def serving_of(family: str) -> Serving:
    """How models of a family are kept and asked: a family that is not one of ours as any estimator is."""
    return SERVING.get(family, _ESTIMATOR)


def model_values(model: Any, manifest: Manifest, matrix: np.ndarray) -> np.ndarray:
    """Compute what a fitted model says: P(positive) (rows,), class chances (rows, classes), or values (rows,).

    A class that the model has never seen has chance 0.
    """
    if not len(matrix):
        return np.empty((0, len(manifest["classes"] or ())) if manifest["task"] == "multiclass" else (0,))
    return serving_of(manifest["family"]).values(model, manifest, matrix)


def model_file(family: str, name: str = "model") -> str:
    """Name the file of a model, or of the member of an ensemble of this name."""
    return name + serving_of(family).suffix
