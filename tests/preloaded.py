"""What the process that others are forked from does besides imports: it saves a model, as MLflow's first takes seconds.

MLflow then looks at every file of every package that is installed, once in a process.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from homeostat.registry.tracking import hushed, import_mlflow

mlflow = import_mlflow()


class Echo(mlflow.pyfunc.PythonModel):
    """The least of models."""

    def predict(self, model_input: list[str]) -> list[str]:
        """Return what comes."""
        return model_input


with tempfile.TemporaryDirectory() as place, hushed():
    mlflow.pyfunc.save_model(Path(place) / "model", python_model=Echo(), pip_requirements=["mlflow"])
