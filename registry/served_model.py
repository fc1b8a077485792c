"""What MLflow runs when a registered model is loaded or served; it is copied into each model as code.

It imports nothing of Homeostat. The predictor beside the model is imported under a name made from its digest,
so that versions with different code live in one process.
"""

import hashlib
import importlib.util
import sys
from pathlib import Path

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


def import_predictor(folder):
    """Import the package `predictor` of a model's folder; the same content is imported once.

    Models of earlier releases have one file instead, `predictor.py`.
    """
    package = Path(folder) / "predictor"
    places = [str(package)] if package.is_dir() else None
    file = package / "__init__.py" if places else package.with_suffix(".py")
    name = "homeostat_predictor_" + _digest(sorted(package.glob("*.py")) or [file])
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            for part in [part for part in sys.modules if f"{part}.".startswith(f"{name}.")]:
                del sys.modules[part]
            raise
    return sys.modules[name]


def _digest(files):
    content = hashlib.sha256()
    for file in files:
        content.update(f"{file.name}\n".encode() + file.read_bytes())
    return content.hexdigest()[:16]


class ServedModel(PythonModel):
    """Raw rows in (a pandas frame), predictions out: `prediction`, then `score` or one `score_<class>` each."""

    def load_context(self, context):
        """Load the predictor; its golden rows must reproduce their predictions."""
        folder = context.artifacts["model"]
        self.predictor = import_predictor(folder).Predictor.load(folder)

    def predict(self, context, model_input: pd.DataFrame, params=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Score raw rows; returns a pandas frame with one row for each."""
        scored = self.predictor.score(model_input)
        frame = pd.DataFrame({"prediction": scored["prediction"].to_list()})
        if self.predictor.task == "binary":
            frame["score"] = scored["score"].to_numpy()
        elif self.predictor.task == "multiclass":
            chances = scored["scores"].to_list()
            for at, label in enumerate(self.predictor.classes):
                frame[f"score_{label}"] = [row[at] for row in chances]
        return frame


set_model(ServedModel())
