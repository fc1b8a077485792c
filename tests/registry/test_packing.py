import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from homeostat.errors import ModelRefused
from homeostat.hooks import load_hooks
from homeostat.pipelines.models.training import train_model
from homeostat.project import Project
from homeostat.registry.packing import describe_signature, load_predictor, pin_requirements, read_manifest

START = datetime(2020, 1, 1, tzinfo=UTC)


def save_model(folder: Path, task: str = "multiclass") -> Path:
    draw = np.random.default_rng(3)
    times = pl.Series([START + timedelta(minutes=i) for i in range(90)], dtype=pl.Datetime("us", "UTC"))
    columns = {"id": range(90), "event_at": times, "x": draw.normal(size=90), "label": [str(i % 3) for i in range(90)]}
    raw: dict[str, Any] = {"folder": folder, "project": {"name": "p", "task": task}}
    raw["data"] = {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"]}
    raw |= {"loop": {"tick": "1d", "start": "2020-01-07"}, "training": {"rounds": 3}}
    return train_model(pl.DataFrame(columns), Project.model_validate(raw), load_hooks(folder)).save(folder / "model")


def test_the_signature_names_raw_inputs_that_may_be_absent_and_a_score_for_each_class(tmp_path: Path) -> None:
    signature = describe_signature(read_manifest(save_model(tmp_path)))
    assert signature.inputs.input_names() == ["id", "at", "x"]
    assert not any(spec.required for spec in signature.inputs)
    assert signature.outputs.input_names() == ["prediction", "score_0", "score_1", "score_2"]


def test_what_a_model_needs_is_pinned() -> None:
    assert all("==" in pin for pin in pin_requirements()) and len(pin_requirements()) >= 6


def test_a_broken_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = save_model(tmp_path)
    manifest = read_manifest(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"classes": ["2", "1", "0"]}))
    with pytest.raises(ModelRefused, match=r"^p version 4 is refused: GoldenMismatch") as caught:
        load_predictor(folder, "p version 4")
    assert "\n" not in str(caught.value)
    shutil.rmtree(folder / "predictor")
    with pytest.raises(ModelRefused, match="No such file"):
        load_predictor(folder, "p version 4")
