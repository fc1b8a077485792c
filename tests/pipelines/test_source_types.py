"""What holds for every source type, and for one that a package adds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from added_packages import installed_package
from typer.testing import CliRunner

from homeostat.console.main import app
from homeostat.errors import DataError
from homeostat.hooks import Hooks
from homeostat.pipelines.data.source_types import SOURCE_TYPES, open_address
from homeostat.pipelines.data.sources import load_inputs
from homeostat.pipelines.data.tables import FrameTable
from homeostat.project import Project
from homeostat.sections.data import Source

T0 = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class JsonLines:
    """Files with a JSON object a line, as a package would add them."""

    def takes(self, uri: str) -> bool:
        return uri.endswith(".jsonl")

    def open(self, source: Source, folder: Path) -> FrameTable:
        file = folder / str(source.uri)
        frame = pl.scan_ndjson(file)
        return FrameTable(str(file), frame, frame.collect_schema())


PACKAGE = """
from pathlib import Path
import polars as pl
from homeostat.pipelines.data.source_types import SOURCE_TYPES
from homeostat.pipelines.data.tables import FrameTable

@SOURCE_TYPES.register("json lines")
class JsonLines:
    @staticmethod
    def takes(uri):
        return uri.endswith(".jsonl")

    @staticmethod
    def open(source, folder):
        frame = pl.scan_ndjson(folder / source.uri)
        return FrameTable(source.uri, frame, frame.collect_schema())
