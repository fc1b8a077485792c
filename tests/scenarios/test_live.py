"""A life of ticks: as its replay was, and what a person can mend in it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import worlds
from worlds import DAY, PROJECT, START, after, assert_same, damaged, draw, live, quiet, shared, snapshot, write

from homeostat.errors import HomeostatError
from homeostat.flows.facts import ALARM
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.operations import manual
from homeostat.flows.queries.status import status
from homeostat.flows.replay.adopt import adopt_replay
from homeostat.flows.replay.run import replay
from homeostat.monitoring.alarm.state import REFERENCE_ROWS
from homeostat.records import Scope

SETTINGS = """
[gates]
min_rows = 30
[monitoring]
min_rows = 30
[retraining]
policy = "never"
"""


def opened(folder: Path, scope: Scope = Scope.LIVE) -> Loop:
    return open_loop(folder, scope)


def scores(loop: Loop, role: str = "champion") -> pl.DataFrame:
    rows = loop.lake.read("predictions", pl.col("role") == role)
    assert rows is not None
    return rows.sort("id", "scored_at")


def versions_by_batch(loop: Loop) -> dict[str, int]:
    return dict(scores(loop).select("batch", "model_version").unique().iter_rows())


def lived(seen: dict[str, Any]) -> dict[str, Any]:
    """What of a snapshot must be the same in life and in a replay."""
    parts = ("batches", "windows", "decisions", "alerts", "journal", "lake.inputs", "lake.quarantine")
    found = {name: seen[name] for name in parts}
    found["predictions"] = [row for row in seen["lake.predictions"] if row["role"] == "champion"]
    found["feedback"] = seen["lake.feedback"]
    return found


def test_ticks_in_life_are_those_of_the_replay(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    clean, _ = worlds.clean_replay(shared(tmp_path_factory.getbasetemp()))
    folder = worlds.eventful(tmp_path / "life")
    for tick in range(worlds.TICKS + 1):
        outcomes = live(folder, after(tick + 0.3))
        assert len(outcomes) == 1
    assert live(folder, after(worlds.TICKS + 0.9)) == []
    assert_same(lived(snapshot(folder, "live")), lived(snapshot(clean)))


def test_life_goes_on_from_an_adopted_replay_and_can_be_rolled_back(tmp_path: Path) -> None:
    whole = worlds.brisk(tmp_path / "whole")
    replay(whole)
    folder = worlds.brisk(tmp_path / "adopted")
    replay(folder, until=after(5))
    adopt_replay(folder)
    with pytest.raises(HomeostatError, match="live state already"):
        adopt_replay(folder)
    replay(folder, until=after(5), fresh=True)  # what life took over is its own
    forget_open_loops()
    assert snapshot(folder, "live")["aliases"] == snapshot(folder)["aliases"]
    live(folder, after(6))
    wanted = scores(opened(whole, Scope.REPLAY)).filter(pl.col("scored_at") <= after(6))
    assert scores(opened(folder)).equals(wanted)

    loop = opened(folder)
    champion, before = loop.version_of("champion"), loop.models.get_alias("previous")
    assert champion != before
    manual.rollback(loop, after(6.5), None, "ann", "it looks odd")
    live(folder, after(7))
    assert versions_by_batch(loop)["2020-01-14T00:00:00Z"] == before


def test_a_damaged_champion_makes_the_batches_wait_and_a_rollback_heals_it(tmp_path: Path) -> None:
    folder = worlds.brisk(tmp_path / "small")
    live(folder, after(4))
    loop = opened(folder)
    champion, before = loop.version_of("champion"), loop.models.get_alias("previous")
    assert champion is not None and before is not None
    with damaged(loop, champion):
        live(folder, after(6))
        loop = opened(folder)
        assert [b.id for b in loop.store.list_batches() if b.state == "validated"] == [
            "2020-01-12T00:00:00Z",
            "2020-01-13T00:00:00Z",
        ]
        told = [a for a in loop.store.list_alerts() if "cannot score" in a.title]
        assert [(a.severity.value, a.title) for a in told] == [("critical", f"version {champion} cannot score")]
        assert not status(loop)["healthy"]
        manual.rollback(loop, after(6.1), None, "ann", "")
        live(folder, after(7))
    waited = versions_by_batch(opened(folder))
    assert [waited[f"2020-01-{day}T00:00:00Z"] for day in (12, 13, 14)] == [before] * 3


@pytest.fixture
def parts() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Inputs and labels of seven days at 60 rows, three of them before the start."""
    made = draw(60, START - 3 * DAY, 7, seed=5)
    return made, made.filter(pl.col("known_at") < START + 4 * DAY)


def batch_of(loop: Loop, key: int) -> list[str]:
    rows = loop.lake.read("predictions", pl.col("id") == key)
    assert rows is not None
    return rows.sort("scored_at")["batch"].to_list()


