"""Labels that the model itself caused: a system downstream acts on high scores, and what it prevents it never sees."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
from worlds import DAY, PROJECT, START, after, draw, live, write

from homeostat.flows.exports import export_predictions
from homeostat.flows.labels import count_labels
from homeostat.flows.learning.versions import training_frame
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.queries.status import status
from homeostat.pipelines.labels.exploration import is_explored
from homeostat.records import Scope

EXPLORE, ROWS, DAYS = 0.3, 240, 7
FEEDBACK = '[data.feedback]\nuri = "feedback.parquet"'
TOLD = FEEDBACK + '\naction = "acted"\npropensity = "chance"'
SETTINGS = """
[gates]
min_rows = 30
[monitoring]
metric = "accuracy"
min_rows = 100000
[retraining]
policy = "{policy}"
[labeling]
explore = {explore}
max_caused = {most}
"""


def made(folder: Path, *, told: bool = True, policy: str = "never", most: float = 1.0) -> tuple[Path, pl.DataFrame]:
    """A world in which nothing has been scored yet: three days of history, and the truth of all rows."""
    truth = draw(ROWS, START - 3 * DAY, 3 + DAYS, seed=5)
    project = (PROJECT.replace(FEEDBACK, TOLD) if told else PROJECT) + SETTINGS.format(
        policy=policy, explore=EXPLORE if told else 0, most=most
    )
    write(folder, truth, truth.head(0), project)
    write_labels(folder, truth.filter(pl.col("at") < START).with_columns(acted=pl.lit(False), chance=pl.lit(1.0)))
    return folder, truth


def write_labels(folder: Path, labels: pl.DataFrame) -> None:
    labels.select("id", "y", "known_at", "acted", "chance").sort("known_at", "id").write_parquet(
        folder / "feedback.parquet"
    )


def act_on(loop: Loop, truth: pl.DataFrame) -> pl.DataFrame:
    """What the system downstream reports: it acts on high scores but for those it leaves alone, and prevents them."""
    scored = export_predictions(loop).select("id", "score", *(["explore"] if loop.project.labeling.explore else []))
    if "explore" not in scored.columns:
        scored = scored.with_columns(explore=pl.lit(False))
    high = pl.col("score") > 0.5
    acted = scored.select("id", acted=high & ~pl.col("explore"), chance=pl.when(high & pl.col("explore")).then(EXPLORE))
    rows = truth.join(acted, on="id", how="left").with_columns(pl.col("acted").fill_null(False))
    return rows.with_columns(y=pl.when("acted").then(0).otherwise("y"))


def lived(folder: Path, truth: pl.DataFrame, days: int = DAYS) -> Loop:
    """Live day by day; each day's actions follow from the scores of that day."""
    for day in range(1, days + 1):
        live(folder, after(day))
        loop = open_loop(folder, Scope.LIVE)
        if loop.version_of("champion") is not None:
            write_labels(folder, act_on(loop, truth).filter(pl.col("at") < after(day)))
    return open_loop(folder, Scope.LIVE)


def both(loop: Loop, truth: pl.DataFrame) -> tuple[float, float]:
    """The accuracy that the loop measured over its windows, and the accuracy that it had."""
    windows = [w for w in loop.store.list_windows() if w.labels and w.realized is not None and w.end_at < after(DAYS)]
    scored = export_predictions(loop).filter(pl.col("batch").is_in([w.batch for w in windows]))
    rows = scored.join(truth.select("id", "y"), on="id")
    measured = np.average([w.realized for w in windows if w.realized is not None], weights=[w.rows for w in windows])
    return float(measured), float((rows["prediction"].cast(pl.Int64) == rows["y"]).mean())  # type: ignore[arg-type]


def test_metrics_are_unbiased_where_the_source_tells_actions_and_chances(tmp_path: Path) -> None:
    folder, truth = made(tmp_path / "told")
    loop = lived(folder, truth)
    measured, real = both(loop, truth)
    assert abs(measured - real) < 0.04
    feedback = loop.lake.latest("feedback", "id", after(DAYS))
    assert feedback is not None
    assert feedback.filter("caused")["propensity"].null_count() == feedback["caused"].sum() > 200
    explored = export_predictions(loop)
    assert explored["explore"].to_list() == is_explored(explored["id"], EXPLORE).to_list()
    assert abs(float(explored["explore"].mean()) - EXPLORE) < 0.05  # type: ignore[arg-type]
    assert 0.1 < status(loop)["caused"] < 0.5


