"""The flights example: each flight once, nothing before its time, the truth the morning after."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from homeostat.hooks import Hooks, import_source, load_hooks
from homeostat.project import Project, load_project

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "flights"
NEW_YORK = ZoneInfo("America/New_York")
MIDSUMMER = datetime(2013, 6, 24, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project(FOLDER)


@pytest.fixture(scope="module")
def hooks() -> Hooks:
    return load_hooks(FOLDER)


@pytest.fixture(scope="module")
def inputs(hooks: Hooks) -> pl.DataFrame:
    assert hooks.load_inputs is not None
    return hooks.load_inputs(FOLDER, None)


@pytest.fixture(scope="module")
def feedback(hooks: Hooks) -> pl.DataFrame:
    assert hooks.load_feedback is not None
    return hooks.load_feedback(FOLDER, None)


def raw_file(name: str, columns: list[str]) -> pl.DataFrame:
    file = FOLDER / "hooks.py"
    module = import_source(file, file.read_text(encoding="utf-8"))
    schema = {"flights.csv.zip": module.FLIGHTS, "weather.csv": module.OBSERVATIONS}[name]
    return module._read(name, {column: schema[column] for column in columns})


def test_every_flight_of_the_year_is_there_once(inputs: pl.DataFrame) -> None:
    assert inputs.height == inputs["id"].n_unique() == 336_776


def test_the_frames_have_the_columns_the_project_names(
    project: Project, inputs: pl.DataFrame, feedback: pl.DataFrame
) -> None:
    assert set(inputs.columns) == {"id", "scheduled_at", "known_at", *project.data.columns}
    assert feedback.columns == ["id", "late", "known_at"]


def test_the_loop_ticks_weekly_from_the_first_of_march(project: Project) -> None:
    assert project.start_at == datetime(2013, 3, 1, tzinfo=NEW_YORK)
    assert project.loop.tick == timedelta(days=7)


def test_a_flight_is_known_an_hour_before_scheduled_departure(inputs: pl.DataFrame) -> None:
    row = inputs.row(0, named=True)
    assert row["id"] == "20130101-UA-1545-EWR-0515"
    assert row["scheduled_at"] == datetime(2013, 1, 1, 5, 15, tzinfo=NEW_YORK)
    assert (inputs["scheduled_at"] - inputs["known_at"]).unique().to_list() == [timedelta(hours=1)]


def test_the_weather_is_the_last_hour_that_was_over_when_the_flight_is_known(inputs: pl.DataFrame) -> None:
    weather = raw_file("weather.csv", ["origin", "time_hour", "temp", "pressure"])
    for flight in inputs.filter(pl.col("temp").is_not_null()).sample(60, seed=3).iter_rows(named=True):
        over = (pl.col("time_hour") + pl.duration(hours=1)) <= flight["known_at"]
        last = weather.filter(pl.col("origin") == flight["origin"], over).sort("time_hour").row(-1, named=True)
        assert (last["temp"], last["pressure"]) == (flight["temp"], flight["pressure"])
        assert last["time_hour"] < flight["scheduled_at"] - timedelta(hours=1)


def test_only_flights_that_arrived_get_a_truth(feedback: pl.DataFrame) -> None:
    delays = raw_file("flights.csv.zip", ["arr_delay"])["arr_delay"].drop_nulls()
    assert feedback.height == feedback["id"].n_unique() == len(delays) == 327_346
    assert feedback["late"].sum() == (delays > 15).sum()


def test_the_truth_is_known_at_six_in_the_morning_after_arrival(inputs: pl.DataFrame, feedback: pl.DataFrame) -> None:
    local = feedback["known_at"].dt.convert_time_zone("America/New_York")
    assert local.dt.time().unique().to_list() == [datetime(2013, 1, 1, 6).time()]
    waited = feedback.join(inputs, on="id").select(pl.col("known_at") - pl.col("scheduled_at")).to_series()
    assert waited.is_between(timedelta(hours=6), timedelta(days=2)).all()


def test_until_bounds_what_is_returned(hooks: Hooks, inputs: pl.DataFrame, feedback: pl.DataFrame) -> None:
    assert hooks.load_inputs is not None and hooks.load_feedback is not None
    known = pl.col("known_at") <= MIDSUMMER
    assert_frame_equal(hooks.load_inputs(FOLDER, MIDSUMMER), inputs.filter(known))
    assert_frame_equal(hooks.load_feedback(FOLDER, MIDSUMMER), feedback.filter(known))


def test_features_of_a_batch_of_its_prefix_and_of_single_rows_agree(hooks: Hooks, inputs: pl.DataFrame) -> None:
    assert hooks.build_features is not None
    batch = inputs.drop("known_at").sample(40, seed=1)
    whole = hooks.build_features(batch)
    assert_frame_equal(hooks.build_features(batch.head(11)), whole.head(11))
    assert_frame_equal(pl.concat([hooks.build_features(row) for row in batch.iter_slices(1)]), whole)


def test_no_feature_tells_the_time_of_year(hooks: Hooks, inputs: pl.DataFrame) -> None:
    assert hooks.build_features is not None
    flight = inputs.drop("known_at").filter(pl.col("scheduled_at") < datetime(2013, 2, 1, tzinfo=UTC)).head(20)
    later = flight.with_columns(pl.col("scheduled_at") + pl.duration(days=28))
    assert_frame_equal(hooks.build_features(flight), hooks.build_features(later))
