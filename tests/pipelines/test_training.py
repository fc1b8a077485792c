import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from homeostat.errors import DataError, ProjectError
from homeostat.hooks import Hooks, load_hooks
from homeostat.pipelines.models.evaluation import evaluate
from homeostat.pipelines.models.training import train_model
from homeostat.project import Project

START = datetime(2020, 1, 1, tzinfo=UTC)


def project_of(task: str, folder: Path = Path("p"), data: dict[str, Any] | None = None, **training: Any) -> Project:
    columns = {"key": "id", "event_time": "at", "target": "y", "numeric": ["x", "z"], "categorical": ["c"]}
    raw = {"folder": folder, "project": {"name": "p", "task": task}, "data": columns | (data or {})}
    return Project.model_validate(raw | {"loop": {"tick": "1d", "start": "2020-01-07"}, "training": training})


def frame_of(rows: int, task: str = "binary") -> pl.DataFrame:
    draw = np.random.default_rng(1)
    x, z, c = draw.normal(size=rows), draw.normal(size=rows), draw.integers(0, 6, rows)
    value = x + (c == 2) * 2 - 0.5 * z * x
    labels: Any = value
    if task == "binary":
        labels = np.where(value + draw.normal(size=rows) > 0.3, "1", "0").tolist()
    elif task == "multiclass":
        labels = np.clip(np.round(value + 1), 0, 2).astype(int).astype(str).tolist()
    times = pl.Series([START + timedelta(minutes=i) for i in range(rows)], dtype=pl.Datetime("us", "UTC"))
    holes = pl.when(pl.col("id") % 7 == 0).then(None).otherwise(pl.col("z")).alias("z")
    columns = {"id": range(rows), "event_at": times, "x": x, "z": z, "c": [f"c{v}" for v in c], "label": labels}
    return pl.DataFrame(columns).with_columns(holes)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_each_task_learns_from_the_past_and_measures_on_what_came_after(task: str) -> None:
    frame = frame_of(1500, task)
    made = train_model(frame, project_of(task, rounds=30), Hooks())
    assert [note.family for note in made.candidates] == ["xgboost", "linear"]
    assert made.rows == 1500
    metric, bound = {"binary": ("auc", 0.75), "multiclass": ("accuracy", 0.6), "regression": ("r2", 0.7)}[task]
    assert made.reference[metric] > bound
    assert evaluate(made.predictor, frame, project_of(task))[metric] > bound


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_losses_on_the_holdout_are_kept_whole_and_by_segment(task: str) -> None:
    project = project_of(task, data={"segments": ["c"]}, rounds=30)
    made = train_model(frame_of(3000, task), project, Hooks())
    loss = made.loss
    assert loss["rows"] == 450 and sum(loss["profile"]) == pytest.approx(450)
    assert json.loads(json.dumps(loss)) == loss and not loss["zero_one"]
    assert loss["segments"] and all(name.startswith("c=c") for name in loss["segments"])
    if task == "binary":
        assert loss["mean"] == pytest.approx(made.reference["brier"]) and loss["scale"] == 1.0
    if task == "regression":
        assert 0 < loss["mean"] < 0.3 and loss["mean"] * loss["scale"] <= made.reference["rmse"] ** 2


def test_with_too_few_rows_to_hold_any_out_there_is_no_reference_loss() -> None:
    made = train_model(frame_of(20), project_of("binary", min_rows=10), Hooks())
    assert made.loss == {} and made.reference == {}


def test_every_fit_is_counted_with_its_rows_and_rounds() -> None:
    made = train_model(frame_of(1000), project_of("binary", rounds=20, candidates=["xgboost", "linear"]), Hooks())
    compared = sum(note.rows * note.boosted for note in made.candidates)
    assert [note.rows for note in made.candidates] == [700, 700]
    last = made.fit.model.num_boosted_rounds() if made.family == "xgboost" else made.fit.boosted
    assert made.cost.fits == 3
    assert made.cost.row_rounds == compared + 1000 * last
    assert made.cost.cpu_seconds > 0


@pytest.mark.parametrize("family", ["xgboost", "linear"])
def test_the_same_frame_gives_the_same_model_bit_for_bit(family: str) -> None:
    frame, project = frame_of(600), project_of("binary", rounds=15, candidates=[family])
    first, second = (train_model(frame, project, Hooks()) for _ in range(2))
    assert first.predictor.score(frame).equals(second.predictor.score(frame))
    assert first.reference == second.reference


def test_few_rows_still_train_and_too_few_are_refused() -> None:
    frame = frame_of(12)
    made = train_model(frame, project_of("binary", min_rows=10, candidates=["xgboost", "linear"]), Hooks())
    assert made.reference == {} and made.rows == 12
    with pytest.raises(DataError, match=r"12 labelled rows.*min_rows asks for 50"):
        train_model(frame, project_of("binary"), Hooks())


def test_one_class_or_three_for_a_binary_target_are_refused() -> None:
    frame = frame_of(100)
    with pytest.raises(DataError, match="every one of the 100 labels of 'y' is '1'"):
        train_model(frame.with_columns(label=pl.lit("1")), project_of("binary"), Hooks())
    with pytest.raises(DataError, match="has the classes 0, 1, 2"):
        train_model(frame_of(100, "multiclass"), project_of("binary"), Hooks())


