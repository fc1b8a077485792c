"""The models of one project in MLflow: registered once, found by alias, loaded only when they keep their word."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from homeostat.boundaries import commit
from homeostat.errors import RegistryError
from homeostat.records import FitCost
from homeostat.registry import packing
from homeostat.registry.foreign import Contract, ForeignModel
from homeostat.registry.tracking import KEY, Tracking, hushed, import_mlflow, told

MOST_LOADED = 8
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
_CONTRACT = "homeostat.contract"
_HEAD = "homeostat.journal_head"
_ABOUT = (
    "The models of the Homeostat project {project}. champion scores, challenger waits for approval, previous is what "
    "'homeostat rollback' goes back to."
)
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class Models:
    """One registered model, its aliases and its two experiments. MLflow is opened at the first call.

    Every method raises RegistryError, in one line, where MLflow cannot be reached or refuses.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path, model_name: str, project_name: str) -> None:
        self.name = model_name
        self.tracking = Tracking(tracking_uri, artifact_root, model_name, project_name)
        self._loaded: OrderedDict[int, Any] = OrderedDict()
        self._folders: dict[int, Path] = {}

    @told("look for a model")
    def find(self, key: str) -> int | None:
        """Find the version that was registered under this key."""
        wanted = f"name = '{self.name}' and tag.`{KEY}` = '{key}'"
        found = [int(version.version) for version in self.tracking.client.search_model_versions(wanted)]
        return min(found) if found else None

    @told("register a model")
    def register(
        self,
        folder: Path,
        key: str,
        *,
        as_of: datetime,
        family: str,
        rows: int,
        reference: Mapping[str, float],
        cost: FitCost,
        params: Mapping[str, Any] | None = None,
        candidates: Sequence[Mapping[str, Any]] = (),
        lake_uri: str = "",
        lake_versions: Mapping[str, int] | None = None,
        example: Any = None,
        plots: Sequence[Path] = (),
    ) -> int:
        """Register a model's folder once: the same key gives the same version, however often it is called.

        The run is complete and finished before the version is made, and the version carries its key from its
        first moment; so a kill leaves either a run without a version, which the next call deletes, or all of it.
        `example` are up to five raw rows, by default golden ones. Returns the version.
        """
        if (version := self.find(key)) is not None:
            return version
        mlflow = import_mlflow()
        run_id = self.tracking.start("training", key, f"{family} {as_of:%Y-%m-%d %H:%M}", as_of, {"family": family})
        facts = {"as_of": as_of.isoformat(), "rows": rows, "family": family, **(params or {})}
        versions = dict(sorted((lake_versions or {}).items()))
        facts |= {f"lake.{table}": number for table, number in versions.items()}
        self.tracking.log(run_id, as_of, _metrics(reference, cost, candidates), facts)
        with mlflow.start_run(run_id=run_id):
            for table, number in versions.items():
                mlflow.log_input(_dataset(lake_uri, table, number), context="training")
            for plot in plots:
                mlflow.log_artifact(str(plot), artifact_path="plots")
            info = packing.log_folder(Path(folder), example)
        about = f"{as_of:%Y-%m-%d %H:%M}: {family}, learned from {rows:,} rows that were known by then"
        return self._create(key, info.model_uri, run_id, {}, info.model_id, about)

    @told("adopt a model made elsewhere")
    def adopt(self, uri: str, key: str, contract: Contract, as_of: datetime) -> int:
        """Register a copy of a model made elsewhere as a version of ours, once a key. Returns the version."""
        if (version := self.find(key)) is not None:
            return version
        run_id = self.tracking.start("training", key, f"adopted {uri}", as_of, {"source": uri})
        with tempfile.TemporaryDirectory() as place:
            copy = import_mlflow().artifacts.download_artifacts(artifact_uri=uri, dst_path=place)
            self.tracking.log(run_id, as_of, {}, {"source": uri, "as_of": as_of.isoformat()})
            return self._keep(run_id, key, Path(copy), {_CONTRACT: contract.dump()})

    @told("read an alias")
    def get_alias(self, alias: str) -> int | None:
        """Return the version an alias points at; None where there is no such alias or no model."""
        from mlflow.exceptions import MlflowException

        client = self.tracking.client
        try:
            return int(client.get_model_version_by_alias(self.name, alias).version)
        except MlflowException as fault:
            if fault.error_code in _MISSING:
                return None
            raise

    @told("move an alias")
    def set_alias(self, alias: str, version: int) -> None:
        """Point an alias at a version; does nothing where it already does."""
        if self.get_alias(alias) == version:
            return
        with commit(f"alias.{alias}"):
            self.tracking.client.set_registered_model_alias(self.name, alias, str(version))

    @told("delete an alias")
    def delete_alias(self, alias: str) -> None:
        """Take an alias away; does nothing where there is none."""
        if self.get_alias(alias) is not None:
            with commit(f"alias.{alias}"):
                self.tracking.client.delete_registered_model_alias(self.name, alias)

    def load(self, version: int) -> Any:
        """Load a version as a predictor (`score`, `explain`), its golden rows verified; the last few stay loaded.

        Raises ModelRefused where a part is missing or the golden rows are not reproduced.
        """
        if version not in self._loaded:
            model = self._model(version)
            folder = packing.find_folder(model)
            title = f"{self.name} version {version}"
            if folder is None:
                self._loaded[version] = self._foreign(version, model, title)
            else:
                self._loaded[version] = packing.load_predictor(folder, title)
        self._loaded.move_to_end(version)
        while len(self._loaded) > MOST_LOADED:
            self._loaded.popitem(last=False)
        return self._loaded[version]

    @told("load a model made elsewhere")
    def load_uri(self, uri: str, contract: Contract) -> Any:
        """Load any MLflow pyfunc, to be scored like one of ours."""
        mlflow = import_mlflow()
        assert self.tracking.client is not None
        with hushed():
            return ForeignModel(mlflow.pyfunc.load_model(uri), contract, uri)

    def folder(self, version: int) -> Path:
        """Return the local folder of a version's parts: manifest, golden and reference rows, facts.

        Raises RegistryError for a model that was made elsewhere, which has none.
        """
        found = packing.find_folder(self._model(version))
        if found is None:
            raise RegistryError(f"{self.name} version {version} has no model folder; it was made elsewhere.")
        return found

    @told("log a check")
    def log_check(
        self, tick_at: datetime, key: str, metrics: Mapping[str, float], tags: Mapping[str, str], page: Path | None
    ) -> str:
        """Log one check as one run with its page, once a key. Returns the run's id."""
        for run in self.tracking.find_runs("monitoring", key):
            if run.info.status == "FINISHED":
                return run.info.run_id
        found = f": {tags['drift']}" if "drift" in tags else ""
        title = f"{self.tracking.project_name} check {tick_at:%Y-%m-%d %H:%M}{found}"
        run_id = self.tracking.start("monitoring", key, title, tick_at, dict(tags))
        self.tracking.log(run_id, tick_at, dict(metrics), {})
        if page is not None:
            self.tracking.client.log_artifact(run_id, str(page))
        self.tracking.client.set_terminated(run_id)
        return run_id

    @told("anchor the journal")
    def anchor(self, head_hash: str) -> None:
        """Write the head of the journal down beside the model, where the store's writer cannot reach it."""
        self._ensure()
        self.tracking.client.set_registered_model_tag(self.name, _HEAD, head_hash)

    @told("read the journal's anchor")
    def anchored(self) -> str | None:
        """Return the journal's head as it was last anchored."""
        found = self._registered()
        return None if found is None else found.tags.get(_HEAD)

    @told("forget a model")
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

    @told("list versions")
    def list_versions(self) -> list[int]:
        """Return every version there is, oldest first."""
        found = self.tracking.client.search_model_versions(f"name = '{self.name}'")
        return sorted(int(version.version) for version in found)

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

    @told("copy a model")
    def _copy(self, other: Models, version: int) -> int:
        """Copy a version with its run and its artifacts: those of a replay are deleted when it starts over."""
        found = other.tracking.client.get_model_version(other.name, str(version))
        key = found.tags.get(KEY, f"{other.name}/{version}")
        if (made := self.find(key)) is not None:
            return made
        model, run = other._model(version), other.tracking.client.get_run(str(found.run_id))
        marks = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
        at = datetime.fromisoformat(marks["homeostat.at"])
        run_id = self.tracking.start("training", key, str(run.info.run_name), at, marks)
        self.tracking.log(run_id, at, run.data.metrics, run.data.params)
        if run.inputs is not None and run.inputs.dataset_inputs:
            self.tracking.client.log_inputs(run_id, run.inputs.dataset_inputs)
        folder = packing.find_folder(model)
        if folder is None:
            return self._keep(run_id, key, model, {name: v for name, v in found.tags.items() if name != KEY})
        with import_mlflow().start_run(run_id=run_id):
            info = packing.log_folder(folder)
        return self._create(key, info.model_uri, run_id, {}, info.model_id, found.description or "")

    @told("look a version up")
    def describe(self, version: int) -> dict[str, Any]:
        """Tell where a version can be looked at: name, version, key, run_id, uri, and its page in the UI."""
        found = self.tracking.client.get_model_version(self.name, str(version))
        experiment = self.tracking.experiment("training")
        return {
            "name": self.name,
            "version": version,
            "key": found.tags.get(KEY),
            "run_id": found.run_id,
            "uri": f"models:/{self.name}/{version}",
            "page": f"#/experiments/{experiment}/runs/{found.run_id}",
        }

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

    def _registered(self) -> Any | None:
        from mlflow.exceptions import MlflowException

        try:
            return self.tracking.client.get_registered_model(self.name)
        except MlflowException as fault:
            if fault.error_code in _MISSING:
                return None
            raise

    def _ensure(self) -> None:
        if self._registered() is None:
            self.tracking.client.create_registered_model(
                self.name, description=_ABOUT.format(project=self.tracking.project_name)
            )

    @told("fetch a model")
    def _model(self, version: int) -> Path:
        if version not in self._folders:
            uri = self.tracking.client.get_model_version_download_uri(self.name, str(version))
            self._folders[version] = Path(import_mlflow().artifacts.download_artifacts(artifact_uri=uri))
        return self._folders[version]

    @told("load a model made elsewhere")
    def _foreign(self, version: int, model: Path, title: str) -> ForeignModel:
        tags = self.tracking.client.get_model_version(self.name, str(version)).tags
        if _CONTRACT not in tags:
            raise RegistryError(f"{title} was not registered by Homeostat.", "Adopt it, or choose another version.")
        with hushed():
            loaded = import_mlflow().pyfunc.load_model(str(model))
        return ForeignModel(loaded, Contract.parse(tags[_CONTRACT]), title)


def _metrics(
    reference: Mapping[str, float], cost: FitCost, candidates: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    found = {f"reference.{name}": value for name, value in reference.items()}
    found |= {"cost.fits": cost.fits, "cost.row_rounds": cost.row_rounds, "cost.cpu_seconds": cost.cpu_seconds}
    for note in candidates:
        for part in ("valid", "holdout"):
            found |= {f"{note['family']}.{part}.{name}": v for name, v in note[part].items()}
        found[f"{note['family']}.rounds"] = note["rounds"]
    return found


def _dataset(lake_uri: str, table: str, number: int) -> Any:
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    place = f"{lake_uri.rstrip('/')}/{table}" if lake_uri else table
    return MetaDataset(DeltaDatasetSource(path=place, delta_table_version=number), name=table)
