"""Looking up and loading what is registered: versions by key or alias, loaded only when they keep their word."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeostat.errors import RegistryError
from homeostat.registry import packing
from homeostat.registry.foreign import Contract, ForeignModel
from homeostat.registry.tracking import KEY, Tracking, hushed, import_mlflow, mlflow_faults

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

MOST_LOADED = 8
CONTRACT = "homeostat.contract"
HEAD = "homeostat.journal_head"
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """Where a version can be looked at in MLflow: its run, its address, and its page in the web page of MLflow."""

    name: str
    version: int
    key: str | None
    run_id: str
    uri: str
    page: str


class ModelLookup:
    """One registered model, read only. MLflow is opened at the first call.

    Every method raises RegistryError, in one line, where MLflow cannot be reached or refuses.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path, model_name: str, project_name: str) -> None:
        self.name = model_name
        self.tracking = Tracking(tracking_uri, artifact_root, model_name, project_name)
        self._loaded: OrderedDict[int, Any] = OrderedDict()
        self._folders: dict[int, Path] = {}

    @mlflow_faults("look for a model")
    def find(self, key: str) -> int | None:
        """Find the version that was registered under this key."""
        wanted = f"name = '{self.name}' and tag.`{KEY}` = '{key}'"
        versions = [int(version.version) for version in self.tracking.client.search_model_versions(wanted)]
        return min(versions) if versions else None

    @mlflow_faults("read an alias")
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

    @mlflow_faults("list versions")
    def list_versions(self) -> list[int]:
        """Return every version there is, oldest first."""
        versions = self.tracking.client.search_model_versions(f"name = '{self.name}'")
        return sorted(int(version.version) for version in versions)

    @mlflow_faults("look a version up")
    def describe(self, version: int) -> RegisteredVersion:
        """Where a version can be looked at."""
        record = self.tracking.client.get_model_version(self.name, str(version))
        experiment = self.tracking.experiment("training")
        return RegisteredVersion(
            name=self.name,
            version=version,
            key=record.tags.get(KEY),
            run_id=str(record.run_id),
            uri=f"models:/{self.name}/{version}",
            page=f"#/experiments/{experiment}/runs/{record.run_id}",
        )

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

    @mlflow_faults("load a model made elsewhere")
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
        place = packing.find_folder(self._model(version))
        if place is None:
            raise RegistryError(f"{self.name} version {version} has no model folder; it was made elsewhere.")
        return place

    @mlflow_faults("read the journal's anchor")
    def anchored(self) -> str | None:
        """Return the journal's head as it was last anchored."""
        record = self._registered()
        return None if record is None else record.tags.get(HEAD)

    def _registered(self) -> RegisteredModel | None:
        from mlflow.exceptions import MlflowException

        try:
            return self.tracking.client.get_registered_model(self.name)
        except MlflowException as fault:
            if fault.error_code in _MISSING:
                return None
            raise

    @mlflow_faults("fetch a model")
    def _model(self, version: int) -> Path:
        if version not in self._folders:
            uri = self.tracking.client.get_model_version_download_uri(self.name, str(version))
            self._folders[version] = Path(import_mlflow().artifacts.download_artifacts(artifact_uri=uri))
        return self._folders[version]

    @mlflow_faults("load a model made elsewhere")
    def _foreign(self, version: int, model: Path, title: str) -> ForeignModel:
        tags = self.tracking.client.get_model_version(self.name, str(version)).tags
        if CONTRACT not in tags:
            raise RegistryError(f"{title} was not registered by Homeostat.", "Adopt it, or choose another version.")
        with hushed():
            loaded = import_mlflow().pyfunc.load_model(str(model))
        return ForeignModel(loaded, Contract.parse(tags[CONTRACT]), title)
