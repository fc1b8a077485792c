"""Sources: slices by time, from files, databases and hooks, and one clear line for each mistake."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from homeostat.errors import DataError, ProjectError
from homeostat.hooks import Hooks
from homeostat.pipelines.data.sources import date_labels, load_feedback, load_inputs, span
from homeostat.project import Project

T0 = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def project_in(folder: Path, inputs: dict | None = None, feedback: dict | None = None, **data) -> Project:
    stated = {"key": "id", "event_time": "at", "timezone": "UTC", "target": "y", "numeric": ["x"], "categorical": ["c"]}
    return Project.model_validate(
        {
            "folder": folder,
            "project": {"name": "p", "task": data.pop("task", "binary")},
            "data": {**stated, "inputs": inputs or {}, "feedback": feedback or {}, **data},
            "loop": {"tick": "1d", "start": "2020-01-05"},
        }
    )


def rows(count: int = 10) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": range(count),
            "at": [T0 + i * DAY for i in range(count)],
            "x": [i / 2 for i in range(count)],
            "c": ["a", "b"] * (count // 2),
            "other": [None] * count,
        }
    )


def ids(frame: pl.DataFrame) -> list:
    return frame["id"].to_list()


def test_a_slice_takes_its_start_and_leaves_its_end(tmp_path):
    rows().sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / "i.parquet")
    project = project_in(tmp_path, {"uri": "i.parquet"})
    found = load_inputs(project, Hooks(), T0 + 2 * DAY, T0 + 4 * DAY)
    assert ids(found) == [2, 3]
    assert found.columns == ["id", "event_at", "available_at", "x", "c"]
    assert found.schema["event_at"] == pl.Datetime("us", "UTC")
    assert ids(load_inputs(project, Hooks(), None, T0 + 2 * DAY)) == [0, 1]


@pytest.mark.parametrize("name", ["event_at", "known_at", "available_at"])
def test_times_that_come_as_text_may_have_the_name_of_a_column_of_ours(tmp_path, name):
    rows().rename({"at": name}).write_csv(tmp_path / "i.csv")
    found = load_inputs(project_in(tmp_path, {"uri": "i.csv"}, event_time=name), Hooks(), None, T0 + 2 * DAY)
    assert ids(found) == [0, 1] and found["event_at"].to_list() == [T0, T0 + DAY]


def test_every_form_of_time_gives_the_same_slice(tmp_path):
    zoned = rows()
    berlin = pl.col("at").dt.convert_time_zone("Europe/Berlin").dt
    forms = {
        "zoned": zoned.with_columns(berlin.offset_by("0s").cast(pl.Datetime("ns", "Europe/Berlin"))),
        "naive": zoned.with_columns(berlin.replace_time_zone(None).cast(pl.Datetime("ms"))),
        "text": zoned.with_columns(berlin.to_string("%Y-%m-%d %H:%M")),
        "offset": zoned.with_columns(berlin.to_string("%Y-%m-%dT%H:%M:%S%z")),
    }
    for name, frame in forms.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
        project = project_in(tmp_path, {"uri": f"{name}.parquet"}, timezone="Europe/Berlin")
        found = load_inputs(project, Hooks(), T0 + 3 * DAY, T0 + 5 * DAY)
        assert found["event_at"].to_list() == [T0 + 3 * DAY, T0 + 4 * DAY], name


def test_local_times_that_happen_twice_or_never_do_not_crash(tmp_path):
    at = ["2021-03-28 02:30:00", "2021-10-31 02:30:00"]
    rows(2).with_columns(pl.Series("at", at)).write_csv(tmp_path / "i.csv")
    project = project_in(tmp_path, {"uri": "i.csv"}, timezone="Europe/Berlin")
    found = load_inputs(project, Hooks(), None, datetime(2022, 1, 1, tzinfo=UTC))
    assert found["event_at"].to_list() == [datetime(2021, 10, 31, 0, 30, tzinfo=UTC), None]


def test_unparsable_times_come_only_with_the_first_load_and_keep_their_text(tmp_path):
    rows(4).with_columns(pl.Series("at", ["2020-01-01", "soon", "2020-01-03", None])).write_csv(tmp_path / "i.csv")
    project = project_in(tmp_path, {"uri": "i.csv"})
    found = load_inputs(project, Hooks(), None, T0 + DAY)
    assert ids(found) == [0, 1, 3]
    assert found["at"].to_list() == ["2020-01-01", "soon", None]
    assert ids(load_inputs(project, Hooks(), T0, T0 + 9 * DAY)) == [0, 2]


def test_text_of_a_csv_keeps_its_meaning(tmp_path):
    frame = pl.DataFrame(
        {
            "id": ["1.0", "2.0"], "at": ["2020-01-01", "2020-01-02"], "x": ["1", "oops"],
            "c": ["007", "08"], "k": ["1.5", "-2"], "b": ["True", "False"], "w": ["3.0", None],
        }
    )  # fmt: skip
    frame.write_csv(tmp_path / "i.csv")
    project = project_in(tmp_path, {"uri": "i.csv"}, categorical=["c", "b", "w"], keep=["k"])
    found = load_inputs(project, Hooks(), None, T0 + 9 * DAY)
    assert ids(found) == [1, 2]
    assert found["x"].to_list() == ["1", "oops"]
    assert found["c"].to_list() == ["007", "08"]
    assert found["k"].to_list() == [1.5, -2.0]
    assert found["b"].to_list() == [True, False]
    assert found["w"].to_list() == [3, None]


def test_a_glob_reads_all_files(tmp_path):
    rows().head(5).write_parquet(tmp_path / "i-1.parquet")
    rows().tail(5).write_parquet(tmp_path / "i-2.parquet")
    project = project_in(tmp_path, {"uri": str(tmp_path / "i-*.parquet")})
    assert ids(load_inputs(project, Hooks(), None, T0 + 99 * DAY)) == list(range(10))


@pytest.mark.parametrize("source", [{"table": "i"}, {"query": "select * from i where x >= 0;"}])
def test_a_database_gives_the_slice(tmp_path, source):
    with sqlite3.connect(tmp_path / "base.db") as base:
        base.execute("create table i (id integer, at timestamp, x real, c text)")
        values = [(i, f"{T0 + i * DAY:%Y-%m-%d %H:%M:%S}", i / 2, "a") for i in range(10)]
        base.executemany("insert into i values (?, ?, ?, ?)", values)
    project = project_in(tmp_path, {"uri": "sqlite:///base.db", **source})
    assert ids(load_inputs(project, Hooks(), T0 + 2 * DAY, T0 + 4 * DAY)) == [2, 3]
    assert ids(load_inputs(project, Hooks(), None, T0 + 2 * DAY)) == [0, 1]
    assert span(project, Hooks()).input_rows == 10


def test_hooks_may_return_polars_or_pandas(tmp_path):
    for made in (rows(), rows().to_pandas()):
        found = load_inputs(project_in(tmp_path), Hooks(load_inputs=lambda folder, until, m=made: m), None, T0 + DAY)
        assert ids(found) == [0]


def test_labels_count_up_to_their_moment(tmp_path):
    rows().with_columns(y=1, known=pl.col("at")).write_parquet(tmp_path / "f.parquet")
    project = project_in(tmp_path, feedback={"uri": "f.parquet", "known_at": "known"})
    found = load_feedback(project, Hooks(), T0 + 2 * DAY, T0 + 4 * DAY)
    assert ids(found) == [3, 4]
    assert found.columns == ["id", "y", "available_at"]


def test_labels_without_a_time_all_come_and_are_dated_by_the_horizon(tmp_path):
    rows().with_columns(y=1).write_parquet(tmp_path / "f.parquet")
    project = project_in(tmp_path, {"uri": "f.parquet"}, {"uri": "f.parquet", "horizon": "2d"})
    found = load_feedback(project, Hooks(), T0, T0)
    assert found["available_at"].null_count() == 10
    inputs = load_inputs(project, Hooks(), None, T0 + 5 * DAY).with_columns(pl.col("id").cast(pl.String))
    dated = date_labels(found, inputs, project)
    assert dated["available_at"].to_list()[:6] == [T0 + (i + 2) * DAY for i in range(5)] + [None]


def test_the_span_tells_the_ends(tmp_path):
    rows().with_columns(y=1, known=pl.col("at") + 3 * DAY).write_parquet(tmp_path / "f.parquet")
    project = project_in(tmp_path, {"uri": "f.parquet"}, {"uri": "f.parquet", "known_at": "known"})
    found = span(project, Hooks())
    assert (found.first, found.last_input_available, found.last_label_available, found.input_rows) == (
        T0, T0 + 9 * DAY, T0 + 12 * DAY, 10,
    )  # fmt: skip


def told(project: Project, hooks: Hooks | None = None) -> str:
    with pytest.raises((DataError, ProjectError)) as caught:
        load_inputs(project, hooks or Hooks(), None, T0 + 99 * DAY)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_cannot_be_read_are_told_in_one_line(tmp_path):
    whole = tmp_path / "whole.parquet"
    rows(1000).write_parquet(whole)
    (tmp_path / "half.parquet").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "empty.csv").touch()
    (tmp_path / "semi.csv").write_text("id;at;x;c\n1;2020-01-01;1;a\n")
    (tmp_path / "ragged.csv").write_text("id,at,x,c\n1,2020-01-01,1,a,9\n")
    expected = {
        "none.csv": "none.csv: no such file", "*.nothing": "no file matches", "half.parquet": "not a whole Parquet",
        "empty.csv": "the file is empty", "semi.csv": "separated by ';'", "ragged.csv": "more values than the header",
    }  # fmt: skip
    for uri, words in expected.items():
        assert words in told(project_in(tmp_path, {"uri": uri}))


def test_missing_columns_name_the_nearest_one(tmp_path):
    rows().write_parquet(tmp_path / "i.parquet")
    message = told(project_in(tmp_path, {"uri": "i.parquet"}, key="idd", numeric=["x", "zzz"]))
    assert "not in the data: 'idd' (did you mean 'id'?), 'zzz'" in message
    project = project_in(tmp_path, feedback={"uri": "i.parquet", "known_at": "known_at"}, target="x", numeric=["y"])
    with pytest.raises(DataError, match="known_at"):
        load_feedback(project, Hooks(), None, T0)


def test_times_without_a_zone_need_one(tmp_path):
    rows().with_columns(pl.col("at").dt.replace_time_zone(None)).write_parquet(tmp_path / "i.parquet")
    rows().with_columns(pl.col("at").dt.replace_time_zone(None)).write_csv(tmp_path / "i.csv")
    epoch = rows().with_columns(pl.col("at").dt.epoch("s"))
    epoch.write_parquet(tmp_path / "epoch.parquet")
    epoch.write_csv(tmp_path / "epoch.csv")
    for uri in ("i.parquet", "i.csv"):
        assert "times without a zone" in told(project_in(tmp_path, {"uri": uri}, timezone=None))
    for uri in ("epoch.parquet", "epoch.csv"):
        assert "holds numbers; expected times" in told(project_in(tmp_path, {"uri": uri}))


def test_databases_that_fail_are_told_without_the_password(tmp_path):
    sqlite3.connect(tmp_path / "base.db").close()
    assert "no such table: nope" in told(project_in(tmp_path, {"uri": "sqlite:///base.db", "table": "nope"}))
    assert "no such SQLite file" in told(project_in(tmp_path, {"uri": "sqlite:///none.db", "table": "t"}))
    message = told(project_in(tmp_path, {"uri": "postgresql+psycopg://u:secret@127.0.0.1:1/b", "table": "t"}))
    assert "secret" not in message and "127.0.0.1" in message
    assert "needs a table or a query" in told(project_in(tmp_path, {"uri": "sqlite:///base.db"}))


def test_hooks_that_fail_are_told_in_one_line(tmp_path):
    def broken(folder, until):
        raise KeyError("gone")

    assert "load_inputs failed" in told(project_in(tmp_path), Hooks(load_inputs=broken))
    assert "returned int" in told(project_in(tmp_path), Hooks(load_inputs=lambda folder, until: 3))
    assert "no uri, and hooks.py has no load_inputs" in told(project_in(tmp_path))
