"""The benchmark of policies runs as its page says, on streams that are the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from programs import load_streams, run_on_streams


@pytest.fixture(scope="module")
def streams() -> Any:
    return load_streams()


def labels(streams: Any, generator: str, kind: str, rows: int = 900) -> np.ndarray:
    return np.array([str(drawn) for drawn in streams.draw(generator, kind, 3, rows, rows // 3)])


@pytest.mark.parametrize("generator", ["sea", "agrawal", "hyperplane", "rbf"])
def test_a_stream_is_the_same_each_time_and_changes_only_after_the_start(streams: Any, generator: str) -> None:
    still, abrupt = labels(streams, generator, "still"), labels(streams, generator, "abrupt")
    assert (labels(streams, generator, "abrupt") == abrupt).all()
    assert (still[:500] == abrupt[:500]).all()
    assert (still[500:] != abrupt[500:]).mean() > 0.9


def test_a_label_is_known_at_the_end_of_its_tick_and_in_the_history_at_once(streams: Any, tmp_path: Path) -> None:
    folder = streams.lay_out(tmp_path / "p", "agrawal", "still", 0, 2, 10)
    both = pl.read_parquet(folder / "inputs.parquet").join(pl.read_parquet(folder / "feedback.parquet"), on="id")
    later = both.filter(pl.col("at") >= streams.START)
    assert both.schema["car"] == pl.String and later.height == 20
    assert (later["known_at"] == later["at"].dt.truncate("1d") + streams.DAY).all()
    assert (both["known_at"] == both["at"]).sum() == streams.HISTORY * 10


def test_the_benchmark_prints_its_tables(tmp_path: Path) -> None:
    small = [
        "--seeds",
        "1",
        "--ticks",
        "12",
        "--rows",
        "60",
        "--generator",
        "rbf",
        "--kind",
        "gradual",
        "--kind",
        "still",
    ]
    printed, found = run_on_streams("policies", tmp_path, *small)
    assert "| no drift | gain over never, median | least | C, median |" in printed
    assert "adaptive_random_forest" in printed and "Recommended: " in printed
    assert [(each["generator"], each["kind"]) for each in found] == [("rbf", "gradual"), ("rbf", "still")]
