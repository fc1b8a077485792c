"""Each mistake is one clear line and exit code 2, and nothing that was there is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import shells
from shells import Answer, copy_of, remembered, warm

Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shells.lived(tmp_path_factory)


@pytest.fixture(scope="module")
def csv_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shells.lived(tmp_path_factory, csv=True)


def assert_one_line(answer: Answer, *words: str) -> None:
    assert answer.code == 2, answer
    assert len(answer.told) == 1, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def assert_refused(folder: Path, *words: str, commands: tuple[str, ...] = ("check", "replay", "ingest")) -> None:
    """Every command says it in one line, and what the project remembers stays as it is."""
    before = remembered(folder)
    for command in commands:
        assert_one_line(warm(command, folder, *(["--no-prefect"] if command == "replay" else [])), *words)
    assert remembered(folder) == before


def change(file: Path, how: Change) -> None:
    how(pl.read_parquet(file)).write_parquet(file)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("name", ["inputs", "feedback"])
def test_a_source_that_is_not_there(base: Path, tmp_path: Path, name: str) -> None:
    folder = copy_of(base, tmp_path / "p")
    (folder / f"{name}.parquet").unlink()
    stage = {"inputs": "ingest", "feedback": "feedback"}[name]
    assert_refused(folder, f"{name}.parquet: no such file", commands=("check", "replay", stage))


def test_a_csv_with_another_delimiter(csv_base: Path, tmp_path: Path) -> None:
    folder = copy_of(csv_base, tmp_path / "p")
    file = folder / "inputs.csv"
    file.write_text(file.read_text().replace(",", ";"))
    assert_refused(folder, "inputs.csv", "separated by ';' where ',' was expected")
    assert_one_line(warm("init", file, tmp_path / "new"), "inputs.csv", "separated by ';'")


def test_an_empty_file(csv_base: Path, tmp_path: Path) -> None:
    folder = copy_of(csv_base, tmp_path / "p")
    (folder / "inputs.csv").write_text("")
    assert_refused(folder, "inputs.csv: the file is empty")
    assert_one_line(warm("init", folder / "inputs.csv", tmp_path / "new"), "the file is empty")


def test_a_file_with_nothing_but_a_header(csv_base: Path, tmp_path: Path) -> None:
    folder = copy_of(csv_base, tmp_path / "p")
    (folder / "inputs.csv").write_text("id,at,x\n")
    assert_refused(folder, "data.inputs: it holds no rows", commands=("check", "replay"))


@pytest.mark.parametrize("name", ["inputs", "feedback"])
def test_a_parquet_cut_in_half(base: Path, tmp_path: Path, name: str) -> None:
    folder = copy_of(base, tmp_path / "p")
    cut(folder / f"{name}.parquet")
    stage = {"inputs": "ingest", "feedback": "feedback"}[name]
    assert_refused(folder, f"{name}.parquet: not a whole Parquet file", commands=("check", "replay", stage))


def test_a_missing_key_column(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "p")
    change(folder / "inputs.parquet", lambda rows: rows.rename({"id": "ident"}))
    assert_refused(folder, "inputs.parquet", "not in the data: 'id'", "It has: ident, at, x")


def test_a_key_that_comes_twice_with_different_contents(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "p")
    twice = pl.col("id") + 10_000
    change(folder / "inputs.parquet", lambda rows: pl.concat(
        [rows, *(rows.tail(2).with_columns(id=twice, x=pl.lit(value)) for value in (1.0, 2.0))]))  # fmt: skip
    assert_refused(folder, "2 keys come more than once with different contents", commands=("check", "replay"))
    assert_one_line(warm("ingest", folder), "duplicate_key: 4", "nothing is lost")
    rows = json.loads(warm("quarantine", "list", folder, "--json").out)
    assert sorted(row["rule"] for row in rows) == ["duplicate_key"] * 4 + ["range:x"]


def test_a_label_that_comes_twice_with_different_contents(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "p")
    change(folder / "feedback.parquet", lambda rows: pl.concat([rows, rows.tail(2).with_columns(y=1 - pl.col("y"))]))
    assert_refused(folder, "2 keys come more than once with different labels", commands=("check", "replay"))
    assert_one_line(warm("feedback", folder), "4 broke 'duplicate_key'", "nothing is lost")


def test_labels_of_keys_that_were_never_seen(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "p")
    strangers = pl.col("id") + 10_000
    change(folder / "feedback.parquet", lambda rows: pl.concat([rows, rows.tail(3).with_columns(id=strangers)]))
    assert_refused(folder, "3 labels have a key that is not among the inputs", commands=("check", "replay"))
    assert_one_line(warm("feedback", folder), "broke 'unknown_key'", "nothing is lost")
    rows = json.loads(warm("quarantine", "list", folder, "--rule", "unknown_key", "--json").out)
    assert sorted(json.loads(row["row"])["id"] for row in rows) == [7, 10_597, 10_598, 10_599]  # 7 is in quarantine


def test_labels_before_any_input(tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "p")
    assert_one_line(warm("feedback", folder), "no inputs have come yet", "homeostat ingest")


def test_a_label_outside_of_the_known_classes(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "p")
    odd = pl.when(pl.col("id") == 400).then(7).otherwise("y")
    change(folder / "feedback.parquet", lambda rows: rows.with_columns(y=odd))
    assert_refused(folder, "1 labels are outside of the classes", "7", commands=("check", "replay"))
    assert_one_line(warm("feedback", folder), "1 broke 'class', as '400'", "nothing is lost")


def test_a_project_file_with_a_typo(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "p")
    file = folder / "homeostat.toml"
    file.write_text(file.read_text().replace("target =", "taget ="))
    everything = ("check", "replay", "ingest", "feedback", "tick", "status", "alerts", "journal", "up")
    assert_refused(folder, "homeostat.toml: data.taget", "Did you mean 'target'?", commands=everything)


def test_times_without_a_zone_where_the_project_names_none(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "p")
    change(folder / "inputs.parquet", lambda rows: rows.with_columns(pl.col("at").dt.replace_time_zone(None)))
    assert_refused(folder, "column 'at' holds times without a zone", "Set data.timezone")


def test_what_the_hint_of_a_first_mistake_says_is_no_change_of_a_project_that_began(tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "p")
    change(folder / "inputs.parquet", lambda rows: rows.with_columns(pl.col("at").dt.replace_time_zone(None)))
    assert_one_line(warm("replay", folder, "--no-prefect"), "Set data.timezone")
    file = folder / "homeostat.toml"
    file.write_text(file.read_text().replace('key = "id"', 'key = "id"\ntimezone = "UTC"'))
    assert warm("replay", folder, "--no-prefect", "--until", "2020-01-07").code == 0


def test_a_hook_that_does_not_import(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "p")
    (folder / "hooks.py").write_text("def build_features(frame:\n")
    assert_refused(folder, "hooks.py", "SyntaxError")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("header.csv", b"id,at,y\n", "it holds no rows"),
        ("latin.csv", "id,at,name,y\n1,2020-01-01T00:00Z,Müller,0\n".encode("latin-1"), "utf-8"),
        ("nokey.csv", b"at,x,y\n2020-01-01,3,0\n2020-01-02,3,0\n", "no column is unique in every row"),
        ("notime.csv", b"id,x,y\n1,3,0\n2,4,1\n", "no column holds times"),
        ("ragged.csv", b"id,at,y\n1,2020-01-01,3,0\n", "more values than the header"),
        ("half.parquet", b"PAR1 and no end", "not a whole Parquet file"),
    ],
)
def test_a_file_no_project_can_be_made_of(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert_one_line(warm("init", tmp_path / name), name, words)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_init_of_no_file_names_it_and_an_existing_project_stays(tmp_path: Path) -> None:
    assert_one_line(warm("init", tmp_path / "no.csv"), "no.csv: no such file")
    folder = shells.small(tmp_path / "p")
    before = (folder / "homeostat.toml").read_bytes()
    assert_one_line(warm("init", folder / "inputs.parquet"), "there is already a project here")
    assert (folder / "homeostat.toml").read_bytes() == before
