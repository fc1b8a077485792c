"""Labeling functions: what they may do, how they are measured, and that people and the source come first."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from worlds import DAY, PROJECT, START, after, draw, live, write

from homeostat.errors import ProjectError
from homeostat.flows.facts import LABELERS
from homeostat.flows.labeling.programmatic import label_by_rule
from homeostat.flows.learning.versions import training_frame
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.hooks import load_hooks
from homeostat.pipelines.setup.soundness import check_project
from homeostat.project import load_project
from homeostat.records import Scope

SETTINGS = """
[gates]
min_rows = 30
[monitoring]
min_rows = 100000
[retraining]
policy = "never"
"""
HOOKS = """
import polars as pl

def label(frame):
    sure = pl.when(pl.col("x") > 0.5).then(pl.lit("1")).when(pl.col("x") < -0.5).then(pl.lit("0"))
    return frame.select(
        good=sure,
        contrary=pl.when(pl.col("x") > 0.5).then(pl.lit("0")).when(pl.col("x") < -0.5).then(pl.lit("1")),
    )
"""


def made(folder: Path, hooks: str = HOOKS) -> tuple[Path, pl.DataFrame]:
    """Three days of history with labels, and days after of which only every sixth row ever gets one."""
    truth = draw(120, START - 3 * DAY, 8, seed=5)
    labels = truth.filter((pl.col("at") < START) | (pl.col("id") % 6 == 0))
    write(folder, truth, labels, PROJECT + SETTINGS)
    (folder / "hooks.py").write_text(hooks)
    return folder, truth


def opened(folder: Path) -> Loop:
    return open_loop(folder, Scope.LIVE)


def ruled(loop: Loop) -> pl.DataFrame:
    rows = loop.lake.read("feedback", pl.col("provenance") == "programmatic")
    assert rows is not None
    return rows.sort("id")


def test_rows_without_a_label_get_one_by_the_votes_of_sound_functions(tmp_path: Path) -> None:
    folder, truth = made(tmp_path)
    live(folder, after(3))
    loop = opened(folder)
    rows, outcome = ruled(loop), loop.store.get_stage(after(3), "collect")
    newest = rows.filter(pl.col("ingested_at") == after(3))
    assert outcome == {"by_rule": newest.height, "dropped": ["contrary"]} and newest.height > 50
    assert set(newest["who"]) == {"good"} and rows["propensity"].null_count() == rows.height
    right = rows.join(truth.select("id", pl.col("y").cast(pl.String)), on="id")
    assert (right["label"] == right["y"]).mean() > 0.9  # type: ignore[operator]
    fact = loop.store.get_fact(LABELERS)
    assert fact is not None
    good, contrary = fact.measured
    assert (good.low or 0) > 0.8 and not good.dropped and (contrary.high or 1) < 0.2 and contrary.dropped
    assert "labelers" in [e.kind for e in loop.store.list_journal()]
    told = [a for a in loop.store.list_alerts() if "'contrary' is worse than chance" in a.title]
    assert len(told) == 1
    assert label_by_rule(loop, after(3)) == outcome and ruled(loop).equals(rows)


def test_training_weighs_labels_by_rule_and_is_not_measured_on_them(tmp_path: Path) -> None:
    folder, _ = made(tmp_path)
    live(folder, after(4))
    loop = opened(folder)
    frame = training_frame(loop, after(4))
    by_rule = frame["_provenance"] == "programmatic"
    assert 100 < by_rule.sum() < frame.height
    assert frame.filter(by_rule)["_weight"].unique().to_list() == [0.3]
    assert frame.filter(~by_rule)["_weight"].unique().to_list() == [1.0]
    assert (frame["_measured"] == ~by_rule).all()
    ruled_in = frame.filter(by_rule)["_batch"].value_counts()
    for window in loop.store.list_windows():
        assert window.labels <= window.rows / 6 + 1
    assert ruled_in["count"].max() > 50  # type: ignore[operator]


def test_a_label_of_the_source_counts_instead_whenever_it_comes(tmp_path: Path) -> None:
    folder, truth = made(tmp_path)
    live(folder, after(3))
    loop = opened(folder)
    key = int(ruled(loop).filter((pl.col("id") % 6 != 0) & (pl.col("ingested_at") == after(2)))["id"][0])
    late = truth.filter(pl.col("id") == key)
    opposite = 1 - late["y"][0]
    feedback = folder / "feedback.parquet"
    given = pl.read_parquet(feedback)
    late = late.with_columns(y=pl.lit(opposite), known_at=pl.col("at") + pl.duration(seconds=1))
    late = late.select(pl.col(name).cast(dtype) for name, dtype in given.schema.items())
    pl.concat([given, late]).sort("known_at").write_parquet(feedback)
    live(folder, after(4))
    counts = loop.lake.latest("feedback", "id", after(4))
    assert counts is not None
    row = counts.row(by_predicate=pl.col("id") == key, named=True)
    assert (row["label"], row["provenance"]) == (str(opposite), "observed")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("frame.select(a=pl.lit('1')).head(2)", r"hooks.py: label returned \d+ rows for"),
        ("frame.select(pl.col('id').alias('id'))", "hooks.py: label returned the key column 'id'"),
        ("frame.select()", "hooks.py: label returned no columns"),
        ("frame.select(a=pl.concat_list('x'))", "hooks.py: label returned the column 'a' as List"),
        ("{'a': ['1']}", "hooks.py: label returned dict; expected a polars or pandas DataFrame"),
        ("frame.select('nowhere')", "hooks.py: label failed: ColumnNotFoundError"),
        ("frame.select(a=pl.lit('maybe').repeat_by(1).explode().first().over('id'))", "'a' votes for 'maybe'"),
    ],
)
def test_an_unsound_hook_is_told_in_one_line(tmp_path: Path, body: str, told: str) -> None:
    folder, _ = made(tmp_path, f"import polars as pl\n\ndef label(frame):\n    return {body}\n")
    file = folder / "homeostat.toml"
    file.write_text(file.read_text().replace('target = "y"', 'target = "y"\nclasses = [0, 1]'))
    forget_open_loops()
    found = [f for f in check_project(load_project(folder), load_hooks(folder)) if f.where == "hooks.label"]
    assert [f.level for f in found] == ["error"]
    with pytest.raises(ProjectError, match=told):
        live(folder, after(1))
        label_by_rule(opened(folder), after(1))


def test_check_says_on_how_many_rows_functions_vote(tmp_path: Path) -> None:
    folder, _ = made(tmp_path)
    found = [f for f in check_project(load_project(folder), load_hooks(folder)) if f.where == "hooks.label"]
    assert [f.level for f in found] == ["ok"] and found[0].message.startswith("2 labeling functions; at least one")
