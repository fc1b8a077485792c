"""Models made elsewhere: any MLflow pyfunc, scored and answered in the frame that our own predictors give."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from homeostat.errors import RegistryError


@dataclass(frozen=True, slots=True)
class Contract:
    """What a foreign model is for: the task, its classes in canonical order, the raw feature columns.

    `classes` may be empty: then a binary model is taken to have the classes "0" and "1", and a multiclass one
    must give labels, or name its classes in its output.
    """

    task: str
    columns: tuple[str, ...]
    classes: tuple[str, ...] = ()
    positive: str | None = None

    def dump(self) -> str:
        """Write it as JSON, for a tag."""
        return json.dumps(asdict(self))

    @staticmethod
    def parse(text: str) -> Contract:
        """Read what `dump` wrote."""
        raw = json.loads(text)
        return Contract(raw["task"], tuple(raw["columns"]), tuple(raw["classes"]), raw["positive"])


class ForeignModel:
    """A pyfunc behind the interface of our predictors: `score`, `explain`, `task`, `classes`, `positive`."""

    def __init__(self, model: Any, contract: Contract, title: str) -> None:
        self.model, self.contract, self.title = model, contract, title
        self.task = contract.task
        binary = contract.task == "binary"
        known = list(contract.classes) or (["0", "1"] if binary else [])
        self.classes: list[str] | None = known or None
        self.positive = (contract.positive or known[-1]) if binary else None

    def score(self, rows: Any) -> pl.DataFrame:
        """Score raw rows: prediction, score, classes, scores, as `Predictor.score` does.

        The model may answer with a frame that has `prediction` (and `score` or `score_<class>`), with labels or
        values (rows,), with P(positive) (rows,), or with class chances (rows, classes). Raises RegistryError
        where it fails or answers with something else.
        """
        frame = rows if isinstance(rows, pl.DataFrame) else pl.from_pandas(rows)
        try:
            output = self.model.predict(self._inputs(frame))
            return self._answer(output, frame.height)
        except Exception as fault:
            line = (str(fault).strip().splitlines() or ["no reason given"])[0]
            raise RegistryError(
                f"{self.title} cannot score these rows: {type(fault).__name__}: {line}.",
                "It is given the columns of its signature, or else the numeric and categorical ones.",
            ) from fault

    def explain(self, rows: Any, top: int = 5) -> pl.Series:
        """Empty lists: what moves a foreign model's scores is not known."""
        return pl.Series("reasons", ["[]"] * len(rows), dtype=pl.String)

    def _inputs(self, frame: pl.DataFrame) -> Any:
        schema = self.model.metadata.get_input_schema()
        if schema is None:
            return frame.select(self.contract.columns).to_pandas()
        if schema.is_tensor_spec():
            dtype = schema.inputs[0].type
            return frame.select(self.contract.columns).to_numpy().astype(dtype)
        wanted = [spec for spec in schema.inputs if spec.name in frame.columns]
        table = frame.select(spec.name for spec in wanted).to_pandas()
        for spec in wanted:
            numpy_type = getattr(spec.type, "to_numpy", lambda: None)()
            numeric = numpy_type is not None and np.dtype(numpy_type).kind in "iufb"
            if numeric and frame[spec.name].null_count() == 0:
                table[spec.name] = table[spec.name].astype(numpy_type)
        return table

    def _answer(self, output: Any, height: int) -> pl.DataFrame:
        import pandas as pd

        if isinstance(output, pd.DataFrame):
            output = output.rename(columns=str)
            if "prediction" in output.columns:
                return self._named(output)
            if self.classes and set(output.columns) == set(self.classes):
                output = output[self.classes]
        values = np.asarray(output)
        values = values.reshape(height) if values.size == height else values
        if values.ndim == 1 and len(values) == height:
            return self._flat(values)
        if values.shape != (height, len(self.classes or ())):
            raise ValueError(f"it answered with the shape {values.shape} for {height} rows of {self.task}")
        return self._chances(values.astype(np.float64))

    def _named(self, output: Any) -> pl.DataFrame:
        prediction = output["prediction"].to_numpy()
        if self.task == "regression":
            return _frame(pl.Series(prediction.astype(np.float64)))
        labels = pl.Series([_label(value) for value in prediction], dtype=pl.String)
        if self.task == "binary":
            score = output["score"].to_numpy().astype(np.float64) if "score" in output.columns else None
            return _frame(labels, score=score)
        named = [name for name in output.columns if name.startswith("score_")]
        if not named:
            return _frame(labels)
        return _frame(labels, chances=output[named].to_numpy(dtype=np.float64), classes=[n[6:] for n in named])

    def _flat(self, values: np.ndarray) -> pl.DataFrame:
        if self.task == "regression":
            return _frame(pl.Series(values.astype(np.float64)))
        if self.task == "binary" and values.dtype.kind == "f":
            return self._binary(values.astype(np.float64))
        return _frame(pl.Series([_label(value) for value in values], dtype=pl.String))

    def _chances(self, values: np.ndarray) -> pl.DataFrame:
        assert self.classes is not None
        if self.task == "binary":
            return self._binary(values[:, self.classes.index(self.positive or "")])
        best = pl.Series([self.classes[at] for at in values.argmax(axis=1)], dtype=pl.String)
        return _frame(best, chances=values, classes=self.classes)

    def _binary(self, score: np.ndarray) -> pl.DataFrame:
        assert self.classes is not None
        negative = next(label for label in self.classes if label != self.positive)
        labels = np.where(score >= 0.5, self.positive or "", negative).tolist()
        return _frame(pl.Series(labels, dtype=pl.String), score=score)


def _frame(
    prediction: pl.Series,
    score: np.ndarray | None = None,
    chances: np.ndarray | None = None,
    classes: list[str] | None = None,
) -> pl.DataFrame:
    height = len(prediction)
    none = [None] * height
    return pl.DataFrame(
        {
            "prediction": prediction,
            "score": pl.Series(none if score is None else score, dtype=pl.Float64),
            "classes": pl.Series(none if classes is None else [classes] * height, dtype=pl.List(pl.String)),
            "scores": pl.Series(none if chances is None else chances.tolist(), dtype=pl.List(pl.Float64)),
        }
    )


def _label(value: Any) -> str | None:
    if value is None or value != value:
        return None
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
