"""An ensemble from end to end: trained, saved, refreshed, loaded and asked why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from test_training import frame_of, project_of

from homeostat.hooks import Hooks
from homeostat.pipelines.inference import GoldenMismatch, Predictor
from homeostat.pipelines.inference.manifest import Manifest, manifest_of
from homeostat.pipelines.models.ensemble import Ensemble, open_members, refresh_ensemble, weights_of
from homeostat.pipelines.models.members import Window, heard, list_specs
from homeostat.pipelines.models.training import train_model

TASKS = ("binary", "multiclass", "regression")
WINDOWED = ("continued", "recent", "newest", "linear_recent")
EVERY = (
    "first",
    "everything",
    "growing",
    "long",
    "continued",
    "recent",
    "newest",
    "linear_everything",
    "linear_recent",
)
FRAME_ROWS = 900


def first_model(folder: Path, task: str, frame: pl.DataFrame | None = None) -> Path:
    """A saved model that is no ensemble, of the first 300 rows."""
    rows = frame_of(FRAME_ROWS, task).head(300) if frame is None else frame
    return train_model(rows, project(task), Hooks()).save(folder / "first")


def project(task: str) -> Any:
    return project_of(task, rounds=10, threads=1)


def refreshed(
    origin: Path, to: Path, task: str, names: tuple[str, ...] = EVERY, frame: pl.DataFrame | None = None
) -> Ensemble:
    """A saved ensemble; a window of n ticks is 50 n rows here, and its least number of rows counts for nothing."""
    whole = frame_of(FRAME_ROWS, task) if frame is None else frame
    specs = tuple(spec for spec in list_specs(project(task)) if spec.name in names)
    before = weights_of(open_members(origin)[0])

    def rows(window: Window | None) -> pl.DataFrame:
        return whole if window is None else whole.tail(50 * window.ticks)

    made = refresh_ensemble(origin, specs, before, rows, project(task), Hooks())
    made.save(to)
    return made


def values(scored: pl.DataFrame, task: str) -> np.ndarray:
    if task == "multiclass":
        return np.array(scored["scores"].to_list())
    return scored["score" if task == "binary" else "prediction"].to_numpy()


def member_bytes(folder: Path) -> dict[str, bytes]:
    """What each member says of the same rows, bit for bit."""
    model, task = Predictor.load(folder), Predictor.load(folder).task
    told = model.score_members(frame_of(200, task))
    return {name: values(scored, task).tobytes() for name, scored in told.items()}


@pytest.mark.parametrize("task", TASKS)
def test_a_saved_committee_says_the_weighted_mean_of_what_its_members_say(tmp_path: Path, task: str) -> None:
    origin, frame = first_model(tmp_path, task), frame_of(FRAME_ROWS, task)
    made = refreshed(origin, tmp_path / "second", task)
    loaded = Predictor.load(tmp_path / "second")
    assert loaded.score(frame).equals(made.predictor.score(frame))
    alone, weights = loaded.score_members(frame), weights_of(loaded.manifest)
    assert tuple(alone) == tuple(weights) == EVERY and sum(weights.values()) == pytest.approx(1)
    mean = sum(heard(weights)[name] * values(scored, task) for name, scored in alone.items())
    assert values(loaded.score(frame), task) == pytest.approx(mean, abs=1e-12)
    assert alone["first"].equals(Predictor.load(origin).score(frame))
    assert np.std([values(scored, task) for scored in alone.values()], axis=0).max() > 0.01


def test_nothing_in_the_folder_is_a_pickle_and_a_damaged_member_is_found(tmp_path: Path) -> None:
    refreshed(first_model(tmp_path, "binary"), tmp_path / "second", "binary")
    files = [file for file in (tmp_path / "second").rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".json", ".ubj", ".skops", ".parquet", ".py"}
    assert len([file for file in files if file.parent.name == "members"]) == len(EVERY)
    members = tmp_path / "second" / "members"
    (members / "newest.ubj").write_bytes((members / "recent.ubj").read_bytes())
    with pytest.raises(GoldenMismatch):
        Predictor.load(tmp_path / "second")


@pytest.mark.parametrize("task", TASKS)
def test_who_is_not_refitted_stays_bit_for_bit(tmp_path: Path, task: str) -> None:
    second, third = tmp_path / "second", tmp_path / "third"
    frame = frame_of(FRAME_ROWS, task)
    refreshed(first_model(tmp_path, task), second, task, frame=frame.head(600))
    refreshed(second, third, task, WINDOWED, frame)
    before, after = member_bytes(second), member_bytes(third)
    assert {name for name in EVERY if before[name] != after[name]} == set(WINDOWED)


def test_new_weights_alone_cost_nothing_and_change_no_member(tmp_path: Path) -> None:
    second, third = tmp_path / "second", tmp_path / "third"
    refreshed(first_model(tmp_path, "binary"), second, "binary")
    wanted = {name: (1 + at) / 45 for at, name in enumerate(EVERY)}
    made = refresh_ensemble(second, (), wanted, lambda ticks: pl.DataFrame(), project("binary"), Hooks())
    made.save(third)
    assert (made.cost.fits, made.cost.row_rounds, made.rows) == (0, 0, 0)
    assert weights_of(Predictor.load(third).manifest) == pytest.approx(wanted)
    assert member_bytes(second) == member_bytes(third)
    for part in ("reference.parquet", "facts.json"):
        assert (second / part).read_bytes() == (third / part).read_bytes()


def test_a_refresh_on_everything_brings_its_reference_up_to_date_and_one_of_windows_does_not(tmp_path: Path) -> None:
    origin = first_model(tmp_path, "binary")
    refreshed(origin, tmp_path / "windows", "binary", ("recent",))
    refreshed(origin, tmp_path / "whole", "binary")
    kept = [pl.read_parquet(folder / "reference.parquet") for folder in (origin, tmp_path / "windows")]
    assert kept[0].equals(kept[1])
    assert pl.read_parquet(tmp_path / "whole" / "reference.parquet").height == FRAME_ROWS


def test_what_cannot_be_fitted_is_left_out_and_what_was_there_stays(tmp_path: Path) -> None:
    origin, short = first_model(tmp_path, "binary"), frame_of(60)
    made = refreshed(origin, tmp_path / "second", "binary", frame=short)
    assert [member.name for member in made.members] == ["first"] and made.cost.fits == 0
    refreshed(origin, tmp_path / "third", "binary")
    refreshed(tmp_path / "third", tmp_path / "fourth", "binary", frame=short)
    assert member_bytes(tmp_path / "third") == member_bytes(tmp_path / "fourth")


def with_a_late_class() -> pl.DataFrame:
    """Rows of which the last 450 have a fourth class, wherever x is large."""
    late = (pl.col("id") >= 450) & (pl.col("x") > 0.8)
    return frame_of(FRAME_ROWS, "multiclass").with_columns(label=pl.when(late).then(pl.lit("9")).otherwise("label"))


def test_a_class_that_only_later_members_know_is_learned_and_told(tmp_path: Path) -> None:
    frame = with_a_late_class()
    origin = first_model(tmp_path, "multiclass", frame.head(300))
    refreshed(origin, tmp_path / "second", "multiclass", frame=frame.head(440))
    refreshed(tmp_path / "second", tmp_path / "third", "multiclass", WINDOWED, frame)
    loaded = Predictor.load(tmp_path / "third")
    assert Predictor.load(tmp_path / "second").classes == ["0", "1", "2"]
    assert loaded.classes == ["0", "1", "2", "9"]
    scored, alone = loaded.score(frame), loaded.score_members(frame)
    assert scored["classes"].to_list() == [["0", "1", "2", "9"]] * frame.height
    assert values(scored, "multiclass").sum(axis=1) == pytest.approx(1)
    ninth = {name: float(values(told, "multiclass")[:, 3].max()) for name, told in alone.items()}
    assert {name for name, chance in ninth.items() if chance > 0} == {"recent", "newest", "linear_recent"}
    mine = frame["label"] == "9"
    assert (
        values(scored.filter(mine), "multiclass")[:, 3].mean()
        > 3 * values(scored.filter(~mine), "multiclass")[:, 3].mean()
    )
    assert values(alone["first"], "multiclass")[:, :3] == pytest.approx(
        values(Predictor.load(origin).score(frame), "multiclass")
    )


def contributions(model: Predictor, rows: pl.DataFrame) -> list[dict[str, float]]:
    return [dict(json.loads(line)) for line in model.explain(rows)]


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_reasons_of_a_committee_are_those_of_its_members_by_their_weights(tmp_path: Path, task: str) -> None:
    refreshed(first_model(tmp_path, task), tmp_path / "second", task)
    model, rows = Predictor.load(tmp_path / "second"), frame_of(20, task)
    wanted = [dict.fromkeys(("x", "z", "c"), 0.0) for _ in range(rows.height)]
    for member, estimator in zip(model.manifest["members"], model.model, strict=True):
        alone = Predictor(manifest_of(model.manifest, member), estimator)
        for total, told in zip(wanted, contributions(alone, rows), strict=True):
            for name, part in told.items():
                total[name] += member["weight"] * part
    for found, total in zip(contributions(model, rows), wanted, strict=True):
        assert {name: found.get(name, 0.0) for name in total} == pytest.approx(total, abs=1e-5)


def test_the_reasons_of_many_classes_are_for_the_class_that_was_told(tmp_path: Path) -> None:
    frame = with_a_late_class()
    refreshed(first_model(tmp_path, "multiclass", frame.head(300)), tmp_path / "second", "multiclass", frame=frame)
    model = Predictor.load(tmp_path / "second")
    rows = frame.filter(model.score(frame)["prediction"] == "9").head(5)
    assert rows.height == 5
    only = [m["name"] for m in model.manifest["members"] if "9" not in m["classes"]]
    assert only == ["first"]
    manifest: Manifest = {**model.manifest, "members": [m for m in model.manifest["members"] if m["name"] not in only]}
    without = Predictor(manifest, model.model[1:])
    assert (without.score(rows)["prediction"] == "9").all()
    assert contributions(without, rows) == contributions(model, rows)
    assert all(max(found, key=lambda name: abs(found[name])) == "x" for found in contributions(model, rows))
