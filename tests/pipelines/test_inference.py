import ast
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from homeostat.hooks import load_hooks
from homeostat.pipelines import inference
from homeostat.pipelines.inference import BadRows, BrokenModel, GoldenMismatch, Predictor
from homeostat.pipelines.models.training import Trained, train_model
from homeostat.project import Project

START = datetime(2020, 1, 1, tzinfo=UTC)
HOOK = (
    "def build_features(frame):\n    import polars as pl\n    return frame.select(h=pl.col('x') * {}, c=pl.col('c'))\n"
)


def frame_of(task: str = "binary", rows: int = 200) -> pl.DataFrame:
    draw = np.random.default_rng(2)
    x, c = draw.normal(size=rows), draw.integers(0, 4, rows)
    value = x + (c == 1)
    made = {"binary": value > 0, "multiclass": np.clip(np.round(value + 1), 0, 2).astype(int), "regression": value}
    labels: Any = value if task == "regression" else [str(int(v)) for v in made[task]]
    times = pl.Series([START + timedelta(minutes=i) for i in range(rows)], dtype=pl.Datetime("us", "UTC"))
    columns = {"id": range(rows), "event_at": times, "x": x, "c": [str(v) for v in c], "label": labels}
    return pl.DataFrame(columns)


def train(folder: Path, task: str = "binary", family: str = "xgboost", hook: str | None = None) -> Trained:
    if hook is not None:
        (folder / "hooks.py").write_text(hook)
    raw: dict[str, Any] = {"folder": folder, "project": {"name": "p", "task": task}}
    raw["data"] = {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"], "categorical": ["c"]}
    raw |= {"loop": {"tick": "1d", "start": "2020-01-07"}, "training": {"candidates": [family], "rounds": 8}}
    made = train_model(frame_of(task), Project.model_validate(raw), load_hooks(folder))
    made.save(folder / "model")
    return made


@pytest.mark.parametrize("family", ["xgboost", "linear"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_saved_model_scores_as_the_one_in_memory(tmp_path: Path, task: str, family: str) -> None:
    made, frame = train(tmp_path, task, family), frame_of(task)
    loaded = Predictor.load(tmp_path / "model")
    scored = loaded.score(frame)
    assert scored.equals(made.predictor.score(frame))
    assert scored.columns == ["prediction", "score", "classes", "scores"]
    assert scored["score"].null_count() == (0 if task == "binary" else frame.height)
    assert scored["scores"].null_count() == (0 if task == "multiclass" else frame.height)
    assert scored["prediction"].dtype == (pl.Float64 if task == "regression" else pl.String)
    reasons = [json.loads(line) for line in loaded.explain(frame.head(4), top=1)]
    assert all(len(reason) == 1 and reason[0][0] in ("x", "c") for reason in reasons)


def test_a_row_scores_the_same_alone_and_in_any_batch(tmp_path: Path) -> None:
    train(tmp_path)
    loaded, rows = Predictor.load(tmp_path / "model"), frame_of().head(20)
    alone = pl.concat([loaded.score(rows[i]) for i in range(rows.height)])
    assert alone.equals(loaded.score(rows))
    assert loaded.score(rows.reverse()).reverse().equals(alone)
    assert loaded.score(rows.clear()).schema == alone.schema


@pytest.mark.parametrize("family", ["xgboost", "linear"])
def test_raw_rows_come_as_pandas_with_odd_types_missing_columns_and_unknown_categories(
    tmp_path: Path, family: str
) -> None:
    train(tmp_path, family=family)
    loaded = Predictor.load(tmp_path / "model")
    rows = frame_of().head(6)
    plain = loaded.score(rows)
    typed = rows.select("x", pl.col("c").cast(pl.Int64), extra=1).to_pandas()
    assert loaded.score(typed).equals(plain)
    assert loaded.score(typed.assign(c=typed["c"].astype(float))).equals(plain)
    odd = pl.DataFrame({"x": [None, float("inf"), 1e300], "c": ["never seen", None, ""]})
    assert loaded.score(odd)["score"].is_between(0, 1).all()
    assert loaded.score(pl.DataFrame({"other": [1]})).height == 1


def test_two_models_with_different_hooks_live_in_one_process(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, factor in zip(folders, (1, -3), strict=True):
        folder.mkdir()
        train(folder, hook=HOOK.format(factor))
    first, second = (Predictor.load(folder / "model") for folder in folders)
    rows = frame_of().head(5)
    assert (second.features(rows)["h"] == -3 * first.features(rows)["h"]).all()
    with pytest.raises(BadRows, match="'at' is missing"):
        first.score(rows.drop("event_at"))


def test_a_hooks_own_estimator_class_loads_and_a_strange_type_does_not(tmp_path: Path) -> None:
    own = (
        "from sklearn.linear_model import LogisticRegression\n"
        "class Mine(LogisticRegression):\n    pass\n"
        "def build_model(task, seed):\n"
        "    from sklearn.pipeline import make_pipeline\n"
        "    from sklearn.impute import SimpleImputer\n"
        "    return make_pipeline(SimpleImputer(), Mine())\n"
    )
    made, folder = train(tmp_path, family="hook", hook=own), tmp_path / "model"
    assert Predictor.load(folder).score(frame_of()).equals(made.predictor.score(frame_of()))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"family": "linear"}))
    with pytest.raises(BrokenModel, match="not trusted"):
        Predictor.load(folder)


def test_a_model_that_does_not_keep_its_word_is_refused(tmp_path: Path) -> None:
    train(tmp_path)
    folder = tmp_path / "model"
    golden = pl.read_parquet(folder / "golden.parquet")
    golden.with_columns(pl.col("expected:score") + 1e-4).write_parquet(folder / "golden.parquet")
    with pytest.raises(GoldenMismatch):
        Predictor.load(folder)
    assert Predictor.load(folder, verify=False)


@pytest.mark.parametrize("part", ["manifest.json", "model.ubj", "golden.parquet", "hooks.py"])
def test_a_missing_cut_or_changed_part_is_refused(tmp_path: Path, part: str) -> None:
    train(tmp_path, hook=HOOK.format(2))
    file = tmp_path / "model" / part
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BrokenModel):
        Predictor.load(tmp_path / "model")
    file.unlink()
    with pytest.raises(BrokenModel):
        Predictor.load(tmp_path / "model")


def test_the_predictor_stands_alone_and_holds_no_pickle(tmp_path: Path) -> None:
    modules = sorted(Path(inference.__file__).parent.glob("*.py"))
    nodes = [node for module in modules for node in ast.walk(ast.parse(module.read_text()))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    assert not {name.split(".")[0] for name in names} & {"homeostat", "pipelines", "pickle", "joblib"}
    train(tmp_path, family="linear")
    assert not list((tmp_path / "model").glob("*.pkl"))
