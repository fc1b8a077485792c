"""Linear models: logistic regression or ridge, behind filled and scaled numbers and one-hot categories."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from homeostat.pipelines.models.families.base import (
    FAMILIES,
    Family,
    FitPrice,
    FitRequest,
    Fitted,
    Table,
    count_passes,
    is_regression,
)

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

MAX_CATEGORIES = 50
MAX_PASSES = 60


@FAMILIES.register("linear")
class Linear(Family):
    """A linear model, fitted in a few passes."""

    price = FitPrice(a_round=2e-3, a_column=2e-5, a_cell=4e-8)

    def fit(self, train: Table, request: FitRequest) -> Fitted:
        """Fit the columns' preparation and the model."""
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits

        model = _pipeline(request)
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(train.matrix, train.target, model__sample_weight=train.weight)
        passes = count_passes(model)
        return Fitted(model, passes, passes)


def _pipeline(request: FitRequest) -> Pipeline:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import Pipeline

    columns = _columns([spec["kind"] for spec in request.manifest["features"]])
    if is_regression(request):
        return Pipeline([("columns", columns), ("model", Ridge(solver="lsqr", max_iter=MAX_PASSES))])
    # A tighter tolerance took 60 passes instead of 7 over 50,000 rows of wide one-hot data, for a lower AUC.
    chances = LogisticRegression(max_iter=MAX_PASSES, tol=1e-3)
    return Pipeline([("columns", columns), ("model", chances)])


def _columns(kinds: list[str]) -> ColumnTransformer:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    filled = SimpleImputer(strategy="median", keep_empty_features=True)
    numbers = Pipeline([("fill", filled), ("scale", StandardScaler())])
    names = OneHotEncoder(handle_unknown="ignore", max_categories=MAX_CATEGORIES, dtype=np.float32)  # pyright: ignore[reportArgumentType]
    return ColumnTransformer(
        [
            ("numeric", numbers, [i for i, kind in enumerate(kinds) if kind == "numeric"]),
            ("categorical", names, [i for i, kind in enumerate(kinds) if kind == "categorical"]),
        ]
    )
