"""Every estimator family keeps one contract, and another package adds its own by registering one class."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from added_packages import installed_package
from test_training import frame_of, half_wrong, project_of

from homeostat.errors import ProjectError
from homeostat.hooks import Hooks, load_hooks
from homeostat.pipelines import inference
from homeostat.pipelines.inference import GoldenMismatch, Predictor
from homeostat.pipelines.models.candidates import Fit, fit_candidate, row_weights
from homeostat.pipelines.models.ensemble import open_members, refresh_ensemble
from homeostat.pipelines.models.families import FAMILIES, EstimatorFamily, FitRequest, Table, check_candidates
from homeostat.pipelines.models.features import build_features
from homeostat.pipelines.models.manifest import describe_model, encode_target, find_classes
from homeostat.pipelines.models.training import Trained, train_model
from homeostat.registry.served_model import import_predictor

TASKS = ("binary", "multiclass", "regression")
FAMILY_NAMES = (*FAMILIES.names(), "tree")
HOOK = """
def build_model(task, seed):
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
    kind = DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier
    return kind(max_depth=4, random_state=seed)
"""


PACKAGE = """
from homeostat.pipelines.models.families import FAMILIES, EstimatorFamily

@FAMILIES.register("bayes")
class Bayes(EstimatorFamily):
    def build(self, request):
        from sklearn.pipeline import make_pipeline
        from sklearn.impute import SimpleImputer
        from sklearn.naive_bayes import GaussianNB
        return make_pipeline(SimpleImputer(), GaussianNB())
