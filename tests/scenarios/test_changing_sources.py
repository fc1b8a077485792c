"""Sources as they are: tables are overwritten, labels are corrected and taken back, times are mistyped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from worlds import DAY, PROJECT, START, after, draw, live, write

from homeostat.flows.exports import export_predictions
from homeostat.flows.learning.versions import training_frame
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.operations import manual
from homeostat.flows.queries.why import why
from homeostat.flows.replay.run import replay
from homeostat.flows.stages.alarm_state import get_watch
from homeostat.records import Scope, WindowStatus

SETTINGS = """
[gates]
min_rows = 30
[monitoring]
min_rows = 30
[retraining]
policy = "never"
"""
SHORT = PROJECT.replace('horizon = "3d"', 'horizon = "1d"') + SETTINGS
FAR = datetime(2099, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def opened(folder: Path, scope: Scope = Scope.LIVE) -> Loop:
    forget_open_loops()
    return open_loop(folder, scope)


def stored(loop: Loop, table: str, keys: pl.Series) -> pl.DataFrame:
    rows = loop.lake.read(table, pl.col("id").is_in(keys.implode()))
    assert rows is not None
    return rows


def titles(loop: Loop) -> list[str]:
    return [alert.title for alert in loop.store.list_alerts()]


def test_labels_corrected_back_in_time_and_taken_back_count_as_the_source_says_and_are_stored_once(
    tmp_path: Path,
) -> None:
    made = draw(60, START - 3 * DAY, 8, seed=3)
    folder = write(tmp_path / "small", made, made, SHORT)
    live(folder, after(2))
    scored = made.filter(pl.col("at").is_between(START, START + DAY))["id"]
    wrong, gone = scored.head(12), scored.tail(8)
    said = made.with_columns(
        y=pl.when(pl.col("id").is_in(wrong.implode())).then(1 - pl.col("y")).otherwise("y"),
        known_at=pl.when(pl.col("id").is_in(wrong.implode())).then(pl.col("known_at") - HOUR).otherwise("known_at"),
    ).with_columns(y=pl.when(~pl.col("id").is_in(gone.implode())).then("y"))
    said.select("id", "y", "known_at").write_parquet(folder / "feedback.parquet")
    live(folder, after(4))
    loop = opened(folder)
    assert stored(loop, "feedback", wrong).height == 2 * 12 and stored(loop, "feedback", gone).height == 2 * 8
    frame = training_frame(loop, after(4)).select("id", "label").join(said.select("id", "y"), on="id")
    assert frame["label"].to_list() == frame["y"].cast(pl.String).to_list()
    assert not frame["id"].is_in(gone.implode()).any() and frame["id"].is_in(wrong.implode()).sum() == 12
    assert [title for title in titles(loop) if "withdrawn" in title] == ["8 labels were withdrawn"]
    window = loop.store.list_windows()[0]
    assert (window.rows, window.labels, window.checked_at) == (len(scored), len(scored) - 8, after(3))
    assert why(loop, str(gone[0]))["label"]["label"] is None
    before = training_frame(loop, after(2)).select("id", "label").join(made.select("id", "y"), on="id")
    assert (
        before["label"].to_list() == before["y"].cast(pl.String).to_list() and before["id"].is_in(gone.implode()).any()
    )


def test_corrections_that_are_scored_again_count_for_nothing_and_are_shown(tmp_path: Path) -> None:
    made = draw(60, START - 3 * DAY, 8, seed=3)
    first = made.filter(pl.col("at") > START).head(20)
    corrected = first.with_columns(z=pl.col("z") + 5, x=-pl.col("x"), seen_at=pl.col("seen_at") + 30 * HOUR)
    folder = write(tmp_path / "small", pl.concat([made, corrected]), made, SHORT)
    live(folder, after(3))
    loop = opened(folder)
    before, windows = export_predictions(loop), loop.store.list_windows()
    assert manual.rescore(loop, after(3.5), "ann") == {"rescored": 20, "version": 1}
    assert manual.rescore(loop, after(3.6), "ann") == {"rescored": 0}
    assert export_predictions(loop).equals(before)
    again = export_predictions(loop, "correction")
    assert again["id"].sort().to_list() == first["id"].sort().to_list()
    live(folder, after(4))
    assert loop.store.list_windows()[0] == windows[0]
    assert all("/" not in batch.id for batch in loop.store.list_batches())
    answer = why(loop, str(first["id"][0]))
    assert answer["score"] == before.filter(pl.col("id") == first["id"][0])["score"][0]
    assert [one["model_version"] for one in answer["corrections"]] == [1] and answer["times_scored"] == 1


def overwritten(folder: Path, settings: str = "") -> Path:
    """A world whose feature `x` is overwritten by the outcome a day after that is known."""
    made = draw(150, START - 6 * DAY, 10, seed=6)
    after_it = made.with_columns(x=3.0 * (2 * pl.col("y") - 1) + 0.1 * pl.col("z"), seen_at=pl.col("known_at") + DAY)
    project = SHORT.replace('known_at = "seen_at"', f'known_at = "seen_at"\n{settings}')
    return write(folder, pl.concat([made, after_it]), made, project)


def test_a_table_that_is_overwritten_after_the_outcome_gives_nothing_away(tmp_path: Path) -> None:
    folder = overwritten(tmp_path / "small")
    summary = replay(folder)
    loop = opened(folder, Scope.REPLAY)
    held_out = loop.store.list_models()[0].reference["auc"]
    assert held_out < 0.97 and abs(summary["static_metric"] - held_out) < 0.05
    frame = training_frame(loop, after(4)).select("id", "x").join(draw(150, START - 6 * DAY, 10, seed=6), on="id")
    assert frame.height > 900 and frame["x"].to_list() == frame["x_right"].to_list()


def test_who_wants_corrections_learned_from_says_so(tmp_path: Path) -> None:
    folder = overwritten(tmp_path / "small", 'corrections = "newest"')
    replay(folder, until=after(3))
    frame = training_frame(opened(folder, Scope.REPLAY), after(3))
    long_ago = frame.filter(pl.col("event_at") < START + DAY)
    assert long_ago["event_at"].max() > START and (long_ago["x"].abs() > 2.5).mean() > 0.95


def mistyped(made: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """A row of the second day is dated 2099 and never gets a label."""
    key = int(made.filter(pl.col("at") > START + DAY)["id"][5])
    return made.with_columns(at=pl.when(pl.col("id") == key).then(pl.lit(FAR)).otherwise("at")), key


def test_a_row_dated_far_ahead_is_quarantined_and_nobody_waits_for_it(tmp_path: Path) -> None:
    made = draw(60, START - 3 * DAY, 9, seed=3)
    inputs, key = mistyped(made)
    folder = write(tmp_path / "small", inputs, made.filter(pl.col("id") != key), SHORT)
    live(folder, after(5))
    loop = opened(folder)
    (held,) = manual.list_quarantine(loop, None, None, None)
    assert (held["key"], held["rule"]) == (str(key), "time") and "data.inputs.ahead allows 1d" in held["detail"]
    assert [w.status for w in loop.store.list_windows()][:3] == [WindowStatus.FINAL] * 3
    watch = get_watch(loop)
    assert watch is not None and watch.until >= "2020-01-10"


def test_a_batch_that_took_such_a_row_in_is_passed_with_one_alert(tmp_path: Path) -> None:
    made = draw(60, START - 3 * DAY, 9, seed=3)
    inputs, key = mistyped(made)
    project = SHORT.replace('known_at = "seen_at"', 'known_at = "seen_at"\nahead = "36500d"')
    folder = write(tmp_path / "small", inputs, made.filter(pl.col("id") != key), project)
    live(folder, after(4))
    assert [w.status.value for w in opened(folder).store.list_windows()][:3] == ["final", "provisional", "final"]
    assert get_watch(opened(folder)).waits_for == "2020-01-09T00:00:00Z"  # type: ignore[union-attr]
    (folder / "homeostat.toml").write_text(SHORT)
    live(folder, after(6))
    loop = opened(folder)
    assert [w.status.value for w in loop.store.list_windows()][:3] == ["final"] * 3
    assert get_watch(loop).until >= "2020-01-11"  # type: ignore[union-attr]
    assert [title for title in titles(loop) if "dated far ahead" in title] == [
        "1 rows dated far ahead are no longer waited for"
    ]


def test_a_row_without_a_known_time_that_would_never_come_is_told_and_ends_no_replay(tmp_path: Path) -> None:
    made = draw(60, START - 3 * DAY, 6, seed=3)
    inputs, key = mistyped(made)
    labels = made.filter((pl.col("id") != key) & (pl.col("known_at") <= after(3)))
    folder = write(tmp_path / "small", inputs, labels, SHORT.replace('known_at = "seen_at"\n', ""))
    summary = replay(folder)
    assert (summary["ticks"], summary["misdated"]) == (4, 1)
    live(folder, after(2))
    (held,) = manual.list_quarantine(opened(folder), None, None, None)
    assert (held["key"], held["rule"]) == (str(key), "time")
    assert titles(opened(folder)).count("1 rows were quarantined") == 1
