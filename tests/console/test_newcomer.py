"""A first project from a data file, with no editing: init, check, replay, export."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import shells
from shells import warm
from sklearn import datasets

ROWS = 330
MINUTES = 2


def timed(columns: dict[str, Any], key: str, target: Any) -> pl.DataFrame:
    """Rows of a bundled data set, in a fixed shuffle, with a key and a time."""
    frame = pl.DataFrame(columns).with_columns(pl.Series("outcome", target))
    frame = pl.concat([frame] * (ROWS // frame.height + 1)).sample(ROWS, shuffle=True, seed=0)
    first = datetime(2024, 3, 1)
    times = [first + timedelta(minutes=MINUTES * i) for i in range(ROWS)]
    keys = [f"k{i:04d}" for i in range(ROWS)] if key == "text" else list(range(1, ROWS + 1))
    return frame.select(pl.Series("id", keys), pl.Series("measured_at", times), pl.all())


def binary() -> pl.DataFrame:
    found: Any = datasets.load_breast_cancer()
    names = [str(name) for name in found.feature_names[:6]]
    return timed({name: found.data[:, i] for i, name in enumerate(names)}, "whole", found.target == 1)


def multiclass() -> pl.DataFrame:
    found: Any = datasets.load_iris()
    names = [str(name) for name in found.feature_names]
    species = found.target_names[found.target]
    return timed({name: found.data[:, i] for i, name in enumerate(names)}, "text", species)


def regression() -> pl.DataFrame:
    found: Any = datasets.load_diabetes()
    return timed({name: found.data[:, i] for i, name in enumerate(found.feature_names)}, "whole", found.target)


def made(folder: Path, frame: pl.DataFrame, ending: str) -> Path:
    """A project from a file of this frame."""
    file = folder / f"data.{ending}"
    frame.write_csv(file) if ending == "csv" else frame.write_parquet(file)
    answer = warm("init", file.name, cwd=folder)
    assert (answer.code, answer.err) == (0, "")
    assert all(guess in answer.out for guess in ("measured_at", "outcome", "unique in every row", "homeostat check"))
    return folder


@pytest.mark.parametrize("task", [binary, multiclass, regression])
def test_a_file_becomes_a_project_that_replays_with_no_editing(tmp_path: Path, task: Any) -> None:
    frame = task()
    folder = made(tmp_path, frame, "csv")
    sound = warm("check", cwd=folder)
    assert (sound.code, sound.err) == (0, "")
    assert f"{ROWS} rows are sound" in sound.out
    answer = warm("replay", "--no-prefect", "--json", cwd=folder)
    assert (answer.code, answer.told) == (0, [])
    summary = json.loads(answer.out)
    assert summary["task"] == task.__name__
    assert summary["static_metric"] is not None
    assert warm("export", "predictions", "--out", "p.parquet", cwd=folder).code == 0
    assert_joins(pl.read_parquet(folder / "p.parquet"), frame, summary["predictions"])


def assert_joins(found: pl.DataFrame, source: pl.DataFrame, rows: int) -> None:
    """Each row once, its key and its prediction in the types of the source."""
    assert found.height == found["id"].n_unique() == rows > 100
    assert (found.schema["id"], found.schema["prediction"]) == (source.schema["id"], source.schema["outcome"])
    assert found.join(source, on="id").height == rows
    scores = found.select(pl.col("^score_.*$"))
    if scores.width:
        assert (scores.sum_horizontal() - 1).abs().max() < 1e-5  # type: ignore[operator]


@pytest.mark.parametrize("labels", [["0", "1"], [True, False]])
def test_predictions_have_the_type_of_the_target(tmp_path: Path, labels: list[Any]) -> None:
    folder = shells.small(tmp_path / "p", project=shells.PROJECT.replace("classes = [0, 1]\n", ""))
    feedback = pl.read_parquet(folder / "feedback.parquet")
    y = [labels[v] for v in feedback["y"]]
    feedback.with_columns(y=pl.Series(y)).write_parquet(folder / "feedback.parquet")
    assert warm("replay", folder, "--no-prefect", "--until", "2020-01-08").code == 0
    assert warm("export", "predictions", folder, "--out", tmp_path / "p.parquet").code == 0
    found = pl.read_parquet(tmp_path / "p.parquet")["prediction"]
    assert found.dtype == pl.Series(y).dtype
    assert set(found) <= set(labels)


def test_a_candidate_that_cannot_be_fitted_is_found_by_check(tmp_path: Path) -> None:
    folder = made(tmp_path, binary(), "csv")
    file = folder / "homeostat.toml"
    file.write_text(file.read_text() + '\n[training]\ncandidates = ["hook"]\n')
    (folder / "hooks.py").write_text("def build_model(task, seed):\n    raise ValueError('no licence')\n")
    checked = warm("check", cwd=folder)
    assert checked.code == 2 and "no licence" in checked.err and "Traceback" not in checked.err


def test_a_replay_that_scores_nothing_says_why_and_exits_with_1(tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "p", project=shells.PROJECT)
    text = (folder / "homeostat.toml").read_text()
    feedback = text[text.index("[data.feedback]") : text.index("[loop]")]
    (folder / "homeostat.toml").write_text(text.replace(feedback, "") + "\n[labeling]\nbudget = 10\n")
    answer = warm("replay", folder, "--no-prefect", "--until", "2020-01-09")
    assert answer.code == 1 and "nothing was scored: there is no champion" in answer.err, answer
    assert "0 of 50 labels" in answer.err and "Traceback" not in answer.err
