"""Processes that are forked from one that has imported what is heavy, and done nothing else.

A test run has one such process; so there is one list for all who fork from it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

HEAVY = [
    "alembic.command", "alembic.config", "cryptography", "deltalake", "evidently", "evidently.presets", "git", "jinja2",
    "markdown_it", "mlflow", "mlflow.pyfunc", "mlflow.pyfunc.scoring_server", "mlflow.sklearn",
    "mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.tracing.processor.base_mlflow", "opentelemetry.sdk.metrics", "plotly.graph_objects", "plotly.offline",
    "polars", "pyarrow.dataset", "skops.io", "sklearn.linear_model", "sklearn.preprocessing",
    "sqlalchemy.dialects.sqlite", "typer", "xgboost", "homeostat.flows.operations.manual",
    "homeostat.flows.orchestration.replay_runs", "homeostat.flows.replay.adopt", "homeostat.flows.replay.run",
    "homeostat.monitoring.drift", "homeostat.pipelines.models.training", "homeostat.registry.served_model", "preloaded",
    "worlds",
]  # fmt: skip
"""Nothing of `homeostat.console`: what writes to the screen asks at its import how wide that is."""


def processes() -> ForkServerContext:
    """How to make such processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    with pytest.MonkeyPatch.context() as patch:
        # What they are forked from is not told where we import from.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [*sys.path, os.environ.get("PYTHONPATH")])))
        forkserver.ensure_running()
    return context


def fork(
    target: Callable[..., None], *args: Any, environ: Mapping[str, str] | None = None, daemon: bool = False
) -> BaseProcess:
    """Such a process, to be started, with this environment, or that of now.

    What it is forked from has the environment of whichever test needed one first.
    """
    given = dict(os.environ if environ is None else environ)
    return processes().Process(target=_run, args=(given, target, args), daemon=daemon)


def _run(environ: Mapping[str, str], target: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(environ)
    target(*args)
