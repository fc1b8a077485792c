"""XGBoost: boosted trees, which stop early where there are rows to watch, or go on from a booster that is there."""

from __future__ import annotations

from typing import Any

from homeostat.pipelines.models.families.base import FAMILIES, Family, FitPrice, FitRequest, Fitted, Table
from homeostat.project import Task


@FAMILIES.register("xgboost")
class XGBoost(Family):
    """Boosted trees on numbers and categories as they are."""

    price = FitPrice(a_round=7e-4, a_column=1.3e-4, a_cell=1.5e-8)

    def fit(self, train: Table, request: FitRequest) -> Fitted:
        """Boost `request.rounds` rounds, at most that many with `valid`, so many more where there is a base."""
        import xgboost

        settings, base = request.project.training, request.boosting.base
        kinds = ["c" if spec["kind"] == "categorical" else "q" for spec in request.manifest["features"]]
        shared = {"feature_types": kinds, "enable_categorical": True, "nthread": settings.threads}
        # A booster that was made of other rows predicts quantized ones wrongly, and what goes on from it learns that.
        kind = xgboost.QuantileDMatrix if base is None else xgboost.DMatrix
        table = kind(train.matrix, train.target, weight=train.weight, **shared)
        stop: dict[str, Any] = {}
        if (valid := request.valid) is not None:
            ref = {"ref": table} if base is None else {}
            watched = kind(valid.matrix, valid.target, weight=valid.weight, **shared, **ref)
            stop = {"evals": [(watched, "valid")], "early_stopping_rounds": settings.early_stopping}
        booster = xgboost.train(_objective(request), table, request.rounds, verbose_eval=False, xgb_model=base, **stop)
        made = booster.num_boosted_rounds()
        used = booster.best_iteration + 1 if valid is not None else made
        return Fitted(booster, used, made - (0 if base is None else base.num_boosted_rounds()))


def _objective(request: FitRequest) -> dict[str, Any]:
    settings, task = request.project.training, request.project.task
    shared = {
        "tree_method": "hist",
        "eta": request.boosting.learning_rate,
        "max_depth": request.boosting.max_depth,
        "nthread": settings.threads,
        "seed": settings.seed,
        "verbosity": 0,
    }
    if task is Task.BINARY:
        return {**shared, "objective": "binary:logistic", "eval_metric": "logloss"}
    if task is Task.MULTICLASS:
        many = {"objective": "multi:softprob", "eval_metric": "mlogloss"}
        return {**shared, **many, "num_class": len(request.manifest["classes"] or ())}
    return {**shared, "objective": "reg:squarederror", "eval_metric": "rmse"}