"""


class Tree(EstimatorFamily):
    """A decision tree, as another package would add it."""

    def build(self, request: FitRequest) -> Any:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        kind = DecisionTreeRegressor if request.manifest["task"] == "regression" else DecisionTreeClassifier
        return kind(max_depth=4, random_state=request.project.training.seed)


@pytest.fixture(autouse=True)
def tree() -> Iterator[None]:
    """The family from outside, while a test runs."""
    FAMILIES.add("tree", Tree)
    yield
    FAMILIES.remove("tree")


def hooks_in(folder: Path) -> Hooks:
    (folder / "hooks.py").write_text(HOOK)
    return load_hooks(folder)


def trained(folder: Path, family: str, task: str) -> Trained:
    project = project_of(task, folder, candidates=[family], rounds=8, threads=1)
    return train_model(frame_of(300, task), project, hooks_in(folder) if family == "hook" else Hooks())


def fitted(folder: Path, family: str, frame: pl.DataFrame) -> tuple[Fit, np.ndarray]:
    """A fit on a frame of a binary target, and what it says of the same rows."""
    project = project_of("binary", folder, candidates=[family], threads=1)
    hooks, features = hooks_in(folder), build_features(frame, project, Hooks())
    manifest = describe_model(frame, features, project, hooks, find_classes(frame, project))
    matrix = inference.encode(features, manifest["features"])
    table = Table(matrix, encode_target(frame["label"], manifest), row_weights(frame))
    fit = fit_candidate(family, table, manifest, project, hooks, rounds=8)
    return fit, inference.model_values(fit.model, fit.describe(manifest), matrix)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_model_of_any_family_is_saved_without_pickle_and_scores_the_same_by_its_own_code(
    tmp_path: Path, family: str, task: str
) -> None:
    made, frame = trained(tmp_path, family, task), frame_of(300, task)
    folder = made.save(tmp_path / "model")
    assert {file.suffix for file in folder.rglob("*.*")} <= {".json", ".ubj", ".skops", ".parquet", ".py"}
    packed = import_predictor(folder)
    assert packed.__name__.startswith("homeostat_predictor_") and packed.Predictor is not Predictor
    loaded, scored = packed.Predictor.load(folder), made.predictor.score(frame)
    assert loaded.score(frame).equals(scored)
    assert loaded.classes == ({"binary": ["0", "1"], "multiclass": ["0", "1", "2"]}.get(task))
    if task == "multiclass":
        assert np.array(scored["scores"].to_list()).sum(axis=1) == pytest.approx(1)
    assert scored["prediction"].n_unique() > 1
    assert len(loaded.explain(frame.head(3))) == 3


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_golden_rows_of_any_family_tell_a_model_that_says_something_else(tmp_path: Path, family: str) -> None:
    folder = trained(tmp_path, family, "binary").save(tmp_path / "model")
    golden = pl.read_parquet(folder / "golden.parquet")
    golden.with_columns(pl.col("expected:score") + 1e-4).write_parquet(folder / "golden.parquet")
    with pytest.raises(GoldenMismatch):
        Predictor.load(folder)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_same_rows_give_the_same_fit_bit_for_bit_and_a_cost(tmp_path: Path, family: str) -> None:
    frame = frame_of(300)
    (one, first), (other, second) = (fitted(tmp_path, family, frame) for _ in range(2))
    assert first.tobytes() == second.tobytes() and first.shape == (300,) and 0 <= first.min() < first.max() <= 1
    assert one.cost.fits == 1 and one.cost.row_rounds == other.cost.row_rounds == 300 * one.boosted > 0


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_rows_of_next_to_no_weight_teach_next_to_nothing(tmp_path: Path, family: str) -> None:
    frame = half_wrong()
    _, said = fitted(tmp_path, family, frame)
    _, alike = fitted(tmp_path, family, frame.drop("_weight"))
    truth = (frame_of(1200)["label"] == "1").to_numpy()
    assert np.abs(said - truth).mean() < np.abs(alike - truth).mean() - 0.03


def test_a_family_from_outside_is_trained_packed_and_made_the_first_member_of_an_ensemble(tmp_path: Path) -> None:
    made = trained(tmp_path, "tree", "binary")
    assert made.family == "tree" and made.reference["auc"] > 0.7
    folder = made.save(tmp_path / "first")
    manifest, members = open_members(folder)
    assert manifest["family"] == "tree" and list(members) == ["first"]
    project, rows = project_of("binary", candidates=["tree"]), frame_of(300)
    refresh_ensemble(folder, (), {"first": 1.0}, lambda _: rows, project, Hooks()).save(tmp_path / "second")
    assert (tmp_path / "second" / "members" / "first.skops").exists()
    assert Predictor.load(tmp_path / "second").score(rows).equals(made.predictor.score(rows))


def test_a_family_of_an_installed_package_is_a_candidate_beside_ours(tmp_path: Path) -> None:
    with installed_package(tmp_path / "site", PACKAGE):
        project = project_of("binary", tmp_path, candidates=["bayes", "linear"])
        check_candidates(project)
        try:
            made = train_model(frame_of(300), project, Hooks())
        finally:
            FAMILIES.remove("bayes")
    assert [result.family for result in made.candidates] == ["bayes", "linear"]
    assert all(result.holdout["auc"] > 0.6 for result in made.candidates)


def test_a_family_that_nobody_registered_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    check_candidates(project_of("binary", candidates=["tree", "linear"]))
    with pytest.raises(ProjectError) as caught:
        check_candidates(project_of("binary", tmp_path, candidates=["linear", "xgbost"]))
    assert "training.candidates, entry 2: expected one of 'xgboost', 'hook', 'linear', 'tree'" in str(caught.value)
    assert "Did you mean 'xgboost'?" in str(caught.value)


def test_a_model_of_an_earlier_release_with_one_file_of_code_is_imported(tmp_path: Path) -> None:
    folder = trained(tmp_path, "linear", "binary").save(tmp_path / "model")
    for module in (folder / "predictor").iterdir():
        module.unlink()
    (folder / "predictor").rmdir()
    (folder / "predictor.py").write_text("class Predictor:\n    earlier = True\n")
    assert import_predictor(folder).Predictor.earlier
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(manifest)[-2:] == ["family", "rounds"]