"""


def write_csv(frame: pl.DataFrame, folder: Path) -> Source:
    frame.write_csv(folder / "rows.csv")
    return Source(uri="rows.csv")


def write_tsv(frame: pl.DataFrame, folder: Path) -> Source:
    frame.write_csv(folder / "rows.tsv", separator="\t")
    return Source(uri="rows.tsv")


def write_parquet(frame: pl.DataFrame, folder: Path) -> Source:
    frame.write_parquet(folder / "rows.parquet")
    return Source(uri=f"file://{folder / 'rows.parquet'}")


def write_folder(frame: pl.DataFrame, folder: Path) -> Source:
    (folder / "parts").mkdir()
    for i in range(0, frame.height, 3):
        frame[i : i + 3].write_parquet(folder / "parts" / f"{i}.parquet")
    return Source(uri="parts")


def write_sqlite(frame: pl.DataFrame, folder: Path) -> Source:
    with sqlite3.connect(folder / "base.db") as base:
        columns = ", ".join(f'"{name}"' for name in frame.columns)
        base.execute(f"create table t ({columns})")
        base.executemany(f"insert into t values ({', '.join('?' * frame.width)})", frame.rows())
    return Source(uri="sqlite:///base.db", table="t")


def write_query(frame: pl.DataFrame, folder: Path) -> Source:
    write_sqlite(frame, folder)
    return Source(uri="sqlite:///base.db", query="select * from t")


def write_json_lines(frame: pl.DataFrame, folder: Path) -> Source:
    frame.write_ndjson(folder / "rows.jsonl")
    return Source(uri="rows.jsonl")


WRITERS: dict[str, Callable[[pl.DataFrame, Path], Source]] = {
    "csv": write_csv,
    "tsv": write_tsv,
    "parquet": write_parquet,
    "folder": write_folder,
    "table": write_sqlite,
    "query": write_query,
    "json lines": write_json_lines,
}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest) -> Iterator[Callable[[pl.DataFrame, Path], Source]]:
    """How rows come to lie where a source of each type finds them."""
    if request.param == "json lines":
        SOURCE_TYPES.add("json lines", JsonLines())
    yield WRITERS[request.param]
    if request.param == "json lines":
        SOURCE_TYPES.remove("json lines")


def rows(count: int = 10) -> pl.DataFrame:
    at = [f"{T0 + i * DAY:%Y-%m-%dT%H:%M:%SZ}" for i in range(count)]
    x, c = [i / 2 for i in range(count)], ["a", "b"] * (count // 2)
    return pl.DataFrame({"id": range(count), "at": at, "x": x, "c": c})


def project_of(source: Source, folder: Path, **data: object) -> Project:
    stated = {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"], "categorical": ["c"], **data}
    return Project.model_validate(
        {
            "folder": folder,
            "project": {"name": "p", "task": "binary"},
            "data": {**stated, "inputs": source.model_dump()},
            "loop": {"tick": "1d", "start": "2020-01-05"},
        }
    )


def message_of(project: Project) -> str:
    with pytest.raises(DataError) as raised:
        load_inputs(project, Hooks(), None, T0 + 99 * DAY)
    message = str(raised.value)
    assert "\n" not in message and "Traceback" not in message
    return message


def test_a_slice_comes_in_the_order_of_its_times_without_its_end(write, tmp_path):
    source = write(rows().sample(fraction=1, shuffle=True, seed=1), tmp_path)
    frame = load_inputs(project_of(source, tmp_path), Hooks(), T0 + 2 * DAY, T0 + 5 * DAY)
    assert frame["id"].to_list() == [2, 3, 4]
    assert frame["x"].cast(pl.Float64).to_list() == [1.0, 1.5, 2.0]
    assert frame["c"].to_list() == ["a", "b", "a"]


def test_a_bound_on_time_leaves_rows_out_where_they_lie(write, tmp_path):
    table = open_address(write(rows(60), tmp_path), tmp_path)
    count = table.read(["id"], "at", T0 + 50 * DAY, T0 + 55 * DAY).height
    assert 5 <= count < 60


def test_a_column_that_is_not_there_is_named_with_the_nearest(write, tmp_path):
    message = message_of(project_of(write(rows(), tmp_path), tmp_path, numeric=["xx"], categorical=["at "]))
    assert "columns that are not in the data" in message and "did you mean 'at'?" in message


def test_a_source_that_is_not_there_is_one_line(write, tmp_path):
    source = write(rows(), tmp_path)
    gone = source.model_copy(update={"uri": str(source.uri).replace("rows.", "gone.").replace("base", "gone")})
    gone = gone.model_copy(update={"uri": str(gone.uri).replace("parts", "gone")})
    assert "gone" in message_of(project_of(gone, tmp_path))


def test_a_source_that_is_broken_is_one_line(write, tmp_path):
    source = write(rows(), tmp_path)
    for file in [file for file in tmp_path.rglob("*") if file.is_file()]:
        file.write_bytes(b"\x00\x01 no rows \xff" * 40)
    assert message_of(project_of(source, tmp_path))


def test_a_project_is_made_and_checked_from_a_source_type_that_a_package_adds(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    labelled = rows(400).with_columns(y=pl.col("id") % 2)
    labelled.write_ndjson(folder / "rows.jsonl")
    run = CliRunner()
    with installed_package(tmp_path / "site", PACKAGE):
        made = run.invoke(app, ["init", str(folder / "rows.jsonl"), str(folder)])
        checked = run.invoke(app, ["check", str(folder), "--json"])
        SOURCE_TYPES.remove("json lines")
    assert made.exit_code == 0, made.output
    assert checked.exit_code == 0, checked.output
    assert ["ok", "data.inputs", "400 rows are sound"] in json.loads(checked.stdout)["findings"]


def test_a_check_names_the_key_of_a_part_that_no_package_adds(tmp_path):
    rows(400).with_columns(y=pl.col("id") % 2).write_csv(tmp_path / "rows.csv")
    run = CliRunner()
    run.invoke(app, ["init", str(tmp_path / "rows.csv")])
    for key, value in (("labeling", 'backend = "consul"'), ("monitoring", 'numeric_drift = "consul"')):
        file = tmp_path / "homeostat.toml"
        text = file.read_text()
        file.write_text(f"{text}\n[{key}]\n{value}\n")
        checked = run.invoke(app, ["check", str(tmp_path)])
        assert f"{key}.{value.split()[0]}: there is no" in str(checked.exception), checked.output
        file.write_text(text)
