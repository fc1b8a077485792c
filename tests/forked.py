"""Processes that are forked from one that has imported what is heavy, and done nothing else.

A test run has one such process; so there is one list for all who fork from it.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

HEAVY = [
    "alembic.command", "cryptography", "deltalake", "evidently", "evidently.presets", "jinja2", "mlflow",
    "mlflow.pyfunc", "mlflow.sklearn", "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store", "plotly.graph_objects", "polars", "pyarrow.dataset", "skops.io",
    "sklearn.linear_model", "sklearn.preprocessing", "xgboost", "homeostat.flows.operations.manual",
    "homeostat.flows.replay.adopt", "homeostat.flows.replay.run", "homeostat.monitoring.drift",
    "homeostat.pipelines.models.training", "worlds",
]  # fmt: skip


def processes() -> ForkServerContext:
    """How to make such processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    return context
