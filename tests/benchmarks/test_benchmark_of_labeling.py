"""The benchmark of labeling runs as its page says, and measures what it says."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def labeling() -> Any:
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("labeling")
    finally:
        sys.path.remove(folder)


def test_the_share_needed_is_where_chosen_rows_reach_what_random_ones_end_with(labeling: Any) -> None:
    steps, seeds = np.array([100, 200, 300, 400]), np.arange(2)
    curves = {"random": np.array([[0.5, 0.6, 0.7, 0.8]] * 2), "chosen": np.array([[0.5, 0.7, 0.9, 0.9]] * 2)}
    assert labeling.share_needed(curves, steps, seeds) == pytest.approx(250 / 400)
    assert labeling.share_needed({**curves, "chosen": curves["random"] - 0.1}, steps, seeds) == 1.0
    assert labeling.share_needed({**curves, "chosen": curves["random"] + 0.5}, steps, seeds) == 0.25


def test_flips_are_as_many_as_was_said_and_each_to_another_class(labeling: Any) -> None:
    labels = np.repeat(["a", "b", "c"], 200)
    told, wrong = labeling.flip(labels, 0.05, np.random.default_rng(0))
    assert wrong.sum() == 30 and ((told != labels) == wrong).all()
    assert labeling.recall(wrong, wrong) == 1 and labeling.recall(~wrong, wrong) == 0


def test_the_majority_is_the_commonest_answer_and_a_tie_goes_by_chance(labeling: Any) -> None:
    told = np.array([["a", "a"] * 50, ["a", "b"] * 50, ["b", "b"] * 50])
    assert (labeling.vote_majority(told, ["a", "b"], np.random.default_rng(0)) == ["a", "b"] * 50).all()
    tie = labeling.vote_majority(told[[0, 2]], ["a", "b"], np.random.default_rng(0))
    assert 30 < (tie == "a").sum() < 70


def test_choosing_from_many_rows_is_measured(labeling: Any) -> None:
    told = labeling.measure_scale(20_000, 50)
    assert "| 50 of 20,000, 20 columns |" in told


def test_memory_inside_a_block_is_seen(labeling: Any) -> None:
    with labeling.Peak() as peak:
        held = np.ones(20_000_000)
        del held
    assert peak.above > 100e6


def test_the_benchmark_prints_its_tables_and_draws_its_picture(tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    command = [sys.executable, "benchmarks/labeling.py", "--seeds", "1", "--picture", str(picture), "digits", "crowd"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| digits: labels | accuracy, at random | accuracy, chosen |" in done.stdout
    assert "Share of the budget needed: 0." in done.stdout and "| crowdlab, turn 2 | 0.99" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
