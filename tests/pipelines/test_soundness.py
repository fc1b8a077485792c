"""Soundness: each mistake in data, labels or hook is one clear error before anything runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from homeostat.errors import DataError
from homeostat.hooks import Hooks
from homeostat.pipelines.setup.soundness import Finding, check_project, require_sound
from homeostat.project import Project

T0 = datetime(2020, 1, 1, tzinfo=UTC)
COUNT = 480


def inputs() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": range(COUNT),
            "at": [T0 + timedelta(hours=i) for i in range(COUNT)],
            "x": [float(i % 11) for i in range(COUNT)],
            "c": ["a", "b", "c", "d"] * (COUNT // 4),
        }
    )


def labels() -> pl.DataFrame:
    known = (pl.col("at") + timedelta(days=1)).alias("known_at")
    return inputs().select("id", (pl.col("id") % 2).alias("y"), known)


def findings(
    folder: Path, given: pl.DataFrame | None = None, truths: pl.DataFrame | None = None, hook=None, **parts
) -> list[Finding]:
    (inputs() if given is None else given).write_parquet(folder / "i.parquet")
    (labels() if truths is None else truths).write_parquet(folder / "f.parquet")
    return check_project(project_in(folder, **parts), Hooks(build_features=hook))


def project_in(folder: Path, task="binary", start="2020-01-10", training=None, known_at="known_at", **data) -> Project:
    return Project.model_validate(
        {
            "folder": folder,
            "project": {"name": "p", "task": task},
            "data": {
                "key": "id", "event_time": "at", "timezone": "UTC", "target": "y",
                "numeric": ["x"], "categorical": ["c"],
                "inputs": {"uri": "i.parquet", **data.pop("inputs", {})},
                "feedback": {"uri": "f.parquet", "known_at": known_at},
                **data,
            },
            "loop": {"tick": "1d", "start": start},
            "training": training or {},
        }
    )  # fmt: skip


def errors(found: list[Finding]) -> list[str]:
    return [f"{f.where}: {f.message}" for f in found if f.level == "error"]


def only(found: list[Finding]) -> str:
    told = errors(found)
    assert len(told) == 1, told
    return told[0]


def warned(found: list[Finding]) -> str:
    assert errors(found) == []
    told = [f.message for f in found if f.level == "warning" and f.where == "loop.start"]
    assert len(told) == 1, found
    return told[0]


def test_a_sound_project_has_no_errors(tmp_path):
    found = findings(tmp_path, hook=lambda frame: frame.select(pl.col("x") * 2, "c"))
    assert [f.level for f in found] == ["ok", "ok", "ok", "ok"]
    require_sound(project_in(tmp_path), Hooks())


def test_duplicate_keys_with_different_contents(tmp_path):
    twice = pl.concat([inputs(), inputs().tail(2).with_columns(x=99.0), inputs().head(1)])
    assert "2 keys come more than once with different contents, such as '478'" in only(findings(tmp_path, twice))
    later = twice.with_columns(had=pl.col("at") + pl.duration(days=pl.when(pl.col("x") == 99).then(1).otherwise(0)))
    assert errors(findings(tmp_path, later, inputs={"known_at": "had"})) == []


def test_labels_of_unknown_keys(tmp_path):
    strange = pl.concat([labels(), labels().tail(3).with_columns(pl.col("id") + 5000)])
    assert "3 labels have a key that is not among the inputs, such as '5477'" in only(findings(tmp_path, None, strange))


def test_labels_outside_the_classes(tmp_path):
    odd = labels().with_columns(y=pl.when(pl.col("id") == 7).then(9).otherwise("y"))
    assert "1 labels are outside" in only(findings(tmp_path, None, odd, classes=[0, 1]))
    assert "two classes, but there are 3 different labels, such as '9' (1 times)" in only(findings(tmp_path, None, odd))
    assert errors(findings(tmp_path, None, odd, task="multiclass")) == []
    assert "no label is 5" in only(findings(tmp_path, positive=5))


def test_which_class_is_positive_is_told_and_doubted_where_none_is_stated(tmp_path):
    told = {f.where: f for f in findings(tmp_path)}["data.positive"]
    assert told.level == "ok" and "the probability of '1', the last in order" in told.message
    named = labels().with_columns(y=pl.when(pl.col("y") == 1).then(pl.lit("Bad")).otherwise(pl.lit("Good")))
    (doubt,) = [f.message for f in findings(tmp_path, None, named) if f.level == "warning"]
    assert "the probability of 'Good'" in doubt and "'Bad' is the likelier one ('Bad' names what happens" in doubt
    stated = {f.where: f for f in findings(tmp_path, None, named, positive="Bad")}["data.positive"]
    assert stated.level == "ok" and "'Bad', as stated" in stated.message


def test_too_little_known_by_the_start_warns_and_names_a_start_that_works(tmp_path):
    none = warned(findings(tmp_path, start="2020-01-01"))
    assert "no labels are known by the start, and there is no training.base_model." in none
    assert none.endswith("A start of 2020-01-05 would work.")
    assert "only 25 labels" in warned(findings(tmp_path, start="2020-01-03"))
    late = labels().with_columns(y=(pl.col("id") > 240).cast(pl.Int8))
    assert "only one class ('0')" in warned(findings(tmp_path, None, late))
    assert errors(findings(tmp_path, start="2020-01-01", training={"base_model": "models:/m/1"})) == []
    assert "No later start" in warned(findings(tmp_path, training={"min_rows": 9999}))


def test_labels_without_a_time_count_from_the_horizon(tmp_path):
    assert "A start of 2020-01-11 would work" in warned(findings(tmp_path, start="2020-01-05", known_at=None))


def test_data_that_end_before_the_start(tmp_path):
    assert "before the loop starts at 2021-01-01" in errors(findings(tmp_path, start="2021-01-01"))[0]


def test_broken_rows_warn_and_too_many_are_an_error(tmp_path):
    few = inputs().with_columns(x=pl.when(pl.col("id") < 3).then(float("inf")).otherwise("x"))
    found = findings(tmp_path, few)
    assert errors(found) == [] and "3 of 480 rows break the rule 'type:x'" in found[0].message
    assert "480 of 480" in errors(findings(tmp_path, inputs().with_columns(x=pl.lit("oops"))))[0]


def test_sources_that_cannot_be_read_are_findings(tmp_path):
    assert "not in the data: 'x'" in only(findings(tmp_path, inputs().drop("x")))
    assert "holds no rows" in only(findings(tmp_path, inputs().clear()))
    assert "known_at" in only(findings(tmp_path, None, labels().drop("known_at")))


@pytest.mark.parametrize(
    "expr",
    [
        pl.col("x").shift(-1), pl.col("x").shift(1), pl.col("x") / pl.col("x").mean(), pl.col("x").cum_sum(),
        pl.len().over("c"), pl.col("x").mean().over(pl.col("at").dt.date()), pl.col("c").last(),
    ],
)  # fmt: skip
def test_a_hook_that_looks_at_other_rows_is_caught(tmp_path, expr):
    found = findings(tmp_path, hook=lambda frame: frame.select(pl.col("x"), expr.alias("peek")))
    assert "hooks.build_features" in only(found) and "'peek' differ" in only(found)


def test_a_hook_that_fails_is_a_finding(tmp_path):
    assert "build_features failed" in only(findings(tmp_path, hook=lambda frame: frame.select("nope")))


def test_all_errors_are_told_line_by_line(tmp_path):
    findings(tmp_path, None, pl.concat([labels(), labels().tail(3).with_columns(pl.col("id") + 5000)]))
    with pytest.raises(DataError) as caught:
        require_sound(project_in(tmp_path, start="2021-01-01", positive=3), Hooks())
    assert len(str(caught.value).splitlines()) == 3
