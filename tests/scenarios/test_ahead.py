"""Times that lie ahead: which are mistakes, and what a check and a first project file say of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import DAY, PROJECT, START, draw, write

from homeostat.hooks import Hooks
from homeostat.pipelines.data.ahead import LEAST, last_credible
from homeostat.pipelines.setup.guess import guess_project
from homeostat.pipelines.setup.soundness import check_project
from homeostat.project import load_project

FAR = datetime(9999, 12, 31, tzinfo=UTC)
AT = pl.Datetime("us", "UTC")


def times(hours: list[int]) -> pl.Series:
    return pl.Series([START + timedelta(hours=h) for h in hours], dtype=AT)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=LEAST, max_size=LEAST + 20), st.integers(1, 10**6))
def test_one_time_that_lies_further_ahead_than_all_others_span_is_a_mistake(hours: list[int], further: int) -> None:
    span = max(hours) - min(hours)
    far = max(hours) + further
    last = last_credible(times([*hours, far]).shuffle(seed=further))
    assert last == START + timedelta(hours=max(hours) if further > span else far)


def test_many_rows_after_a_long_pause_are_none() -> None:
    hours = [*range(100), *range(9000, 9010)]
    assert last_credible(times(hours)) == START + timedelta(hours=9009)
    assert last_credible(times([])) is None and last_credible(times([1, 10**6])) == START + timedelta(hours=10**6)


def test_check_says_how_far_rows_lie_ahead_and_which_would_never_come(tmp_path: Path) -> None:
    made = draw(40, START - 4 * DAY, 8, seed=1)
    folder = write(tmp_path / "booked", made.with_columns(at=pl.col("at") + 2 * DAY), made)
    found = {(f.level, f.where): f.message for f in check_project(load_project(folder), Hooks())}
    assert "320 of 320 events lie further ahead" in found["warning", "data.inputs.ahead"]
    assert "by up to 2 days" in found["warning", "data.inputs.ahead"]
    text = PROJECT.replace('known_at = "seen_at"', 'known_at = "seen_at"\nahead = "3d"')
    (folder / "homeostat.toml").write_text(text)
    found = {(f.level, f.where): f.message for f in check_project(load_project(folder), Hooks())}
    assert "events lie up to 2 days ahead" in found["ok", "data.inputs.ahead"]
    far = made.with_columns(at=pl.when(pl.col("id") == 7).then(pl.lit(FAR)).otherwise("at"))
    folder = write(tmp_path / "typed", far, made, PROJECT.replace('known_at = "seen_at"\n', ""))
    found = {(f.level, f.where): f.message for f in check_project(load_project(folder), Hooks())}
    assert "1 rows are dated long after all others, as 9999-12-31" in found["warning", "data.inputs.ahead"]


def test_a_first_project_file_allows_what_lies_ahead_by_nature(tmp_path: Path) -> None:
    made = draw(40, START - 4 * DAY, 8, seed=1).select("id", "at", "x", "y")
    booked = made.with_columns(booked=pl.col("at") - pl.duration(hours=pl.col("id") % 480))
    booked.select("id", "at", "booked", "x", "y").write_parquet(tmp_path / "booked.parquet")
    guess = guess_project(tmp_path / "booked.parquet")
    assert 'ahead = "14d"' in guess.toml or 'ahead = "2w"' in guess.toml
    assert any(what == "ahead" and "booked" in why for what, _, why in guess.guesses)
    made.write_parquet(tmp_path / "plain.parquet")
    assert "ahead" not in guess_project(tmp_path / "plain.parquet", now=START + 30 * DAY).toml
    assert 'ahead = "5d"' in guess_project(tmp_path / "plain.parquet", now=START - DAY).toml
