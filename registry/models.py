"""The models of one project in MLflow: registered once, copied, given aliases, and logged about."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from homeostat.boundaries import commit
from homeostat.errors import RegistryError
from homeostat.registry import packing
from homeostat.registry.foreign import Contract
from homeostat.registry.lookup import CONTRACT, HEAD, ModelLookup
from homeostat.registry.registration import Registration
from homeostat.registry.tracking import KEY, import_mlflow, mlflow_faults

if TYPE_CHECKING:
    from mlflow.data.meta_dataset import MetaDataset

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
_ABOUT = (
    "The models of the Homeostat project {project}. champion scores, challenger waits for approval, previous is what "
    "'homeostat rollback' goes back to."
)


class Models(ModelLookup):
    """One registered model, its aliases and its two experiments.

    Every method raises RegistryError, in one line, where MLflow cannot be reached or refuses.
    """

    @mlflow_faults("register a model")
    def register(self, folder: Path, made: Registration) -> int:
        """Register a model's folder once: the same key gives the same version, however often it is called.

        The run is complete and finished before the version is made, and the version carries its key from its
        first moment; so a kill leaves either a run without a version, which the next call deletes, or all of it.
        Returns the version.
        """
        if (version := self.find(made.key)) is not None:
            return version
        mlflow, at = import_mlflow(), made.as_of
        run_id = self.tracking.start(
            "training", made.key, f"{made.family} {at:%Y-%m-%d %H:%M}", at, {"family": made.family}
        )
        self.tracking.log(run_id, at, made.metrics(), made.facts())
        with mlflow.start_run(run_id=run_id):
            for table, number in sorted(made.lake_versions.items()):
                mlflow.log_input(_dataset(made.lake_uri, table, number), context="training")
            info = packing.log_folder(Path(folder))
        about = f"{at:%Y-%m-%d %H:%M}: {made.family}, learned from {made.rows:,} rows that were known by then"
        return self._create(made.key, info.model_uri, run_id, {}, info.model_id, about)

    @mlflow_faults("adopt a model made elsewhere")
    def adopt(self, uri: str, key: str, contract: Contract, as_of: datetime) -> int:
        """Register a copy of a model made elsewhere as a version of ours, once a key. Returns the version."""
        if (version := self.find(key)) is not None:
            return version
        run_id = self.tracking.start("training", key, f"adopted {uri}", as_of, {"source": uri})
        with tempfile.TemporaryDirectory() as place:
            copy = import_mlflow().artifacts.download_artifacts(artifact_uri=uri, dst_path=place)
            self.tracking.log(run_id, as_of, {}, {"source": uri, "as_of": as_of.isoformat()})
            return self._keep(run_id, key, Path(copy), {CONTRACT: contract.dump()})

    @mlflow_faults("move an alias")
    def set_alias(self, alias: str, version: int) -> None:
        """Point an alias at a version; does nothing where it already does."""
        if self.get_alias(alias) == version:
            return
        with commit(f"alias.{alias}"):
            self.tracking.client.set_registered_model_alias(self.name, alias, str(version))

    @mlflow_faults("delete an alias")
    def delete_alias(self, alias: str) -> None:
        """Take an alias away; does nothing where there is none."""
        if self.get_alias(alias) is not None:
            with commit(f"alias.{alias}"):
                self.tracking.client.delete_registered_model_alias(self.name, alias)

    @mlflow_faults("log a check")
    def log_check(
        self, tick_at: datetime, key: str, metrics: Mapping[str, float], tags: Mapping[str, str], page: Path | None
    ) -> str:
        """Log one check as one run with its page, once a key. Returns the run's id."""
        for run in self.tracking.find_runs("monitoring", key):
            if run.info.status == "FINISHED":
                return run.info.run_id
        drift = f": {tags['drift']}" if "drift" in tags else ""
        title = f"{self.tracking.project_name} check {tick_at:%Y-%m-%d %H:%M}{drift}"
        run_id = self.tracking.start("monitoring", key, title, tick_at, dict(tags))
        self.tracking.log(run_id, tick_at, dict(metrics), {})
        if page is not None:
            self.tracking.client.log_artifact(run_id, str(page))
        self.tracking.client.set_terminated(run_id)
        return run_id

    @mlflow_faults("anchor the journal")
    def anchor(self, head_hash: str) -> None:
        """Write the head of the journal down beside the model, where the store's writer cannot reach it."""
        self._ensure()
        self.tracking.client.set_registered_model_tag(self.name, HEAD, head_hash)

    @mlflow_faults("forget a model")
    def forget(self) -> None:
        """Delete the registered model, its runs and its artifacts; version numbers begin at 1 again."""
        client = self.tracking.client
        if self._registered() is not None:
            client.delete_registered_model(self.name)
        for part in ("training", "monitoring"):
            experiment = self.tracking.experiment(part)
            while runs := client.search_runs([experiment], max_results=1000):
                for run in runs:
                    client.delete_run(run.info.run_id)
            for model in client.search_logged_models([experiment]):
                client.delete_logged_model(model.model_id)
            if (place := self.tracking.artifacts(part)) is not None:
                shutil.rmtree(place, ignore_errors=True)
        self._loaded.clear()
        self._folders.clear()

    def copy_from(self, other: Models) -> None:
        """Copy every version of another registered model, under the same numbers; ours must have none yet.

        Done again after a kill, it goes on where it stopped.
        """
        for version in other.list_versions():
            made = self._copy(other, version)
            if made != version:
                raise RegistryError(
                    f"{self.name} has had versions before: version {version} would become {made}.",
                    f"Delete the registered model {self.name!r} in MLflow first.",
                )

    @mlflow_faults("copy a model")
    def _copy(self, other: Models, version: int) -> int:
        """Copy a version with its run and its artifacts: those of a replay are deleted when it starts over."""
        record = other.tracking.client.get_model_version(other.name, str(version))
        key = record.tags.get(KEY, f"{other.name}/{version}")
        if (made := self.find(key)) is not None:
            return made
        model, run = other._model(version), other.tracking.client.get_run(str(record.run_id))
        marks = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
        at = datetime.fromisoformat(marks["homeostat.at"])
        run_id = self.tracking.start("training", key, str(run.info.run_name), at, marks)
        self.tracking.log(run_id, at, run.data.metrics, run.data.params)
        if run.inputs is not None and run.inputs.dataset_inputs:
            self.tracking.client.log_inputs(run_id, run.inputs.dataset_inputs)
        folder = packing.find_folder(model)
        if folder is None:
            return self._keep(run_id, key, model, {name: v for name, v in record.tags.items() if name != KEY})
        with import_mlflow().start_run(run_id=run_id):
            info = packing.log_folder(folder)
        return self._create(key, info.model_uri, run_id, {}, info.model_id, record.description or "")

    def _create(
        self, key: str, source: str, run_id: str, tags: dict[str, str], model_id: str | None, about: str = ""
    ) -> int:
        self._ensure()
        with commit("registration"):
            made = self.tracking.client.create_model_version(
                self.name, source, run_id=run_id, tags={KEY: key, **tags}, model_id=model_id, description=about or None
            )
        return int(made.version)

    def _keep(self, run_id: str, key: str, model: Path, tags: dict[str, str]) -> int:
        """Put a model made elsewhere beside its run, end the run, and make a version of it."""
        self.tracking.client.log_artifacts(run_id, str(model), "model")
        self.tracking.client.set_terminated(run_id)
        source = f"{self.tracking.client.get_run(run_id).info.artifact_uri}/model"
        return self._create(key, source, run_id, tags, None)

    def _ensure(self) -> None:
        if self._registered() is None:
            self.tracking.client.create_registered_model(
                self.name, description=_ABOUT.format(project=self.tracking.project_name)
            )


def _dataset(lake_uri: str, table: str, number: int) -> MetaDataset:
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    place = f"{lake_uri.rstrip('/')}/{table}" if lake_uri else table
    return MetaDataset(DeltaDatasetSource(path=place, delta_table_version=number), name=table)
