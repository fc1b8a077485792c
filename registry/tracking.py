"""The door to MLflow: opened quietly, its faults told in one line, each run found again by its key."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from homeostat.errors import HomeostatError, RegistryError, is_disk_full
from homeostat.registry.relocation import relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "homeostat.key"
PROJECT = "homeostat.project"
NOTE = "mlflow.note.content"

# What a person reads above each experiment's runs.
_ABOUT = {
    "training": "One run is one training of {project}: `reference.*` is the chosen family on rows held out from "
    "it, `FAMILY.valid.*` and `FAMILY.holdout.*` what each candidate reached, `cost.*` what it took; `as_of` and "
    "`lake.*` say what was known, `rows` how many rows it learned from.",
    "monitoring": "One run is one check of {project}, of the batch named in its tags: `drift_share` and "
    "`drift.COLUMN` against what the champion learned from, `realized.*` and `coverage` of the newest batch whose "
    "truth is known. Evidently's page is under Artifacts.",
}

_QUIET = {
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_KIND = "custom_model_development"
_SOURCE = {"mlflow.source.name": "homeostat", "mlflow.source.type": "LOCAL"}


@contextmanager
def mlflow_faults(what: str) -> Iterator[None]:
    """Turn any fault inside into one RegistryError: "MLflow cannot WHAT: first line of the fault"."""
    try:
        yield
    except HomeostatError:
        raise
    except Exception as fault:
        if is_disk_full(fault):
            raise RegistryError(
                f"MLflow cannot {what}: no space is left on the disk.", "Make room, then run it again."
            ) from fault
        line = str(fault).strip().splitlines()[0] if str(fault).strip() else "no reason given"
        raise RegistryError(
            f"MLflow cannot {what}: {type(fault).__name__}: {line}",
            "Look at MLFLOW_TRACKING_URI and at the disk; nothing else was changed.",
        ) from fault


@contextmanager
def hushed() -> Iterator[None]:
    """Keep MLflow's warnings about our own model code from a person's screen."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"mlflow\..*")
        yield


def import_mlflow() -> Any:
    """Import MLflow with its telemetry, progress bars and log lines off: its faults are raised, and told by us."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


def is_local(tracking_uri: str) -> bool:
    """Whether the tracking store is a file of this machine, so that artifacts are ours to place."""
    return urlparse(tracking_uri).scheme in ("sqlite", "file", "")


class Tracking:
    """The experiments of one registered model: `NAME/training` and `NAME/monitoring`."""

    def __init__(self, tracking_uri: str, artifact_root: Path, model_name: str, project_name: str) -> None:
        self.uri, self.artifact_root = tracking_uri, Path(artifact_root)
        self.model_name, self.project_name = model_name, project_name
        self._client: MlflowClient | None = None
        self._experiments: dict[str, str] = {}

    @property
    def client(self) -> MlflowClient:
        """The client of this tracking store; also makes it MLflow's current one, which `log_model` uses."""
        mlflow = import_mlflow()
        if mlflow.get_tracking_uri() != self.uri:
            _point_at(mlflow, self.uri)
        if self._client is None:
            _lay_database(self.uri)
            if self.uri.startswith("sqlite:///") and (place := self.artifacts("training")) is not None:
                relocate(self.uri, f"{self.model_name}/training", place)
            self._client = mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        assert self._client is not None
        return self._client

    def experiment(self, part: str) -> str:
        """Return the id of the experiment `NAME/PART`, made where there is none."""
        if part not in self._experiments:
            name = f"{self.model_name}/{part}"
            known = self.client.get_experiment_by_name(name)
            if known is None:
                place = self.artifacts(part)
                location = None if place is None else place.as_uri()
                tags = {NOTE: _ABOUT[part].format(project=self.project_name), "mlflow.experimentKind": _KIND}
                made = self.client.create_experiment(name, artifact_location=location, tags=tags)
                self._experiments[part] = made
            else:
                if known.lifecycle_stage == "deleted":
                    self.client.restore_experiment(known.experiment_id)
                self._experiments[part] = known.experiment_id
        return self._experiments[part]

    def artifacts(self, part: str) -> Path | None:
        """Where the artifacts of an experiment lie; None where a server keeps them."""
        return (self.artifact_root / self.model_name / part).resolve() if is_local(self.uri) else None

    def find_runs(self, part: str, key: str) -> list[Any]:
        """List the runs that carry this key, the newest first."""
        tagged = f"tags.`{KEY}` = '{_quoted(key)}'"
        return list(self.client.search_runs([self.experiment(part)], tagged, max_results=100))

    def start(self, part: str, key: str, name: str, at: datetime, tags: dict[str, str]) -> str:
        """Create a run that can be found again by its key, deleting what a killed attempt left."""
        for orphan in self.find_runs(part, key):
            self.discard(part, orphan.info.run_id)
        marks = {KEY: key, PROJECT: self.project_name, "homeostat.at": at.isoformat(), **_SOURCE, **tags}
        return self.client.create_run(self.experiment(part), tags=marks, run_name=name).info.run_id

    def discard(self, part: str, run_id: str) -> None:
        """Delete a run and the models logged by it."""
        run = self.client.get_run(run_id)
        if run.info.status == "RUNNING":
            self.client.set_terminated(run_id, status="KILLED")
        made_by = f"source_run_id = '{run_id}'"
        for model in self.client.search_logged_models([self.experiment(part)], filter_string=made_by):
            self.client.delete_logged_model(model.model_id)
        self.client.delete_run(run_id)

    def log(self, run_id: str, at: datetime, metrics: dict[str, float], params: dict[str, Any]) -> None:
        """Log metrics (those that are numbers) and params in one call."""
        from mlflow.entities import Metric, Param

        stamp = int(at.timestamp() * 1000)
        numbers = [Metric(k, float(v), stamp, 0) for k, v in sorted(metrics.items()) if v is not None]
        texts = [Param(name, str(value)[:6000]) for name, value in sorted(params.items())]
        self.client.log_batch(run_id, metrics=numbers, params=texts)


def _point_at(mlflow: Any, uri: str) -> None:
    """Make a store MLflow's current one; the variable it sets for that would name the next project's store too."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before


def _lay_database(uri: str) -> None:
    """Make a new SQLite store whole before it takes its name: a half-migrated one could not be opened again."""
    if not uri.startswith("sqlite:///"):
        return
    file = Path(uri.removeprefix("sqlite:///"))
    if file.exists():
        return
    from filelock import FileLock
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    with FileLock(f"{file}.lock"):
        if file.exists():
            return
        part.unlink(missing_ok=True)
        store = SqlAlchemyStore(f"sqlite:///{part}", (file.parent / "mlruns").as_uri())
        store.engine.dispose()
        part.replace(file)


def _quoted(text: str) -> str:
    return text.replace("'", "")
