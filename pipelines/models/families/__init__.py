"""Estimator families: each is one class that learns, registered by its name in `FAMILIES`."""

from homeostat.pipelines.models.families.base import (
    FAMILIES,
    Boosting,
    EstimatorFamily,
    Family,
    FitPrice,
    FitRequest,
    Fitted,
    Table,
    check_candidates,
)
from homeostat.pipelines.models.families.boosting import XGBoost
from homeostat.pipelines.models.families.hook import HookFamily
from homeostat.pipelines.models.families.linear import Linear

__all__ = [
    "FAMILIES",
    "Boosting",
    "EstimatorFamily",
    "Family",
    "FitPrice",
    "FitRequest",
    "Fitted",
    "HookFamily",
    "Linear",
    "Table",
    "XGBoost",
    "check_candidates",
]
