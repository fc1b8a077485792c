"""The estimator that a project's own `build_model` hook makes."""

from __future__ import annotations

from homeostat.errors import ProjectError
from homeostat.pipelines.inference import estimator_table
from homeostat.pipelines.models.families.base import (
    FAMILIES,
    Family,
    FitRequest,
    Fitted,
    Table,
    count_passes,
    is_regression,
    sample_weights,
)


@FAMILIES.register("hook")
class HookFamily(Family):
    """Whatever estimator of scikit-learn's interface the hook returns."""

    def fit(self, train: Table, request: FitRequest) -> Fitted:
        """Build and fit it. Raises ProjectError where there is no hook, or its estimator cannot be fitted."""
        where = f"{request.project.folder / 'hooks.py'}: build_model"
        if (build_model := request.hooks.build_model) is None:
            raise ProjectError(
                f"{where} is missing, but training.candidates names 'hook'.", "Define it, or take 'hook' out."
            )
        try:
            model = build_model(str(request.project.task), request.project.training.seed)
            table = estimator_table(train.matrix, request.manifest)
            model.fit(table, train.target, **sample_weights(model, train))
        except Exception as fault:
            raise ProjectError(
                f"{where}: its estimator cannot be fitted: {type(fault).__name__}: {fault}.",
                "It gets a pandas frame of floats: numbers, and categories as their position in the vocabulary.",
            ) from fault
        if not is_regression(request) and not hasattr(model, "predict_proba"):
            raise ProjectError(
                f"{where} returned {type(model).__name__}, which has no predict_proba.",
                "Return a classifier that gives class chances.",
            )
        passes = count_passes(model)
        return Fitted(model, passes, passes)
