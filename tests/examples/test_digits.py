"""The digits example: no label comes by itself, and what three erring people agree on makes a good model."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from homeostat.console.main import app
from homeostat.flows.exports import export_predictions
from homeostat.flows.labeling.board import board
from homeostat.flows.loop import Loop, open_loop
from homeostat.flows.queries.why import why
from homeostat.flows.replay.run import replay
from homeostat.hooks import import_source
from homeostat.records import Scope

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "digits"
FLOOR, BETTER = 0.84, 0.04
ANNOTATORS = {"ann", "ben", "cho"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("digits") / "digits"
    shutil.copytree(FOLDER, place, ignore=shutil.ignore_patterns(".homeostat"))
    replay(place)
    return place


@pytest.fixture(scope="module")
def loop(folder: Path) -> Loop:
    return open_loop(folder, Scope.REPLAY)


@pytest.fixture(scope="module")
def truth() -> pl.DataFrame:
    file = FOLDER / "hooks.py"
    digits = import_source(file, file.read_text(encoding="utf-8"))._digits()[1]
    return pl.DataFrame({"id": range(1, len(digits) + 1), "digit": [str(digit) for digit in digits]})


def labels_of(loop: Loop) -> pl.DataFrame:
    last = loop.store.last_tick("notify")
    assert last is not None
    labels = loop.lake.latest("feedback", "id", last)
    assert labels is not None
    return labels


def test_the_loop_learns_from_people_alone_and_gets_better(folder: Path, loop: Loop, truth: pl.DataFrame) -> None:
    champion = loop.champion()
    assert champion is not None and champion.version > 1
    found = {}
    for role in ("champion", "baseline"):
        rows = export_predictions(loop, role).join(truth, on="id")
        found[role] = float((rows["prediction"].cast(pl.String) == rows["digit"]).mean())  # type: ignore[arg-type]
    assert found["champion"] > FLOOR and found["champion"] > found["baseline"] + BETTER
    summary = json.loads((folder / ".homeostat/replay/summary.json").read_text())
    assert summary["loop_metric"] == pytest.approx(found["champion"], abs=0.06)


def test_every_label_is_peoples_and_the_consensus_is_better_than_the_best_of_them(
    loop: Loop, truth: pl.DataFrame
) -> None:
    labels = labels_of(loop).join(truth, on="id")
    assert labels.height == 600 and set(labels["provenance"]) == {"human"}
    answers = pl.DataFrame([(a.task, a.who, a.label) for a in loop.store.list_answers()], orient="row")
    assert answers.height == 3 * labels.height and set(answers["column_1"]) == ANNOTATORS
    assert (labels["label"] == labels["digit"]).mean() > 0.98  # type: ignore[operator]
    rated = board(loop)["scoreboard"]
    assert [row["annotator"] for row in sorted(rated, key=lambda r: r["rank"])] == ["ann", "ben", "cho"]


def test_budget_holds_in_every_week(loop: Loop) -> None:
    tasks = loop.store.list_tasks()
    week = loop.project.labeling.period
    for task in tasks:
        lately = [t for t in tasks if task.asked_at - week < t.asked_at <= task.asked_at]
        assert sum(t.wanted for t in lately) <= loop.project.labeling.budget


def test_why_tells_who_labelled_a_row(folder: Path, loop: Loop) -> None:
    scored = export_predictions(loop).filter(pl.col("model_version") > 1)
    labelled = labels_of(loop).join(scored, on="id", how="semi").drop_nulls("propensity")
    key = str(labelled["id"][0])
    answer = why(loop, key)
    label = answer["label"]
    assert label["provenance"] == "human" and not label["caused"]
    assert {a["who"] for a in label["task"]["answers"]} == ANNOTATORS
    assert label["task"]["purpose"] == "measure" and 0 < label["propensity"] < 1
    assert 0 < label["task"]["quality"] <= 1
    assert set(answer["model"]["labels"]) == {"human"} and answer["model"]["labels"]["human"] == answer["model"]["rows"]
    said = CliRunner().invoke(app, ["why", str(folder), key], env={"COLUMNS": "300"})
    told = " ".join(said.output.split())
    assert said.exit_code == 0 and "ann said" in told and "drawn at random, to measure performance" in told
    assert "from people" in told


def test_people_are_shown_the_scan(loop: Loop) -> None:
    inputs = loop.lake.read("inputs", pl.col("id") == 1)
    assert inputs is not None and loop.project.labeling.image == "image"
    kind, _, data = inputs["image"][0].partition(",")
    assert kind == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")
    assert not {"image"} & set(loop.project.data.features)
