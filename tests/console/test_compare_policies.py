"""The backtest as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shells import small, warm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("backtest") / "p", days=5)


def test_a_table_and_a_recommendation_are_told_and_nothing_is_written(folder: Path) -> None:
    before = (folder / "homeostat.toml").read_bytes()
    answer = warm("backtest", folder, "--policy", "periodic_4")
    assert (answer.code, answer.err) == (0, "")
    assert "Policy      Metric  Gain" in answer.out and "periodic_4  0." in answer.out
    assert "Recommended" in answer.out and "report.html" in answer.out
    assert (folder / "homeostat.toml").read_bytes() == before


def test_the_recommendation_is_written_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = small(tmp_path / "p", days=5)
    before = (folder / "homeostat.toml").read_text()
    answer = warm("backtest", folder, "--policy", "never", "--write", "--json")
    said = json.loads(answer.out)
    after = (folder / "homeostat.toml").read_text()
    assert (answer.code, said["written"]) == (0, True)
    assert after.startswith(before) and f'policy = "{said["recommended"]["setting"]["policy"]}"' in after
    assert not json.loads(warm("backtest", folder, "--policy", "never", "--write", "--json").out)["written"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--policy", "sometimes"), "--policy 'sometimes': no such policy. Known: never,"),
        (("--until", "soon"), "--until 'soon': not a time."),
        (("--until", "2019-01-01"), "before the loop starts"),
        (("--until", "2020-01-07"), "no batch comes after the first model"),
    ],
)
def test_wrong_use_is_one_line(folder: Path, args: tuple[str, ...], told: str) -> None:
    answer = warm("backtest", folder, *args)
    assert (answer.code, answer.out, len(answer.told)) == (2, "", 1)
    assert told in answer.err


def test_a_folder_that_is_no_project_is_one_line(tmp_path: Path) -> None:
    answer = warm("backtest", tmp_path)
    assert (answer.code, len(answer.told)) == (2, 1)
    assert "no such project file" in answer.err