def test_a_class_that_comes_late_or_is_only_stated_is_in_the_class_list() -> None:
    late = pl.when(pl.col("id") > 380).then(pl.lit("9")).otherwise(pl.col("label")).alias("label")
    frame = frame_of(400, "multiclass").with_columns(late)
    project = project_of("multiclass", data={"classes": [0, 1, 2, 9, 10]}, rounds=10)
    made = train_model(frame, project, Hooks())
    assert made.classes == ["0", "1", "2", "9", "10"]
    assert made.predictor.score(frame)["scores"].list.sum().is_between(0.999, 1.001).all()


def test_one_class_in_the_first_part_uses_what_can_be_learned() -> None:
    frame = frame_of(200).with_columns(label=pl.when(pl.col("id") < 190).then(pl.lit("0")).otherwise(pl.lit("1")))
    made = train_model(frame, project_of("binary", rounds=5), Hooks())
    assert made.reference == {} and made.classes == ["0", "1"]


def test_the_positive_class_is_the_projects() -> None:
    frame = frame_of(300).with_columns(label=pl.col("label").replace({"1": "late", "0": "on time"}))
    made = train_model(frame, project_of("binary", data={"positive": "late"}, rounds=5), Hooks())
    assert made.positive == "late" and made.reference["auc"] > 0.6


def test_rows_without_a_label_are_left_out() -> None:
    unknown = pl.when(pl.col("id") % 2 == 0).then(pl.col("label")).alias("label")
    assert train_model(frame_of(300).with_columns(unknown), project_of("binary", rounds=3), Hooks()).rows == 150


def test_a_hooks_estimator_is_a_candidate(tmp_path: Path) -> None:
    (tmp_path / "hooks.py").write_text(
        "def build_model(task, seed):\n"
        "    from sklearn.ensemble import RandomForestClassifier\n"
        "    return RandomForestClassifier(n_estimators=5, max_depth=4, random_state=seed)\n"
    )
    project = project_of("binary", tmp_path, candidates=["hook"])
    made = train_model(frame_of(300), project, load_hooks(tmp_path))
    assert made.family == "hook" and made.cost.row_rounds == 210 * 5 + 300 * 5
    with pytest.raises(ProjectError, match="build_model is missing"):
        train_model(frame_of(300), project, Hooks())


HOOKS = """
def build_model(task, seed):
    from sklearn.{module} import {name}
    return {name}()
"""


def hooks_of(folder: Path, module: str, name: str) -> Hooks:
    folder.mkdir()
    (folder / "hooks.py").write_text(HOOKS.format(module=module, name=name))
    return load_hooks(folder)


def half_wrong() -> pl.DataFrame:
    """Rows of which every second label is turned round, and counts for next to nothing."""
    wrong = pl.col("id") % 2 == 1
    turned = pl.col("label").replace({"0": "1", "1": "0"})
    label = pl.when(wrong).then(turned).otherwise("label")
    return frame_of(1200).with_columns(label=label, _weight=pl.when(wrong).then(0.001).otherwise(1.0))


@pytest.mark.parametrize("family", ["xgboost", "linear"])
def test_rows_count_by_their_weights(family: str) -> None:
    project, frame = project_of("binary", rounds=20, candidates=[family]), half_wrong()
    heavy, alike = (train_model(rows, project, Hooks()) for rows in (frame, frame.drop("_weight")))
    truth = frame_of(1200)
    assert evaluate(heavy.predictor, truth, project)["auc"] > 0.7
    assert evaluate(alike.predictor, truth, project)["auc"] < evaluate(heavy.predictor, truth, project)["auc"] - 0.05


def test_a_hooks_estimator_gets_weights_where_its_fit_takes_them(tmp_path: Path) -> None:
    frame, truth = half_wrong().with_columns(z=pl.col("z").fill_null(0)), frame_of(1200)
    truth = truth.with_columns(z=pl.col("z").fill_null(0))
    found = {}
    for module, name in (("naive_bayes", "GaussianNB"), ("neighbors", "KNeighborsClassifier")):
        hooks, project = hooks_of(tmp_path / name, module, name), project_of("binary", tmp_path, candidates=["hook"])
        found[name] = evaluate(train_model(frame, project, hooks).predictor, truth, project)["auc"]
    assert found["GaussianNB"] > 0.7


def test_only_rows_that_count_for_what_is_measured_are_measured_on() -> None:
    frame, project = frame_of(1000), project_of("binary", rounds=10)
    measured = frame.with_columns(_measured=pl.col("id") % 4 == 0)
    whole, part = train_model(frame, project, Hooks()), train_model(measured, project, Hooks())
    assert (whole.loss["rows"], part.loss["rows"]) == (150, 37) and part.rows == 1000
    nothing = train_model(frame.with_columns(_measured=pl.lit(False)), project, Hooks())
    assert nothing.reference == {} and nothing.loss == {} and nothing.rows == 1000
