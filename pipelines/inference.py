"""The predictor: raw rows in, predictions out, from one folder that holds everything it needs.

This file is copied into each registered model and imported there under a name made from its digest. It
imports nothing of Homeostat, so that a model keeps predicting whatever becomes of the code around it.
Folder: manifest.json, model.ubj (XGBoost) or model.skops, golden.parquet, reference.parquet, facts.json, and
hooks.py where a hook makes the features or the estimator. There is no pickle in it. An ensemble has a folder of
models, members/NAME.ubj or .skops, whose chances (or values) are averaged by the weights of its manifest.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

# OpenMP's waiting threads spin by default: on a busy machine a fit of 0.6 s was seen to take 15 s. It is read
# when XGBoost is first imported, which is why it is set here.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

FORMAT = 1
TOLERANCE = 1e-6
EXPECTED = "expected:"
ENSEMBLE, MEMBERS = "ensemble", "members"
SKLEARN_TYPES = frozenset(
    {
        "numpy.dtype",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.linear_model._ridge.Ridge",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
    }
)
_TEXTS, _NUMBERS = pl.List(pl.String), pl.List(pl.Float64)
HOOK_PREFIXES = ("builtins.", "numpy.", "scipy.", "sklearn.", "xgboost.")


class BrokenModel(RuntimeError):
    """A model's folder lacks a part, or a part is not what the manifest says."""


class GoldenMismatch(BrokenModel):
    """A model does not reproduce the predictions that were written down when it was made."""


class BadRows(ValueError):
    """The rows to score lack something that this model cannot do without."""


