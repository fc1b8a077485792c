"""A backtest knows what the loop would have known, whatever it shares, and says the same twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from worlds import DAY, PROJECT, START, after, draw, write

from homeostat.errors import DataError, HomeostatError
from homeostat.flows.backtest.catalogue import list_contenders
from homeostat.flows.backtest.policies import Bench, Model, losses
from homeostat.flows.backtest.run import Outcome, backtest, read_history, run_backtest
from homeostat.metrics import compute_metrics
from homeostat.monitoring.retraining.policies import POLICIES
from homeostat.pipelines.history.knowledge import Known
from homeostat.pipelines.history.refits import Learner
from homeostat.pipelines.models.training import train_model
from homeostat.project import load_project
from homeostat.sections.steering import Retraining

SETTINGS = PROJECT + "[monitoring]\nmin_rows = 20\nsample = 400\ndrift_share = 0.3\n"
TICKS = 12


def parts(shift: float = 0.0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A concept that turns half way, inputs some of which come a day late, labels corrected here and there."""
    made = draw(60, START - 4 * DAY, TICKS + 4, seed=3, drift_after=9)
    late = pl.when(pl.col("id") % 9 == 0).then(pl.col("seen_at") + DAY).otherwise("seen_at")
    moved = pl.when(pl.col("at") >= after(7)).then(pl.col("x") + shift).otherwise("x")
    made = made.with_columns(seen_at=late, x=moved)
    corrected = made.filter(pl.col("id") % 17 == 0).with_columns(y=1 - pl.col("y"), known_at=pl.col("known_at") + DAY)
    return made, pl.concat([made, corrected])


def run(folder: Path, until: Any = None, share: bool = True, names: tuple[str, ...] = ()) -> Outcome:
    project = load_project(folder)
    chosen = [each for each in list_contenders(project) if not names or each.name in names]
    return run_backtest(read_history(project, until), chosen, share=share)


def served(outcome: Outcome) -> dict[str, list[Any]]:
    """What each policy said of each row, tick by tick."""
    frame, batch = outcome.history.frame, outcome.history.batch
    return {
        name: [(tick, *zip(frame["id"][batch(tick)], said["score"], strict=True)) for tick, said in by_tick.items()]
        for name, by_tick in outcome.served.items()
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("backtest") / "small", *parts(shift=2.0), SETTINGS)


@pytest.fixture(scope="module")
def outcome(world: Path) -> Outcome:
    return run(world)


def test_a_backtest_ranks_policies_and_leaves_a_summary_and_a_page(world: Path) -> None:
    told: list[str] = []
    summary = backtest(world, progress=lambda done, total, text: told.append(text))
    root = world / ".homeostat" / "backtest"
    assert json.loads((root / "summary.json").read_text()) == summary
    assert sorted(path.name for path in (world / ".homeostat").iterdir()) == ["backtest", "mlflow.db"]
    assert "every_tick_20" in (root / "report.html").read_text()
    policies = {each["policy"]: each for each in summary["policies"]}
    assert {"never", "every_tick", "every_tick_2", "periodic_4", "adwin", "ddm", "drift_share"} <= set(policies)
    assert policies["every_tick_2"]["metric"] > policies["never"]["metric"] + 0.05
    assert policies["every_tick"]["relative_cost"] == 1.0 > policies["periodic_4"]["relative_cost"]
    assert policies["drift_share"]["triggers"] > 0 < policies["adwin"]["triggers"] + policies["ddm"]["triggers"]
    assert policies[summary["recommended"]["policy"]]["setting"] == summary["recommended"]["setting"]
    assert {"never", "adwin"} <= set(told)


def test_never_is_the_first_model(world: Path, outcome: Outcome) -> None:
    project, history = outcome.history.project, outcome.history
    known = history.known(0)
    trained = train_model(known.frame(known.rows), project, history.hooks)
    later = history.frame.filter(pl.Series(history.tick > 0)).with_row_index("_")
    truth = history.truth().filter(pl.Series(history.tick > 0))
    metrics = compute_metrics(project.task, truth, trained.predictor.score(later), "1")
    never = next(each for each in outcome.standings if each.name == "never")
    assert never.metric == pytest.approx(metrics["auc"], abs=1e-9)
    assert never.cost.row_rounds == trained.cost.row_rounds


def test_sharing_fits_changes_nothing_and_costs_each_the_same(world: Path, outcome: Outcome) -> None:
    apart = run(world, share=False)
    assert served(apart) == served(outcome)
    for one, other in zip(outcome.standings, apart.standings, strict=True):
        assert replace(one, cost=replace(one.cost, cpu_seconds=0)) == replace(
            other, cost=replace(other.cost, cpu_seconds=0)
        )


