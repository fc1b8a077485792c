"""What two releases made of the same data is compared key by key, and every difference is told."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from programs import ROOT

Change = Callable[[list[Any], list[Any]], None]
Compare = Callable[..., tuple[int, str]]
PREDICTIONS: list[dict[str, Any]] = [
    {
        "id": f"r{i}",
        "event_at": f"2020-01-07T0{i}:00:00Z",
        "batch": "2020-01-08T00:00:00Z",
        "model_version": 1,
        "role": role,
        "prediction": i % 2,
        "score": i / 7,
    }
    for i in range(8)
    for role in ("champion", "baseline")
]
DECISIONS: list[dict[str, Any]] = [
    {"tick": "2020-01-08T00:00:00Z", "stage": "alarm", "kind": "quiet", "model_version": 1, "evidence": "{}"},
    {"tick": "2020-01-08T00:00:00Z", "stage": "retraining", "kind": "wait", "model_version": None, "evidence": "{}"},
    {"tick": "2020-01-09T00:00:00Z", "stage": "retraining", "kind": "refresh", "model_version": 1, "evidence": "{}"},
]


def write(folder: Path, predictions: list[dict[str, Any]], decisions: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    pl.DataFrame(predictions).write_parquet(folder / "sea.predictions.parquet")
    (folder / "sea.decisions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in decisions))
    return folder


@pytest.fixture(scope="module")
def program() -> Any:
    """The benchmark's module."""
    spec = importlib.util.spec_from_file_location("same_decisions", ROOT / "benchmarks" / "same_decisions.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["same_decisions"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def compare(program: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Compares the rows above with what a change leaves of them: the exit code, and what is printed."""

    def run(change: Change, *words: str) -> tuple[int, str]:
        predictions, decisions = [dict(row) for row in PREDICTIONS], [dict(row) for row in DECISIONS]
        change(predictions, decisions)
        folders = write(tmp_path / "before", PREDICTIONS, DECISIONS), write(tmp_path / "after", predictions, decisions)
        return program.main(["compare", *map(str, folders), *words]), capsys.readouterr().out

    return run


def set_score(predictions: list[Any], decisions: list[Any]) -> None:
    predictions[5]["score"] += 1e-16


def rename_kind(predictions: list[Any], decisions: list[Any]) -> None:
    decisions[2]["kind"] = "update"


def change_evidence(predictions: list[Any], decisions: list[Any]) -> None:
    predictions.reverse()
    decisions[0]["evidence"] = '{"more": 1}'


def drop_and_add(predictions: list[Any], decisions: list[Any]) -> None:
    predictions[0]["id"] = "r9"
    decisions[0]["tick"] = "2020-01-10T00:00:00Z"


def score_with_another_version(predictions: list[Any], decisions: list[Any]) -> None:
    for row in predictions:
        row["model_version"] = 2


@pytest.mark.parametrize(
    ("change", "words", "code", "told"),
    [
        (change_evidence, [], 0, ["sea.predictions.parquet: 16 rows, all the same", "3 rows, all the same"]),
        (set_score, [], 1, ["0 missing, 0 added, 1 changed", "0.2857142857142857, 'event_at after'"]),
        (score_with_another_version, [], 1, ["0 missing, 0 added, 16 changed"]),
        (drop_and_add, [], 1, ["17 rows, 1 missing, 1 added, 0 changed", "4 rows, 1 missing, 1 added, 0 changed"]),
        (rename_kind, [], 1, ["3 rows, 0 missing, 0 added, 1 changed", "'kind': 'refresh'", "'kind after': 'update'"]),
        (rename_kind, ["--renamed", "refresh=update"], 0, ["3 rows, all the same"]),
        (rename_kind, ["--renamed", "wait=update"], 1, ["0 missing, 0 added, 2 changed"]),
    ],
)
def test_every_difference_is_told_and_only_differences(
    compare: Compare, change: Change, words: list[str], code: int, told: list[str]
) -> None:
    ended, printed = compare(change, *words)
    assert ended == code, printed
    for part in told:
        assert part in printed


def test_no_more_than_five_differences_of_a_kind_are_printed(compare: Compare) -> None:
    _, printed = compare(score_with_another_version)
    assert printed.count("  changed: ") == 5


def test_exports_that_only_one_side_has_are_no_comparison(program: Any, tmp_path: Path) -> None:
    before, after = write(tmp_path / "a", PREDICTIONS, DECISIONS), write(tmp_path / "b", PREDICTIONS, DECISIONS)
    (after / "sea.decisions.jsonl").unlink()
    with pytest.raises(SystemExit, match=r"sea\.decisions\.jsonl: only in one of"):
        program.main(["compare", str(before), str(after)])
