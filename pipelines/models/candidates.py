"""Candidates: one fit of one family, with what it cost. Every fit is bit-identical for the same input."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from homeostat.errors import ProjectError
from homeostat.hooks import Hooks
from homeostat.pipelines.inference import estimator_table
from homeostat.project import Project, Task
from homeostat.records import FitCost

MAX_CATEGORIES = 50
MAX_PASSES = 60


@dataclass(frozen=True, slots=True)
class Fit:
    """One fitted model. `rounds` are those it predicts with; `boosted` rounds or passes were paid for."""

    family: str
    model: Any
    rows: int
    rounds: int
    boosted: int
    cpu_seconds: float

    @property
    def cost(self) -> FitCost:
        """What this one fit cost: rows times rounds boosted, or times passes."""
        return FitCost(1, self.rows * self.boosted, self.cpu_seconds)


@dataclass(frozen=True, slots=True)
class Table:
    """Encoded rows: `matrix` (rows, features) float32, `target` (rows,) class positions or values.

    `weight` (rows,) says how much each row counts; None: all alike. A hook's estimator is told where its fit takes it.
    """

    matrix: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None = None

    def part(self, positions: np.ndarray) -> Table:
        """Take the rows at these positions."""
        weight = None if self.weight is None else self.weight[positions]
        return Table(self.matrix[positions], self.target[positions], weight)


def row_weights(frame: pl.DataFrame) -> np.ndarray | None:
    """How much each row of a training frame counts, (rows,): its column `_weight`; None where it has none."""
    return frame["_weight"].to_numpy() if "_weight" in frame.columns else None


@dataclass(frozen=True, slots=True)
class Boosting:
    """How to boost: the step, the depth of a tree, and the booster to go on from, with what it was fitted on."""

    learning_rate: float
    max_depth: int
    base: Any = None

    @classmethod
    def of(cls, project: Project) -> Boosting:
        """The project's own settings, from nothing."""
        return cls(project.training.learning_rate, project.training.max_depth)


def fit_candidate(
    family: str,
    train: Table,
    manifest: dict[str, Any],
    project: Project,
    hooks: Hooks,
    *,
    rounds: int,
    valid: Table | None = None,
    boosting: Boosting | None = None,
) -> Fit:
    """Fit one family on `train`; with `valid`, boosting stops early on its loss.

    `manifest` gives the features, classes and task. `rounds` bounds boosting, and counts what is added where
    `boosting` goes on from a base; without `boosting` the project's settings hold. Raises ProjectError where the
    hook's estimator cannot be built or fitted.
    """
    started = time.process_time()
    if family == "xgboost":
        model, used, boosted = _fit_xgboost(train, manifest, project, rounds, valid, boosting or Boosting.of(project))
    elif family == "linear":
        model, used, boosted = _fit_linear(train, manifest, project)
    else:
        model, used, boosted = _fit_hook(train, manifest, project, hooks)
    return Fit(family, model, len(train.target), used, boosted, time.process_time() - started)


def _fit_xgboost(
    train: Table, manifest: dict[str, Any], project: Project, rounds: int, valid: Table | None, boosting: Boosting
) -> tuple[Any, int, int]:
    import xgboost

    settings = project.training
    kinds = ["c" if spec["kind"] == "categorical" else "q" for spec in manifest["features"]]
    shared = {"feature_types": kinds, "enable_categorical": True, "nthread": settings.threads}
    table = xgboost.QuantileDMatrix(train.matrix, train.target, weight=train.weight, **shared)
    stop: dict[str, Any] = {}
    if valid is not None:
        watched = xgboost.QuantileDMatrix(valid.matrix, valid.target, weight=valid.weight, ref=table, **shared)
        stop = {"evals": [(watched, "valid")], "early_stopping_rounds": settings.early_stopping}
    told = _objective(manifest, project, boosting)
    booster = xgboost.train(told, table, rounds, verbose_eval=False, xgb_model=boosting.base, **stop)
    made = booster.num_boosted_rounds()
    boosted = made - (boosting.base.num_boosted_rounds() if boosting.base is not None else 0)
    return booster, booster.best_iteration + 1 if valid is not None else made, boosted