def test_two_runs_say_the_same(world: Path) -> None:
    def told() -> dict[str, Any]:
        summary = backtest(world, policies=["adwin", "periodic_4"])
        policies = [{k: v for k, v in each.items() if "cpu" not in k} for each in summary["policies"]]
        return summary | {"policies": policies, "wall_seconds": None}

    first = told()
    assert told() == first
    assert [each["policy"] for each in first["policies"]] == ["never", "every_tick", "periodic_4", "adwin"]


@settings(
    max_examples=6, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(day=st.integers(1, TICKS - 1), seed=st.integers(0, 10_000))
def test_what_is_known_only_later_changes_nothing_before(
    tmp_path_factory: pytest.TempPathFactory, outcome: Outcome, day: int, seed: int
) -> None:
    """What is served at a tick rests on rows that came before it, and on labels known by the tick before it."""
    at, chance = after(day), np.random.default_rng(seed)
    inputs, labels = parts(shift=2.0)
    known = pl.col("known_at") <= at - DAY
    later = labels.filter(~known)
    turned = later.with_columns(y=pl.Series(chance.integers(0, 2, later.height)))
    moved = pl.when(pl.col("seen_at") >= at).then(pl.Series(chance.normal(0, 3, inputs.height))).otherwise("x")
    told = pl.concat([labels.filter(known), turned.sample(fraction=0.8, seed=seed)])
    folder = write(tmp_path_factory.mktemp("moved") / "small", inputs.with_columns(x=moved), told, SETTINGS)
    changed, wanted = served(run(folder)), served(outcome)
    for name, ticks in wanted.items():
        assert [each for each in changed[name] if each[0] <= day] == [each for each in ticks if each[0] <= day]
    assert changed["every_tick"] != wanted["every_tick"]


def test_a_run_that_stops_earlier_is_the_beginning_of_the_whole_one(world: Path, outcome: Outcome) -> None:
    short = served(run(world, until=after(5)))
    assert short == {name: ticks[:5] for name, ticks in served(outcome).items()}


def test_no_policy_learns_from_a_label_that_is_not_known(world: Path) -> None:
    history = read_history(load_project(world), None)
    learner = Learner(history)
    early = history.known(0)
    learner.train_first(early)
    with pytest.raises(ValueError, match="known label"):
        learner.fit(early, history.batch(0))
    with pytest.raises(ValueError, match="later tick"):
        early.frame(history.batch(1))


def test_rows_are_known_when_they_come_and_labels_never_before_their_row(world: Path) -> None:
    history = read_history(load_project(world), None)
    keys = history.frame["id"]
    seen = dict(parts()[0].select("id", "seen_at").iter_rows())
    for tick in (-1, 0, 1, TICKS):
        assert all(after(tick - 1) <= seen[key] < after(tick) for key in keys[history.batch(tick)])
    assert (history.label_tick >= history.tick[history.label_row]).all()
    known = history.known(4)
    assert set(known.fresh) == set(known.labelled) - set(history.known(3).labelled)
    assert set(history.tick[known.recent(2)]) == {2, 3}


def test_a_label_without_a_time_is_known_after_the_horizon(tmp_path: Path) -> None:
    made, _ = parts()
    folder = write(tmp_path / "small", made, made, SETTINGS.replace('known_at = "known_at"\n', ""))
    history = read_history(load_project(folder), None)
    events, keys = history.frame["event_at"].gather(history.label_row), history.frame["id"].gather(history.label_row)
    seen = dict(made.select("id", "seen_at").iter_rows())
    late = {key: at for key, at in seen.items() if key % 9 == 0 and at >= START}
    slots = {key: START + ((at - START) // DAY + 1) * DAY for key, at in late.items()}
    had = [slots.get(key, event) for event, key in zip(events, keys, strict=True)]
    due = [after(int(tick)) for tick in history.label_tick]
    assert len(due) and all(
        tick - DAY < at + 3 * DAY <= tick for at, tick in zip(had, due, strict=True) if tick > START
    )


def test_on_pure_noise_known_at_once_nothing_is_foreseen(tmp_path: Path) -> None:
    made = draw(300, START - 2 * DAY, 12, seed=2)
    labels = made.with_columns(y=pl.Series(np.random.default_rng(8).integers(0, 2, made.height)), known_at=pl.col("at"))
    deep = SETTINGS.replace("max_depth = 3", "max_depth = 8").replace("rounds = 12", "rounds = 40")
    folder = write(tmp_path / "small", made, labels, deep)
    error = (1 / (12 * 10 * 300 / 4)) ** 0.5
    assert all(abs((each.metric or 0) - 0.5) < 4 * error for each in run(folder).standings)


HOOK = """
import polars as pl

def build_features(frame):
    return frame.select("x", "z", hour=pl.col("at").dt.hour(), c="c")
"""


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_every_task_and_hooks_of_features_are_backtested(tmp_path: Path, task: str) -> None:
    made, _ = parts()
    chance = np.random.default_rng(0).normal(0, 0.3, made.height)
    value = pl.when(pl.col("at") < after(5)).then("x").otherwise("z") + pl.Series(chance)
    named = pl.when(value < -0.5).then(pl.lit("low")).when(value < 0.5).then(pl.lit("middle")).otherwise(pl.lit("high"))
    labels = made.with_columns(y=value if task == "regression" else named)
    settings = SETTINGS.replace('"binary"', f'"{task}"') + "[retraining]\nevery = 3\n"
    folder = write(tmp_path / "small", made, labels, settings)
    (folder / "hooks.py").write_text(HOOK)
    policies = {each["policy"]: each for each in backtest(folder)["policies"]}
    assert ("ddm" in policies) == (task == "multiclass") and "periodic_3" in policies
    assert policies["every_tick_2"]["gain"] > 0.05 and policies["adwin"]["triggers"] > 0


def test_one_tick_alone_can_be_told_of(world: Path) -> None:
    summary = backtest(world, until=after(1), policies=["never"])
    assert len(summary["ticks"]) == 1 and summary["recommended"]["policy"] == "never"
    json.loads((world / ".homeostat" / "backtest" / "summary.json").read_text(), parse_constant=pytest.fail)


def test_of_a_key_that_comes_again_the_first_batch_counts_and_its_last_row(tmp_path: Path) -> None:
    made, _ = parts()
    again = made.filter(pl.col("id") % 5 == 0).with_columns(x=pl.lit(5.0), seen_at=pl.col("seen_at") + DAY)
    soon = made.filter(pl.col("id") % 5 == 1).with_columns(x=pl.lit(6.0), seen_at=pl.col("seen_at").dt.offset_by("1us"))
    folder = write(tmp_path / "small", pl.concat([made, again, soon]), made, SETTINGS)
    history = read_history(load_project(folder), None)
    later = history.frame.filter(pl.Series(history.tick > 0))
    assert history.frame["id"].is_unique().all() and history.frame.height == made.height
    assert (later.filter(pl.col("id") % 5 == 0)["x"] != 5).all()
    assert (later.filter(pl.col("id") % 5 == 1)["x"] == 6).all()
    assert set(np.unique(history.tick)) == set(range(-3, TICKS + 2))


class WhenOftenWrong:
    """A policy of one's own: it trains as the loop does, on the newest ticks, when what it served was often wrong."""

    name, setting, counts = "own", None, True

    def learn(self, known: Known, bench: Bench) -> Model | None:
        fresh = bench.scored(known.fresh)
        if not len(fresh) or np.mean(losses(known, bench, fresh)) < 0.3:
            return None
        bench.trigger()
        trained = train_model(known.frame(known.recent(3)), bench.project, known.history.hooks)
        bench.charge(trained.cost)
        return trained.predictor


def test_a_policy_of_ones_own_takes_part_with_any_model_that_scores(world: Path, outcome: Outcome) -> None:
    contenders = [*list_contenders(load_project(world))[:2], WhenOftenWrong()]
    never, _, own = run_backtest(outcome.history, contenders).standings
    assert own.triggers and own.cost.fits == never.cost.fits * (1 + own.triggers)
    assert own.metric is not None and never.metric is not None and own.metric > never.metric + 0.05
    assert own.by_tick[0] == never.by_tick[0]


def test_what_may_be_recommended_can_be_named_in_a_project_file(world: Path) -> None:
    for each in list_contenders(load_project(world)):
        if each.setting is not None:
            assert Retraining.model_validate(each.setting).policy in POLICIES.names()


def test_wrong_use_is_said(world: Path) -> None:
    with pytest.raises(HomeostatError, match="'sometimes': no such policy"):
        backtest(world, policies=["sometimes"])
    with pytest.raises(HomeostatError, match="before the loop starts"):
        backtest(world, until=START - DAY)
    with pytest.raises(DataError, match="no batch comes after the first model"):
        backtest(world, until=START)
