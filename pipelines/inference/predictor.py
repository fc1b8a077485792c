"""The predictor of one model: raw rows in, predictions out."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from .encoding import align_classes, encode, outputs
from .faults import BadRows, BrokenModel, GoldenMismatch
from .manifest import FORMAT, MEMBERS, Manifest, hooks_module, manifest_of, read_manifest
from .raw import canonical, from_pandas
from .serving import model_file, model_values, serving_of

TOLERANCE = 1e-6
EXPECTED = "expected:"


class Predictor:
    """One model. `manifest` says what goes in and comes out, `model` is the fitted estimator or booster.

    The score of a row never depends on the other rows of its batch (unless a features hook makes it so).
    """

    def __init__(self, manifest: Manifest, model: Any, hook: Callable[..., Any] | None = None) -> None:
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
            manifest = read_manifest(folder)
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
        features, members = self.features(rows), self.manifest.get("members", [])
        return {
            member["name"]: self._frame(self._member_values(features, manifest_of(self.manifest, member), model))
            for member, model in zip(members, self.model, strict=True)
        }

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
            scored = self.score(rows)
        except BrokenModel:
            raise
        except Exception as fault:
            raise BrokenModel(f"the golden rows cannot be scored: {type(fault).__name__}: {fault}") from fault
        off = sum(not _same(scored[name], rows[EXPECTED + name]) for name in ("prediction", "score", "scores"))
        if off or not rows.height:
            raise GoldenMismatch(f"{rows.height} golden rows do not give the predictions they gave when it was made")

    def golden(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Write down the predictions of raw rows beside them, as `verify` reads them."""
        scored = self.score(rows).select("prediction", "score", "scores")
        return rows.hstack(scored.rename(lambda name: EXPECTED + name))

    def _raw(self, rows: Any) -> pl.DataFrame:
        frame = rows if isinstance(rows, pl.DataFrame) else from_pandas(rows)
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
            parts.append(canonical(column, kind, self.manifest["timezone"]))
        return pl.DataFrame(parts)

    def _members(self) -> list[tuple[float, Manifest, Any]]:
        """The weight, the manifest and the model of each member; what is no ensemble is its own only one."""
        manifest = self.manifest
        if MEMBERS not in manifest:
            return [(1.0, manifest, self.model)]
        pairs = zip(manifest["members"], self.model, strict=True)
        return [(member.get("weight", 1.0), manifest_of(manifest, member), model) for member, model in pairs]

    def _values(self, features: pl.DataFrame) -> np.ndarray:
        if MEMBERS not in self.manifest:
            return model_values(self.model, self.manifest, encode(features, self.manifest["features"]))
        parts = [weight * self._member_values(features, own, model) for weight, own, model in self._members() if weight]
        return np.sum(parts, axis=0)

    def _member_values(self, features: pl.DataFrame, own: Manifest, model: Any) -> np.ndarray:
        values = model_values(model, own, encode(features, own["features"]))
        return align_classes(values, own["classes"] or [], self.classes or []) if self.task == "multiclass" else values

    def _frame(self, values: np.ndarray) -> pl.DataFrame:
        return outputs(values, self.task, self.classes, self.positive)

    def _contributions(self, features: pl.DataFrame) -> np.ndarray | None:
        """Contributions (rows, features) in the order of the manifest's features; None where there are none to tell."""
        if MEMBERS not in self.manifest:
            return _own_contributions(features, self.manifest, self.model)
        predicted = self._frame(self._values(features))["prediction"].to_list()
        names = [feature["name"] for feature in self.manifest["features"]]
        total: np.ndarray | None = None
        for weight, manifest, model in self._members():
            if not weight:
                continue
            parts = _own_contributions(features, manifest, model, predicted)
            if parts is not None:
                own = [feature["name"] for feature in manifest["features"]]
                parts = weight * parts[:, [own.index(name) for name in names]]
                total = parts if total is None else total + parts
        return total


def _own_contributions(
    features: pl.DataFrame, manifest: Manifest, model: Any, predicted: list[Any] | None = None
) -> np.ndarray | None:
    """Contributions of one model, multiclass to the classes `predicted`, its own without; 0 where unknown."""
    matrix = encode(features, manifest["features"])
    parts = serving_of(manifest["family"]).contributions(model, manifest, matrix)
    if parts is None or parts.ndim == 2:
        return parts
    known = {label: at for at, label in enumerate(manifest["classes"] or ())}
    own = model_values(model, manifest, matrix).argmax(axis=1)
    best = own if predicted is None else np.array([known.get(label, -1) for label in predicted])
    return np.where(best[:, None] >= 0, parts[np.arange(len(matrix)), best], 0.0)


def _load_hook(folder: Path, manifest: Manifest) -> Callable[..., Any] | None:
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


def _load_model(folder: Path, manifest: Manifest) -> Any:
    if MEMBERS not in manifest:
        family = manifest["family"]
        return serving_of(family).load(folder / model_file(family), manifest)
    return [
        serving_of(member["family"]).load(
            folder / MEMBERS / model_file(member["family"], member["name"]), manifest_of(manifest, member)
        )
        for member in manifest["members"]
    ]


def _same(actual: pl.Series, expected: pl.Series) -> bool:
    if not actual.is_null().equals(expected.is_null()):
        return False
    if isinstance(actual.dtype, pl.List):
        actual, expected = actual.explode(), expected.explode()
    if actual.dtype == pl.String or actual.null_count() == len(actual):
        return actual.cast(pl.String).equals(expected.cast(pl.String))
    pair = actual.to_numpy(), expected.to_numpy()
    return len(actual) == len(expected) and bool(np.allclose(*pair, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