def test_caused_labels_do_not_train_and_rows_left_alone_count_for_those_they_stand_for(tmp_path: Path) -> None:
    folder, truth = made(tmp_path / "told")
    loop = lived(folder, truth, days=4)
    labels = loop.lake.latest("feedback", "id", after(4))
    assert labels is not None and labels["caused"].sum() > 100
    frame = training_frame(loop, after(4)).join(labels.select("id", "caused", "propensity"), on="id")
    assert not frame["caused"].any() and frame.height == labels.height - labels["caused"].sum()
    alone = frame["propensity"] < 1
    assert alone.sum() > 30 and set(frame.filter(~alone)["_weight"]) == {1.0}
    assert set(frame.filter(alone)["_weight"]) == {1 / EXPLORE}
    assert count_labels(loop, after(4)) == labels.height - labels["caused"].sum()


def test_the_caused_share_is_that_of_high_scores_unless_enough_were_left_alone(tmp_path: Path) -> None:
    """Few labels are caused, but all of high scores; of three in ten left alone each stands for three."""
    shares = {}
    for told in (True, False):
        folder, truth = made(tmp_path / str(told))
        live(folder, after(1))
        loop = open_loop(folder, Scope.LIVE)
        rows = act_on(loop, truth).filter(pl.col("at") < after(1))
        high = set(export_predictions(loop).top_k(60, by="score")["id"])
        rows = rows.with_columns(acted=pl.col("acted") & pl.col("id").is_in(high))
        if not told:  # nobody was left alone
            rows = rows.with_columns(acted=pl.col("id").is_in(high), chance=pl.lit(None, pl.Float64))
        write_labels(folder, rows)
        live(folder, after(2))
        outcome = loop.store.last_outcome("decide", after(3))
        assert outcome is not None
        shares[told] = outcome["caused"]
    assert shares[False] == 1.0 and shares[True] < 0.5


def test_metrics_are_biased_where_nobody_tells(tmp_path: Path) -> None:
    folder, truth = made(tmp_path / "untold", told=False)
    measured, real = both(lived(folder, truth), truth)
    assert measured < real - 0.2


def test_training_is_blocked_while_the_model_caused_too_many_labels(tmp_path: Path) -> None:
    folder, truth = made(tmp_path / "blocked", policy="every_tick", most=0.15)
    loop = lived(folder, truth)
    decisions = loop.store.list_decisions("retraining")
    shares = [d.evidence["caused"] for d in decisions]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] > 0.15
    for decision in decisions:
        over = decision.evidence["caused"] > 0.15
        assert (decision.kind == "wait" and "caused" in decision.reasons[0]) == over
    assert any(d.kind == "retrain" for d in decisions)
    told = [a for a in loop.store.list_alerts() if a.title.startswith("training is blocked")]
    assert len(told) == 1 and "labeling.max_caused" in told[0].body
    assert not status(loop)["healthy"]
    last = loop.store.last_outcome("decide", after(DAYS + 1))
    assert last is not None and last["caused"] == shares[-1] and last["blocked"]


def test_the_first_training_is_blocked_too(tmp_path: Path) -> None:
    folder, truth = made(tmp_path / "first", most=0.2)
    early = truth.filter(pl.col("at") < START).with_columns(chance=pl.lit(None, pl.Float64))
    write_labels(folder, early.with_columns(acted=pl.col("id") % 2 == 0))
    loop = lived(folder, truth, days=2)
    assert loop.version_of("champion") is None
    decisions = loop.store.list_decisions("retraining")
    assert [d.kind for d in decisions] == ["wait"] * 3 and "50%" in decisions[0].reasons[0]


def test_a_lake_from_before_labels_were_told_apart_is_read(tmp_path: Path) -> None:
    folder, truth = made(tmp_path / "old", told=False)
    loop = lived(folder, truth, days=2)
    rows = loop.lake.read("feedback")
    assert rows is not None
    shutil.rmtree(folder / ".homeostat/live/lake/feedback")
    forget_open_loops()
    old = open_loop(folder, Scope.LIVE)
    old.lake.append("feedback", rows.drop("caused"), "feedback", "old")
    assert status(old)["caused"] == 0
    live(folder, after(3))
    assert "caused" not in (old.lake.schema("feedback") or {}) or old.lake.read("feedback") is not None
    write_labels(folder, act_on(old, truth).filter(pl.col("at") < after(3)))
    live(folder, after(5))
    merged = open_loop(folder, Scope.LIVE).lake.read("feedback")
    assert merged is not None and merged["caused"].null_count() == rows.height
    assert merged["caused"].sum() == 0