def _objective(manifest: dict[str, Any], project: Project, boosting: Boosting) -> dict[str, Any]:
    settings = project.training
    shared = {
        "tree_method": "hist",
        "eta": boosting.learning_rate,
        "max_depth": boosting.max_depth,
        "nthread": settings.threads,
        "seed": settings.seed,
        "verbosity": 0,
    }
    if project.task is Task.BINARY:
        return {**shared, "objective": "binary:logistic", "eval_metric": "logloss"}
    if project.task is Task.MULTICLASS:
        many = {"objective": "multi:softprob", "eval_metric": "mlogloss"}
        return {**shared, **many, "num_class": len(manifest["classes"])}
    return {**shared, "objective": "reg:squarederror", "eval_metric": "rmse"}


def _fit_linear(train: Table, manifest: dict[str, Any], project: Project) -> tuple[Any, int, int]:
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    model = _linear_pipeline(manifest, project)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train.matrix, train.target, model__sample_weight=train.weight)
    passes = _passes(model)
    return model, passes, passes


def _linear_pipeline(manifest: dict[str, Any], project: Project) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    kinds = [spec["kind"] for spec in manifest["features"]]
    filled = SimpleImputer(strategy="median", keep_empty_features=True)
    numbers = Pipeline([("fill", filled), ("scale", StandardScaler())])
    names = OneHotEncoder(handle_unknown="ignore", max_categories=MAX_CATEGORIES, dtype=np.float32)  # pyright: ignore[reportArgumentType]
    columns = ColumnTransformer(
        [
            ("numeric", numbers, [i for i, kind in enumerate(kinds) if kind == "numeric"]),
            ("categorical", names, [i for i, kind in enumerate(kinds) if kind == "categorical"]),
        ]
    )
    if project.task is Task.REGRESSION:
        return Pipeline([("columns", columns), ("model", Ridge(solver="lsqr", max_iter=MAX_PASSES))])
    # A tighter tolerance took 60 passes instead of 7 over 50,000 rows of wide one-hot data, for a lower AUC.
    chances = LogisticRegression(max_iter=MAX_PASSES, tol=1e-3)
    return Pipeline([("columns", columns), ("model", chances)])


def _fit_hook(train: Table, manifest: dict[str, Any], project: Project, hooks: Hooks) -> tuple[Any, int, int]:
    where = f"{project.folder / 'hooks.py'}: build_model"
    if hooks.build_model is None:
        raise ProjectError(
            f"{where} is missing, but training.candidates names 'hook'.", "Define it, or take 'hook' out."
        )
    try:
        model = hooks.build_model(str(project.task), project.training.seed)
        model.fit(estimator_table(train.matrix, manifest), train.target, **_hook_weights(model, train))
    except Exception as fault:
        raise ProjectError(
            f"{where}: its estimator cannot be fitted: {type(fault).__name__}: {fault}.",
            "It gets a pandas frame of floats: numbers, and categories as their position in the vocabulary.",
        ) from fault
    if project.task is not Task.REGRESSION and not hasattr(model, "predict_proba"):
        raise ProjectError(
            f"{where} returned {type(model).__name__}, which has no predict_proba.",
            "Return a classifier that gives class chances.",
        )
    passes = _passes(model)
    return model, passes, passes


def _hook_weights(model: Any, train: Table) -> dict[str, np.ndarray]:
    from sklearn.utils.validation import has_fit_parameter

    taken = train.weight is not None and has_fit_parameter(model, "sample_weight")
    return {"sample_weight": train.weight} if taken else {}  # type: ignore[dict-item]


def _passes(model: Any) -> int:
    """How often an estimator went over its rows, as far as it says: iterations, else members, else one."""
    last = model[-1] if hasattr(model, "named_steps") else model
    count = getattr(last, "n_iter_", None)
    if count is None:
        count = getattr(last, "n_estimators", None)
    return 1 if count is None else max(1, int(np.max(count)))
