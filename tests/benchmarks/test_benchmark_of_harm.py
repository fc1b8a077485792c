"""The benchmark of harm runs as its page says, on streams that turn before their labels come."""

from __future__ import annotations

from datetime import timedelta
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from programs import load_streams, run_on_streams

from homeostat.project import load_project


@pytest.fixture(scope="module")
def streams() -> Any:
    return load_streams()


def rulers(streams: Any, monkeypatch: pytest.MonkeyPatch, *, mixed: bool) -> np.ndarray:
    """Which concept each row of a stream is of: (ticks of history and after it, rows)."""
    monkeypatch.setattr(streams, "_concepts", lambda *asked: [repeat((i, 0)) for i in range(3)])
    drawn = [ruler for ruler, _ in streams.draw_turning("sea", 5, 1, 20, 30, mixed=mixed)]
    return np.array(drawn).reshape(streams.HISTORY + 20, 30)


def test_after_the_history_another_concept_rules_every_few_ticks(streams: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed, one = (rulers(streams, monkeypatch, mixed=mixed) for mixed in (True, False))
    assert set(mixed[: streams.HISTORY].flat) == {0, 1, 2}
    assert set(one[: streams.HISTORY].flat) == {0}
    for drawn in (mixed, one):
        after = drawn[streams.HISTORY :]
        assert (after == after[:, :1]).all()
        turns = np.flatnonzero(np.diff(after[:, 0])) + 1
        assert turns.tolist() == [5, 10, 15]


def test_a_label_comes_late_and_within_the_horizon(streams: Any, tmp_path: Path) -> None:
    folder = streams.lay_out_turning(tmp_path / "p", "agrawal", 5, 0, 3, 10)
    both = pl.read_parquet(folder / "inputs.parquet").join(pl.read_parquet(folder / "feedback.parquet"), on="id")
    later = both.filter(pl.col("at") >= streams.START)
    assert later.height == 30 and (both["known_at"] == both["at"]).sum() == streams.HISTORY * 10
    assert (later["known_at"] == later["at"].dt.truncate("1d") + (1 + streams.LATE) * streams.DAY).all()
    assert load_project(folder).data.feedback.horizon == timedelta(days=streams.LATE + 5)


def test_the_benchmark_prints_its_tables(tmp_path: Path) -> None:
    small = ["--seeds", "1", "--ticks", "24", "--rows", "60", "--generator", "sea", "--every", "5"]
    printed, found = run_on_streams("harm", tmp_path, *small)
    assert "| history: one | turns every | streams | every_tick, median (least) |" in printed
    assert "| mixed | forecast | 1 |" in printed and "The worst of forecast: " in printed
    assert [(each["generator"], each["every"], each["history"]) for each in found] == [
        ("sea", 5, "mixed"),
        ("sea", 5, "one"),
    ]
    assert {each["policy"] for each in found[0]["policies"]} == {"never", "every_tick", "every_tick_6", "forecast"}