def test_a_released_row_comes_back_with_the_next_batch_and_its_label_with_it(
    tmp_path: Path, parts: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    inputs, labels = parts
    key = inputs.filter(pl.col("at") > START)["id"][5]
    spoiled = inputs.with_columns(x=pl.when(pl.col("id") == key).then(50.0).otherwise("x"))
    folder = write(tmp_path / "small", spoiled, labels, PROJECT + SETTINGS)
    live(folder, after(1))
    loop = opened(folder)
    found = manual.list_quarantine(loop, None, None, None)
    assert [(row["rule"], row["key"]) for row in found] == [("range:x", str(key))]
    assert manual.release(loop, after(1.5), "ann", [found[0]["row_id"]], None, None) == 1
    live(folder, after(4))
    assert batch_of(loop, key) == ["2020-01-09T00:00:00Z"]
    label = loop.lake.read("feedback", pl.col("id") == key)
    assert label is not None and label.height == 1
    assert scores(loop)["id"].is_unique().all()


def test_a_held_batch_waits_for_a_person_while_the_loop_goes_on(
    tmp_path: Path, parts: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    inputs, labels = parts
    second = (pl.col("at") >= START + DAY) & (pl.col("at") < START + 2 * DAY)
    spoiled = inputs.with_columns(x=pl.when(second & (pl.col("id") % 4 > 0)).then(50.0).otherwise("x"))
    folder = write(tmp_path / "small", spoiled, labels, PROJECT + SETTINGS)
    live(folder, after(3))
    loop = opened(folder)
    assert [b.state.value for b in loop.store.list_batches()] == ["history", "scored", "held", "scored"]
    assert [a.title for a in loop.store.list_alerts() if a.severity == "critical"] == [
        "batch 2020-01-09T00:00:00Z is held"
    ]
    sound = inputs.filter(second & (pl.col("id") % 4 == 0))["id"]
    assert not scores(loop)["id"].is_in(sound.implode()).any()
    assert manual.release(loop, after(3.5), "ann", None, None, "held") == len(sound)
    live(folder, after(4))
    late = scores(loop).filter(pl.col("id").is_in(sound.implode()))
    assert late["id"].to_list() == sound.sort().to_list()
    assert late["batch"].unique().to_list() == ["2020-01-11T00:00:00Z"]


def test_a_corrected_input_is_kept_and_not_scored_again(
    tmp_path: Path, parts: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    inputs, labels = parts
    first = inputs.filter(pl.col("at") > START).head(3)
    corrected = first.with_columns(z=pl.col("z") + 5, seen_at=pl.col("seen_at") + timedelta(hours=30))
    folder = write(tmp_path / "small", pl.concat([inputs, corrected]), labels, PROJECT + SETTINGS)
    live(folder, after(4))
    loop = opened(folder)
    kept = loop.lake.read("inputs", pl.col("id").is_in(first["id"].implode()))
    assert kept is not None
    assert kept.sort("id", "known_at")["_correction"].to_list() == [False, True] * 3
    assert kept.sort("id", "known_at")["z"][1::2].to_list() == corrected["z"].to_list()
    assert all(len(batch_of(loop, key)) == 1 for key in first["id"])


def test_a_corrected_label_opens_its_window_again(tmp_path: Path, parts: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    inputs, labels = parts
    first = (pl.col("at") > START) & (pl.col("at") < START + DAY)
    wrong = labels.filter(first).with_columns(y=1 - pl.col("y"), known_at=START + 3 * DAY + timedelta(hours=5))
    short = PROJECT.replace('horizon = "3d"', 'horizon = "1d"') + SETTINGS
    folder = write(tmp_path / "small", inputs, pl.concat([labels, wrong]), short)
    live(folder, after(3))
    loop = opened(folder)
    window = loop.store.list_windows()[0]
    assert (window.status.value, window.checked_at) == ("final", after(2))
    live(folder, after(4))
    again = loop.store.list_windows()[0]
    assert (again.status.value, again.checked_at, again.labels) == ("final", after(4), window.labels)
    assert window.realized is not None and again.realized == pytest.approx(1 - window.realized)


FOREIGN = """
import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Ours(PythonModel):
    def predict(self, context, model_input, params=None):
        return 1 / (1 + np.exp(-model_input["x"].to_numpy(dtype=float)))


set_model(Ours())
"""


def test_a_project_can_start_with_a_model_made_elsewhere(
    tmp_path: Path, parts: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    import mlflow

    (tmp_path / "ours.py").write_text(FOREIGN)
    mlflow.pyfunc.save_model(tmp_path / "made", python_model=str(tmp_path / "ours.py"), pip_requirements=["mlflow"])
    start = f'base_model = "{(tmp_path / "made").as_uri()}"\n'
    folder = write(tmp_path / "small", *parts, PROJECT + start + SETTINGS.replace("never", "every_tick"))
    live(folder, after(4))
    loop = opened(folder)
    assert next((d.kind, d.model_version) for d in loop.store.list_decisions("promotion")) == ("promote", 1)
    assert loop.store.list_models()[0].family == "adopted"
    first = scores(loop).filter(pl.col("batch") == "2020-01-08T00:00:00Z").join(parts[0], on="id")
    assert first["score"].to_list() == pytest.approx((1 / (1 + (-first["x"]).exp())).to_list())
    assert len(loop.models.list_versions()) > 1
    watch = loop.store.get_fact(ALARM.of(1))
    assert watch is not None
    (stream,) = watch.streams
    assert stream.e_process is None and not stream.held_out and 0 < sum(stream.profile) < REFERENCE_ROWS


def test_without_any_labels_the_loop_waits_calmly(tmp_path: Path, parts: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    text = (PROJECT + SETTINGS).replace('uri = "feedback.parquet"\n', "").replace('known_at = "known_at"\n', "")
    folder = write(tmp_path / "small", *parts, text)
    (folder / "feedback.parquet").unlink()
    live(folder, after(4))
    loop = opened(folder)
    assert {d.kind for d in loop.store.list_decisions()} == {"wait"}
    assert loop.store.list_alerts() == []
    assert [b.state.value for b in loop.store.list_batches()] == ["history", *["validated"] * 4]
    summary = replay(folder)
    assert (summary["ticks"], summary["predictions"], summary["loop_metric"]) == (5, 0, None)


def test_a_world_without_trouble_stays_quiet(tmp_path: Path) -> None:
    summary = replay(quiet(tmp_path / "small", project=PROJECT + SETTINGS))
    assert (summary["alarms"], summary["quarantined"], summary["promotions"]) == (0, 0, 1)
