"""Guessing a project: what it writes loads, and every guess has its reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from homeostat.errors import DataError
from homeostat.pipelines.setup.guess import guess_project
from homeostat.project import Project, Task, load_project

T0 = datetime(2020, 1, 1, tzinfo=UTC)


def table(count: int = 200, **columns) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "when": [T0 + timedelta(hours=8 * i) for i in range(count)],
            "ticket_id": range(count),
            "amount": [i * 0.7 for i in range(count)],
            "zip_code": [1000 + i % 7 for i in range(count)],
            "colour": ["red", "blue"] * (count // 2),
            "note": [f"note {i}" for i in range(count)],
            "paid": [i % 2 for i in range(count)],
            **columns,
        }
    )


def loaded(folder: Path, frame: pl.DataFrame, ending: str = "parquet") -> tuple[Project, dict[str, tuple[str, str]]]:
    file = folder / f"my data.{ending}"
    frame.write_parquet(file) if ending == "parquet" else frame.write_csv(file)
    guess = guess_project(file)
    (folder / "homeostat.toml").write_text(guess.toml, encoding="utf-8")
    return load_project(folder), {what: (value, why) for what, value, why in guess.guesses}


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_file_becomes_a_project_that_loads(tmp_path, ending):
    project, guesses = loaded(tmp_path, table(), ending)
    data = project.data
    assert (project.name, project.task) == ("my-data", Task.BINARY)
    assert (data.key, data.event_time, data.target) == ("ticket_id", "when", "paid")
    assert (data.numeric, data.categorical) == (["amount"], ["zip_code", "colour"])
    assert data.inputs.uri == data.feedback.uri == f"my data.{ending}"
    assert project.loop.tick == timedelta(days=1)
    assert T0 + timedelta(days=13) < project.start_at < T0 + timedelta(days=20)
    assert "too many" in guesses["note left out"][1]
    assert "guess" in guesses["target"][1]


def test_tasks_follow_the_distinct_values_of_the_target(tmp_path):
    assert loaded(tmp_path, table(label=["a", "b", "c", "d"] * 50))[0].task is Task.MULTICLASS
    project, _ = loaded(tmp_path, table(y=[i * 0.3 for i in range(200)]))
    assert (project.task, project.data.target) == (Task.REGRESSION, "y")


@pytest.mark.parametrize(
    ("classes", "positive", "why"),
    [
        (["Good", "Bad"], "Bad", "'Bad' names what happens"),
        (["paid", "default"], "default", "'default' names what happens"),
        (["on time", "late"], "late", "'late' names what happens"),
        (["Existing Customer", "Attrited Customer"], "Attrited Customer", "names what happens"),
        (["not late", "late"], "late", "'not late' the rest"),
        (["settled", "kept"], "settled", "'kept' names the usual case"),
        (["N", "Y"], "Y", "'Y' says yes"),
        (["-1", "1"], "1", "'1' says yes"),
        ([">50K", ">50K", ">50K", "<=50K"], "<=50K", "the rarer of '<=50K' and '>50K': 50 of 200"),
        (["a", "b"], "b", "a guess: 'a' and 'b' are equally frequent"),
    ],
)
def test_the_positive_class_is_what_happens_and_is_written_with_its_reason(tmp_path, classes, positive, why):
    project, guesses = loaded(tmp_path, table(label=(classes * 200)[:200]))
    assert project.data.positive == positive
    assert guesses["positive"][0] == positive and why in guesses["positive"][1]


def test_no_positive_class_is_written_where_there_are_not_two(tmp_path):
    project, guesses = loaded(tmp_path, table(label=["a", "b", "c", "d"] * 50))
    assert project.data.positive is None and "positive" not in guesses


def test_zones_come_from_the_data_or_are_told_as_a_guess(tmp_path):
    project, _ = loaded(tmp_path, table().with_columns(pl.col("when").dt.convert_time_zone("Europe/Berlin")))
    assert project.data.timezone == "Europe/Berlin"
    naive = table().with_columns(pl.col("when").dt.replace_time_zone(None))
    assert "guess" in loaded(tmp_path, naive)[1]["timezone"][1]
    assert "offsets" in loaded(tmp_path, table(), "csv")[1]["timezone"][1]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (table().drop("ticket_id", "note"), "no column is unique"),
        (table().drop("when"), "no column holds times"),
        (table().select("ticket_id", "when"), "no column can be what is predicted"),
        (table().select("ticket_id", "when", "paid"), "no column is left"),
        (table().clear(), "no rows"),
    ],
)
def test_files_that_make_no_project_are_told(tmp_path, frame, words):
    frame.write_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match=words):
        guess_project(tmp_path / "d.parquet")


def test_a_wrong_delimiter_is_named(tmp_path):
    table().write_csv(tmp_path / "d.csv", separator=";")
    with pytest.raises(DataError, match="separated by ';'"):
        guess_project(tmp_path / "d.csv")
