import math
from datetime import UTC, datetime

import numpy as np
import pytest

from homeostat.errors import DataError
from homeostat.monitoring.retraining.recommendation import Standing, compare, decide_policy
from homeostat.records import FitCost

NOW = datetime(2024, 1, 1, tzinfo=UTC)
CHANCE = np.random.default_rng(0)
BASE = 0.8 + CHANCE.normal(0, 0.02, 60)


def standing(name, lift, cost, noise=0.004, setting=True, ticks=60):
    values = (BASE + lift + np.random.default_rng(len(name)).normal(0, noise, 60))[:ticks]
    setting = {"policy": name} if setting else None
    return Standing(name, setting, float(values.mean()), tuple(values), (100,) * ticks, FitCost(1, cost, 1.0))


def recommended(*standings, metric="auc"):
    return decide_policy(standings, metric, NOW)


@pytest.mark.parametrize(
    ("standings", "wanted"),
    [
        ([("never", 0.0, 1), ("every_tick", 0.05, 100)], "every_tick"),
        ([("never", 0.0, 1), ("every_tick", 0.05, 100), ("periodic", 0.05, 30)], "periodic"),
        ([("never", 0.0, 1), ("every_tick", 0.0, 100)], "never"),
        ([("never", 0.0, 1), ("every_tick", -0.05, 100)], "never"),
        ([("never", 0.0, 1), ("every_tick", 0.05, 100), ("periodic", 0.03, 30)], "every_tick"),
        ([("never", 0.0, 1), ("every_tick", 0.5, 100), ("periodic", 0.49, 30)], "periodic"),
        ([("never", 0.0, 1), ("every_tick", 0.5, 100), ("periodic", 0.46, 30)], "every_tick"),
    ],
)
def test_the_cheapest_that_is_as_good_as_the_best_is_recommended(standings, wanted):
    assert recommended(*(standing(*each) for each in standings)).kind == wanted


def test_a_metric_that_should_be_low_is_read_so():
    assert recommended(standing("never", 0.05, 1), standing("every_tick", 0.0, 100), metric="log_loss").kind == (
        "every_tick"
    )


def test_what_a_project_file_cannot_name_is_told_of_and_not_recommended():
    decision = recommended(standing("never", 0.0, 1), standing("adwin", 0.05, 2, setting=False))
    assert decision.kind == "never"
    assert any("adwin, which is only for comparison, was better" in reason for reason in decision.reasons)


def test_the_reasons_say_what_is_noise_and_when_there_is_little_to_go_by():
    decision = recommended(standing("never", 0.0, 1, ticks=6), standing("every_tick", 0.0, 100, ticks=6))
    assert any("noise" in reason for reason in decision.reasons)
    assert any("only 6 ticks" in reason for reason in decision.reasons)


def test_without_any_metric_nothing_is_recommended():
    nothing = Standing("never", {"policy": "never"}, None, (None,), (0,), FitCost())
    with pytest.raises(DataError, match="undefined for every policy"):
        recommended(nothing)
    assert compare("auc", nothing, nothing) is None


@pytest.mark.parametrize("step", [0.0, 0.2])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(step):
    """Also where the gain comes only with the second half, which is no noise."""
    held, truth = 0, 0.01 + np.repeat([0, step], 40)
    for seed in range(200):
        values = np.random.default_rng(seed).normal(truth, 0.03)
        one = Standing("one", None, 0.0, tuple(values), (1,) * 80, FitCost())
        other = Standing("other", None, 0.0, (0.0,) * 80, (1,) * 80, FitCost())
        found = compare("auc", one, other)
        held += found.low <= truth.mean() <= found.high
        assert found.error < 0.006
    assert held / 200 >= 0.9


def test_one_tick_says_nothing():
    one, other = standing("one", 0.1, 1, ticks=1), standing("other", 0.0, 1, ticks=1)
    assert compare("auc", one, other).low == -math.inf


def test_ticks_count_by_their_labels_and_those_without_a_metric_are_left_out():
    one = Standing("one", None, 0.0, (0.5, None, 0.9), (1, 50, 3), FitCost())
    other = Standing("other", None, 0.0, (0.5, 0.1, 0.5), (1, 50, 3), FitCost())
    assert compare("auc", one, other).mean == pytest.approx(0.3)
    assert compare("auc", one, other).ticks == 2
