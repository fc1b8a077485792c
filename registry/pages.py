"""Where a person finds runs, versions and artifacts in MLflow's own pages."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache
from urllib.parse import quote
from urllib.request import urlopen

EVIDENTLY = "evidently.html"
PATIENCE_SECONDS = 3.0


def run_page(ui: str, run: str) -> str:
    """The page of a run."""
    return f"{ui}/#/runs/{quote(run)}"


def version_page(ui: str, model: str, version: int) -> str:
    """The page of a registered version."""
    return f"{ui}/#/models/{quote(model, safe='')}/versions/{version}"


def evidently_page(ui: str, run: str, api: str | None = None) -> str:
    """The page that shows the drift report of a check's run; the run's own where its experiment cannot be found.

    `api` is where MLflow answers this process, where that is another address than people's.
    """
    experiment = _experiment_of(api or ui, run)
    if experiment is None:
        return run_page(ui, run)
    return f"{ui}/#/experiments/{quote(experiment)}/runs/{quote(run)}/artifacts/{EVIDENTLY}"


@lru_cache(maxsize=1024)
def _found(api: str, run: str) -> str:
    with urlopen(f"{api}/api/2.0/mlflow/runs/get?run_id={quote(run)}", timeout=PATIENCE_SECONDS) as answer:
        return str(json.load(answer)["run"]["info"]["experiment_id"])


def _experiment_of(api: str, run: str) -> str | None:
    with suppress(OSError, ValueError, KeyError):
        return _found(api, run)
    return None