class Predictor:
    """One model. `manifest` says what goes in and comes out, `model` is the fitted estimator or booster.

    The score of a row never depends on the other rows of its batch (unless a features hook makes it so).
    """

    def __init__(self, manifest: dict[str, Any], model: Any, hook: Callable[..., Any] | None = None) -> None:
        self.manifest, self.model, self.hook = manifest, model, hook
        self.task: str = manifest["task"]
        self.classes: list[str] | None = manifest["classes"]
        self.positive: str | None = manifest["positive"]

    @classmethod
    def load(cls, folder: Path | str, verify: bool = True) -> Predictor:
        """Load the predictor of a model's folder, and check that it reproduces its golden rows.

        Raises BrokenModel where a part is missing or unreadable, GoldenMismatch where predictions differ by
        more than `TOLERANCE`, absolute or relative.
        """
        folder = Path(folder)
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT:
                raise BrokenModel(f"manifest.json has format {manifest['format']!r}; expected {FORMAT}")
            hook = _load_hook(folder, manifest)
            made = cls(manifest, _load_model(folder, manifest), hook)
        except BrokenModel:
            raise
        except Exception as fault:
            raise BrokenModel(f"a part cannot be read: {type(fault).__name__}: {fault}") from fault
        if verify:
            made.verify(folder / "golden.parquet")
        return made

    def score(self, rows: Any) -> pl.DataFrame:
        """Score raw rows (polars or pandas): `prediction`, `score`, `classes`, `scores`, one row for each.

        prediction: String class, or Float64 for regression. score: Float64, P(positive), binary only. classes,
        scores: lists in class order, multiclass only. What does not apply is null. Extra columns are ignored,
        a missing raw column counts as null. Raises BadRows where a hook needs the event time and it is absent.
        """
        return self._frame(self._values(self.features(rows)))

    def score_members(self, rows: Any) -> dict[str, pl.DataFrame]:
        """Score raw rows with every member of an ensemble alone: frames as of `score`, by the member's name."""
        features, found = self.features(rows), {}
        for member, model in zip(self.manifest.get("members", ()), self.model, strict=True):
            values = self._member_values(features, member, model)
            found[member["name"]] = self._frame(values)
        return found

    def features(self, rows: Any) -> pl.DataFrame:
        """Make the features of raw rows: one row for each, columns as the model knows them."""
        raw = self._raw(rows)
        made = raw if self.hook is None else self.hook(raw)
        made = made if isinstance(made, pl.DataFrame) else pl.from_pandas(made.reset_index(drop=True))
        if made.height != raw.height:
            raise BrokenModel(f"build_features returned {made.height} rows for {raw.height}")
        names = [feature["name"] for feature in self.manifest["features"]]
        if absent := [name for name in names if name not in made.columns]:
            raise BrokenModel(f"build_features did not return the feature {absent[0]!r}")
        return made.select(names)

    def explain(self, rows: Any, top: int = 5) -> pl.Series:
        """Say what moved each score most: JSON lists of [feature, contribution], largest first.

        Contributions are on the scale of the margin (log odds, or the target's unit) and, for multiclass, of the
        predicted class: for XGBoost the approximate path contributions (`approx_contribs`), for the linear
        model coefficient times standardised value. Other estimators give empty lists.
        """
        features = self.features(rows)
        parts = self._contributions(features) if features.height else None
        if parts is None:
            return pl.Series("reasons", ["[]"] * features.height, dtype=pl.String)
        names = [feature["name"] for feature in self.manifest["features"]]
        order = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :top]
        chosen = np.round(np.take_along_axis(parts, order, axis=1).astype(np.float64), 6)
        lines = [
            json.dumps([[names[i], v] for i, v in zip(at, values, strict=True) if v != 0])
            for at, values in zip(order.tolist(), chosen.tolist(), strict=True)
        ]
        return pl.Series("reasons", lines, dtype=pl.String)

    def verify(self, golden: Path) -> None:
        """Score the golden rows again; raises GoldenMismatch where a prediction is not what it was."""
        try:
            rows = pl.read_parquet(golden)
            found = self.score(rows)
        except BrokenModel:
            raise
        except Exception as fault:
            raise BrokenModel(f"the golden rows cannot be scored: {type(fault).__name__}: {fault}") from fault
        off = sum(not _same(found[name], rows[EXPECTED + name]) for name in ("prediction", "score", "scores"))
        if off or not rows.height:
            raise GoldenMismatch(f"{rows.height} golden rows do not give the predictions they gave when it was made")

    def golden(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Write down the predictions of raw rows beside them, as `verify` reads them."""
        found = self.score(rows).select("prediction", "score", "scores")
        return rows.hstack(found.rename(lambda name: EXPECTED + name))

    def _raw(self, rows: Any) -> pl.DataFrame:
        frame = rows if isinstance(rows, pl.DataFrame) else _from_pandas(rows)
        key, event = self.manifest["key"], self.manifest["event_time"]
        if event not in frame.columns and "event_at" in frame.columns:
            frame = frame.rename({"event_at": event})
        if self.hook is not None and event not in frame.columns:
            raise BadRows(f"the column {event!r} is missing; this model's features are made from it")
        parts = [frame[key] if key in frame.columns else pl.Series(key, [None] * frame.height)]
        specs = [{"name": event, "kind": "datetime"}, *self.manifest["raw"]]
        for name, kind in ((spec["name"], spec["kind"]) for spec in specs):
            if name in (part.name for part in parts):
                continue
            known = name in frame.columns
            column = frame[name] if known else pl.Series(name, [None] * frame.height, dtype=pl.Null)
            parts.append(_canonical(column, kind, self.manifest["timezone"]))
        return pl.DataFrame(parts)

    def _values(self, features: pl.DataFrame) -> np.ndarray:
        if MEMBERS not in self.manifest:
            return model_values(self.model, self.manifest, encode(features, self.manifest["features"]))
        found = [
            member["weight"] * self._member_values(features, member, model)
            for member, model in zip(self.manifest["members"], self.model, strict=True)
        ]
        return np.sum(found, axis=0)

    def _member_values(self, features: pl.DataFrame, member: dict[str, Any], model: Any) -> np.ndarray:
        told = {**self.manifest, **member}
        values = model_values(model, told, encode(features, told["features"]))
        return align_classes(values, told["classes"], self.classes or []) if self.task == "multiclass" else values

    def _frame(self, values: np.ndarray) -> pl.DataFrame:
        return outputs(values, self.task, self.classes, self.positive)

    def _contributions(self, features: pl.DataFrame) -> np.ndarray | None:
        """Contributions (rows, features) in the order of the manifest's features; None where there are none to tell."""
        if MEMBERS not in self.manifest:
            return self._own_contributions(features, self.manifest, self.model)
        said = self._frame(self._values(features))["prediction"].to_list()
        names = [feature["name"] for feature in self.manifest["features"]]
        total: np.ndarray | None = None
        for member, model in zip(self.manifest["members"], self.model, strict=True):
            told = {**self.manifest, **member}
            parts = self._own_contributions(features, told, model, said)
            if parts is not None:
                own = [feature["name"] for feature in told["features"]]
                parts = member["weight"] * parts[:, [own.index(name) for name in names]]
                total = parts if total is None else total + parts
        return total

    def _own_contributions(
        self, features: pl.DataFrame, told: dict[str, Any], model: Any, said: list[Any] | None = None
    ) -> np.ndarray | None:
        """Contributions of one model, multiclass to the classes `said`, its own prediction without; 0 where unknown."""
        matrix = encode(features, told["features"])
        if told["family"] == "xgboost":
            parts = _booster_parts(model, matrix, told)
        elif told["family"] == "linear":
            parts = _linear_parts(model, matrix, len(told["classes"] or ()))
        else:
            return None
        if parts.ndim == 3:
            known = {label: at for at, label in enumerate(told["classes"])}
            own = model_values(model, told, matrix).argmax(axis=1)
            best = own if said is None else np.array([known.get(label, -1) for label in said])
            parts = np.where(best[:, None] >= 0, parts[np.arange(len(matrix)), best], 0.0)
        return parts


def encode(features: pl.DataFrame, specs: list[dict[str, Any]]) -> np.ndarray:
    """Encode features as float32, (rows, features): numbers, or positions in the frozen vocabulary.

    Null, infinite and never-seen values are NaN, which every family reads as missing.
    """
    matrix = np.empty((features.height, len(specs)), dtype=np.float32)
    for at, spec in enumerate(specs):
        column = features[spec["name"]]
        if spec["kind"] == "categorical":
            known = pl.Enum(spec["vocabulary"])
            codes = column.cast(pl.String).cast(known, strict=False).to_physical()
            matrix[:, at] = codes.cast(pl.Float32).to_numpy()
        else:
            with np.errstate(over="ignore"):
                matrix[:, at] = column.cast(pl.Float64, strict=False).to_numpy().astype(np.float32)
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


def model_values(model: Any, manifest: dict[str, Any], matrix: np.ndarray) -> np.ndarray:
    """Compute what a fitted model says: P(positive) (rows,), class chances (rows, classes), or values (rows,).

    A class that the model has never seen has chance 0.
    """
    classes = manifest["classes"] or []
    multiclass = manifest["task"] == "multiclass"
    if not len(matrix):
        return np.empty((0, len(classes)) if multiclass else (0,))
    if manifest["family"] == "xgboost":
        found = model.inplace_predict(matrix, missing=np.nan, iteration_range=(0, manifest["rounds"]))
        return np.asarray(found, dtype=np.float64)
    table = estimator_table(matrix, manifest) if manifest["family"] == "hook" else matrix
    if manifest["task"] == "regression":
        return np.asarray(model.predict(table), dtype=np.float64).reshape(len(matrix))
    chances = np.zeros((len(matrix), len(classes)))
    chances[:, np.asarray(model.classes_, dtype=int)] = model.predict_proba(table)
    return chances if multiclass else chances[:, 1]


def align_classes(values: np.ndarray, own: list[str], classes: list[str]) -> np.ndarray:
    """Lay class chances (rows, own) out in the columns of `classes`; a class that is not among `own` has chance 0."""
    if own == classes:
        return values
    chances = np.zeros((len(values), len(classes)))
    chances[:, [classes.index(label) for label in own]] = values
    return chances


def estimator_table(matrix: np.ndarray, manifest: dict[str, Any]) -> Any:
    """Lay the encoded features out as the pandas frame that a hook's estimator is given: float64, by name."""
    import pandas as pd

    names = pd.Index([spec["name"] for spec in manifest["features"]])
    return pd.DataFrame(matrix.astype(np.float64), columns=names)


def outputs(values: np.ndarray, task: str, classes: list[str] | None, positive: str | None) -> pl.DataFrame:
    """Turn what a model says into the frame that `Predictor.score` returns."""
    height = len(values)
    score, lists, labels = pl.Series([None] * height, dtype=pl.Float64), None, None
    if task == "regression":
        prediction = pl.Series(values, dtype=pl.Float64)
    elif task == "binary":
        assert classes is not None and positive is not None
        negative = next(label for label in classes if label != positive)
        prediction = pl.Series(np.where(values >= 0.5, positive, negative).tolist(), dtype=pl.String)
        score = pl.Series(values, dtype=pl.Float64)
    else:
        assert classes is not None
        best = values.argmax(axis=1) if height else np.empty(0, dtype=int)
        prediction = pl.Series([classes[i] for i in best], dtype=pl.String)
        labels = pl.Series([classes], dtype=_TEXTS).new_from_index(0, height)
        lists = pl.Series(values.ravel(), dtype=pl.Float64).reshape((height, len(classes))).cast(_NUMBERS)
    empty = pl.Series([None], dtype=pl.Null).new_from_index(0, height)
    return pl.DataFrame(
        {
            "prediction": prediction,
            "score": score,
            "classes": empty.cast(_TEXTS) if labels is None else labels,
            "scores": empty.cast(_NUMBERS) if lists is None else lists,
        }
    )


def hooks_module(digest: str) -> str:
    """Name the module that a hook file of this digest is imported as."""
    return f"homeostat_hooks_{digest}"


def _load_hook(folder: Path, manifest: dict[str, Any]) -> Callable[..., Any] | None:
    digest = manifest["hooks"]
    if digest is None:
        return None
    file = folder / "hooks.py"
    source = file.read_text(encoding="utf-8")
    if hashlib.sha256(source.encode()).hexdigest()[:16] != digest:
        raise BrokenModel("hooks.py is not the one this model was made with")
    name = hooks_module(digest)
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return getattr(sys.modules[name], "build_features", None)


def _load_model(folder: Path, manifest: dict[str, Any]) -> Any:
    if MEMBERS in manifest:
        return [
            _load_estimator(folder / MEMBERS / member_file(member), {**_shared(manifest), **member})
            for member in manifest["members"]
        ]
    return _load_estimator(folder / model_file(manifest), manifest)


def model_file(manifest: dict[str, Any]) -> str:
    """Name the file of a model that is not an ensemble."""
    return "model.ubj" if manifest["family"] == "xgboost" else "model.skops"


def member_file(member: dict[str, Any]) -> str:
    """Name the file of an ensemble's member."""
    return member["name"] + (".ubj" if member["family"] == "xgboost" else ".skops")


def _shared(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What an ensemble's manifest says of each of its members."""
    return {name: value for name, value in manifest.items() if name != MEMBERS}


def _load_estimator(file: Path, manifest: dict[str, Any]) -> Any:
    if manifest["family"] == "xgboost":
        import xgboost

        booster = xgboost.Booster(model_file=file)
        booster.set_param({"nthread": manifest["threads"]})
        return booster
    import skops.io

    found = sorted(set(skops.io.get_untrusted_types(file=file)))
    own = f"{hooks_module(manifest['hooks'])}." if manifest["hooks"] else None
    for name in found:
        hooked = manifest["family"] == "hook" and name.startswith((*HOOK_PREFIXES, *((own,) if own else ())))
        if name not in SKLEARN_TYPES and not hooked:
            raise BrokenModel(f"{file.name} holds the type {name}, which is not trusted")
    return skops.io.load(file, trusted=found)


def _from_pandas(rows: Any) -> pl.DataFrame:
    import pandas as pd

    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    columns = []
    for name in frame.columns:
        try:
            columns.append(pl.Series(str(name), pl.from_pandas(pd.Series(frame[name].array))))
        except Exception:
            values = [None if value is None or value != value else value for value in frame[name].tolist()]
            columns.append(pl.Series(str(name), [_as_text(value) for value in values], dtype=pl.String))
    return pl.DataFrame(columns)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _canonical(column: pl.Series, kind: str, zone: str | None) -> pl.Series:
    """Bring a raw column to the type it had in training; what cannot be read is null."""
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if kind == "number":
        return column.cast(pl.Float64, strict=False).fill_nan(None)
    if kind == "datetime":
        return _instants(column, zone)
    if kind == "boolean":
        if column.dtype == pl.String:
            return column.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
        return column.cast(pl.Boolean, strict=False)
    if column.dtype.is_float():
        return column.to_frame().select(_float_text(pl.col(column.name))).to_series()
    return column.cast(pl.String, strict=False)


def _float_text(value: pl.Expr) -> pl.Expr:
    value = value.fill_nan(None)
    whole = value.cast(pl.Int64, strict=False)
    return pl.when(whole.cast(pl.Float64) == value).then(whole.cast(pl.String)).otherwise(value.cast(pl.String))


def _instants(column: pl.Series, zone: str | None) -> pl.Series:
    if column.dtype == pl.String:
        instant = r"(?i)(z|[+-]\d\d:?\d\d)$"
        zoned = column.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        if column.str.contains(instant).all():
            return zoned
        naive = column.str.to_datetime(time_unit="us", strict=False) if column.count() else column
        return _instants(naive.cast(pl.Datetime("us"), strict=False), zone)
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone:
        return column.dt.cast_time_unit("us").dt.convert_time_zone("UTC")
    naive = column.cast(pl.Datetime("us"), strict=False)
    placed = naive.dt.replace_time_zone(zone or "UTC", ambiguous="earliest", non_existent="null")
    return placed.dt.convert_time_zone("UTC")


def _same(found: pl.Series, expected: pl.Series) -> bool:
    if not found.is_null().equals(expected.is_null()):
        return False
    if isinstance(found.dtype, pl.List):
        found, expected = found.explode(), expected.explode()
    if found.dtype == pl.String or found.null_count() == len(found):
        return found.cast(pl.String).equals(expected.cast(pl.String))
    pair = found.to_numpy(), expected.to_numpy()
    return len(found) == len(expected) and bool(np.allclose(*pair, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))


def _booster_parts(model: Any, matrix: np.ndarray, manifest: dict[str, Any]) -> np.ndarray:
    import xgboost

    kinds = ["c" if spec["kind"] == "categorical" else "q" for spec in manifest["features"]]
    table = xgboost.DMatrix(
        matrix, feature_types=kinds, enable_categorical=True, missing=np.nan, nthread=manifest["threads"]
    )
    upto = (0, manifest["rounds"])
    return model.predict(table, pred_contribs=True, approx_contribs=True, iteration_range=upto)[..., :-1]


def _linear_parts(model: Any, matrix: np.ndarray, classes: int) -> np.ndarray:
    columns, estimator = model[:-1], model[-1]
    names = columns.get_feature_names_out()
    sources = [int(re.search(r"__x(\d+)(?:_|$)", name)[1]) for name in names]  # type: ignore[index]
    gather = np.zeros((len(sources), matrix.shape[1]))
    gather[np.arange(len(sources)), sources] = 1
    table, coefficients = columns.transform(matrix), np.atleast_2d(estimator.coef_)
    if classes <= 2:
        return np.asarray(table @ (gather * coefficients[0][:, None]))
    if len(coefficients) == 1:
        coefficients = np.stack([-coefficients[0], coefficients[0]])
    parts = np.zeros((len(matrix), classes, matrix.shape[1]))
    for label, row in zip(estimator.classes_, coefficients, strict=True):
        parts[:, int(label)] = table @ (gather * row[:, None])
    return parts
