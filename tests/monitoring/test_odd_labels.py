"""Odd labels: gross faults are told, usual days are not, and what the next batch shows again is the world."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from homeostat.monitoring.odd_labels import (
    LabelMemory,
    LabelNews,
    LabelSums,
    Oddity,
    find_oddity,
    judge_labels,
    sum_labels,
)
from homeostat.project import Task
from homeostat.store.facts import Fact


def binary(rows: int, base: float, seed: int, fault: str = "", spread: float = 0.2) -> pl.DataFrame:
    """Labels of a calibrated model, whose days differ; or with a fault."""
    chance = np.random.default_rng(seed)
    signal = 1.5 * chance.normal(size=rows) + np.log(base / (1 - base))
    score = 1 / (1 + np.exp(-signal))
    label = chance.random(rows) < 1 / (1 + np.exp(-signal - spread * chance.normal()))
    kept = np.ones(rows, bool)
    if fault == "flip":
        label = ~label
    elif fault == "balance":
        kept = label | (chance.random(rows) < 0.05)
    elif fault:
        label = np.full(rows, fault == "one")
    text = [str(int(value)) for value in label[kept]]
    shown = ["1" if value > 0.5 else "0" for value in score[kept]]
    return pl.DataFrame({"label": text, "prediction": shown, "score": score[kept]})


def sums(day: int, frame: pl.DataFrame, task: Task = Task.BINARY) -> LabelSums:
    found = sum_labels(f"b{day}", f"{day:03}", frame, task, "1" if task is Task.BINARY else None)
    assert found is not None
    return found


def usual(rows: int, base: float, seed: int, days: int = 8) -> tuple[LabelMemory, list[object]]:
    memory, odd = LabelMemory(), []
    for day in range(days):
        memory, news = judge_labels(memory, sums(day, binary(rows, base, 100 * seed + day)))
        odd.append(news.odd)
    return memory, [each for each in odd if each is not None]


@pytest.mark.parametrize(("rows", "base"), [(15, 0.5), (60, 0.3), (400, 0.5), (400, 0.05), (2000, 0.01)])
def test_usual_days_are_not_odd(rows: int, base: float) -> None:
    assert [odd for seed in range(4) for odd in usual(rows, base, seed, days=25)[1]] == []


@pytest.mark.parametrize(("fault", "oddity", "rows", "base"), [
    ("flip", Oddity.TURNED, 400, 0.5), ("flip", Oddity.TURNED, 400, 0.05), ("flip", Oddity.TURNED, 60, 0.5),
    ("zero", Oddity.CONSTANT, 60, 0.5), ("zero", Oddity.CONSTANT, 600, 0.05), ("one", Oddity.CONSTANT, 60, 0.05),
    ("balance", Oddity.BALANCE, 400, 0.5), ("balance", Oddity.BALANCE, 2000, 0.05),
])  # fmt: skip
def test_gross_faults_are_told(fault: str, oddity: Oddity, rows: int, base: float) -> None:
    for seed in range(4):
        odd = find_oddity(sums(99, binary(rows, base, seed + 50, fault)), usual(rows, base, seed)[0].usual)
        assert odd is not None and odd.oddity is oddity and odd.p_value < 1e-5, (seed, odd)


def test_no_positive_among_few_rows_of_a_rare_class_is_not_odd() -> None:
    assert find_oddity(sums(99, binary(100, 0.03, 5, "zero")), usual(100, 0.03, 1)[0].usual) is None


def test_where_only_positives_are_ever_reported_the_first_batch_is_odd() -> None:
    """As chargebacks are: by the scores few labels of one class were to be expected."""
    frame = binary(400, 0.05, 1)
    odd = find_oddity(sums(0, frame.filter(pl.col("label") == "1")), ())
    assert odd is not None and odd.oddity is Oddity.CONSTANT and "by the scores" in odd.detail
    assert find_oddity(sums(0, frame), ()) is None
    assert find_oddity(sums(0, frame.filter(pl.col("label") == "0")), ()) is None


def test_what_the_next_batch_shows_again_is_the_world() -> None:
    memory, _ = usual(400, 0.4, 1)
    memory, news = judge_labels(memory, sums(20, binary(400, 0.4, 20, "flip")))
    assert news.odd is not None and [odd.batch for odd in memory.held] == ["b20"]
    memory, news = judge_labels(memory, sums(21, binary(400, 0.4, 21, "flip")))
    assert [odd.batch for odd in news.confirmed] == ["b20", "b21"] and memory.held == ()
    for day in range(22, 26):
        memory, news = judge_labels(memory, sums(day, binary(400, 0.4, day, "flip")))
        assert news.odd is None and not memory.held


def test_labels_that_are_all_the_same_stay_held_and_are_told_once() -> None:
    memory, _ = usual(400, 0.4, 1)
    told = []
    for day in (20, 21, 22):
        memory, news = judge_labels(memory, sums(day, binary(400, 0.4, day, "zero")))
        told.append(news.odd is not None)
    assert told == [True, False, False] and [odd.batch for odd in memory.held] == ["b20", "b21", "b22"]


def test_a_few_labels_that_are_all_the_same_are_held_too_where_those_before_were() -> None:
    few = sums(21, binary(8, 0.4, 3, "one"))
    memory, _ = usual(400, 0.4, 1)
    assert not judge_labels(memory, few)[0].held
    memory, _ = judge_labels(memory, sums(20, binary(400, 0.4, 20, "one")))
    assert [odd.batch for odd in judge_labels(memory, few)[0].held] == ["b20", "b21"]


def test_labels_that_are_judged_again_stay_held_however_much_comes_after_them() -> None:
    odd = sums(20, binary(400, 0.4, 20, "flip"))
    memory, _ = judge_labels(usual(400, 0.4, 1)[0], odd)
    for day in range(21, 21 + 40):
        memory, news = judge_labels(memory, odd)
        assert news == LabelNews() and [held.batch for held in memory.held] == ["b20"]
        memory, _ = judge_labels(memory, sums(day, binary(400, 0.4, day)))
    memory, _ = judge_labels(memory, sums(20, binary(390, 0.4, 20, "flip")))
    assert [held.batch for held in memory.held] == ["b20"]


def test_labels_that_change_are_odd_no_more_and_accepted_ones_are_not_odd_again() -> None:
    memory, _ = usual(400, 0.4, 1)
    memory, _ = judge_labels(memory, sums(20, binary(400, 0.4, 20, "flip")))
    mended, news = judge_labels(memory, sums(20, binary(400, 0.4, 20)))
    assert news.mended is not None and news.mended.batch == "b20" and not mended.held
    accepted, news = judge_labels(memory.accept(["b20"]), sums(20, binary(400, 0.4, 20, "flip")))
    assert news.odd is None and not accepted.held


def test_a_batch_that_comes_again_while_it_is_odd_is_told_once() -> None:
    memory, _ = usual(400, 0.4, 1)
    memory, first = judge_labels(memory, sums(20, binary(400, 0.4, 20, "flip")))
    memory, second = judge_labels(memory, sums(20, binary(400, 0.4, 20, "flip")))
    assert first.odd is not None and second.odd is None and len(memory.held) == 1


def test_numbers_that_turn_or_stand_still_are_odd() -> None:
    def numbers(seed: int, fault: str = "") -> pl.DataFrame:
        chance = np.random.default_rng(seed)
        value = chance.normal(size=200)
        truth = np.full(200, 3.0) if fault == "same" else value * (-1 if fault == "flip" else 1)
        return pl.DataFrame({"label": truth + (0 if fault == "same" else chance.normal(size=200)), "prediction": value})

    known = [sums(day, numbers(day), Task.REGRESSION) for day in range(8)]
    assert find_oddity(sums(9, numbers(9), Task.REGRESSION), known) is None
    for fault, oddity in (("same", Oddity.CONSTANT), ("flip", Oddity.TURNED)):
        odd = find_oddity(sums(9, numbers(9, fault), Task.REGRESSION), known)
        assert odd is not None and odd.oddity is oddity


def test_classes_that_are_swapped_are_odd() -> None:
    def three(seed: int, swapped: bool = False) -> pl.DataFrame:
        chance = np.random.default_rng(seed)
        scores = chance.dirichlet([0.4, 0.4, 0.4], 300)
        label = np.array([chance.choice(3, p=row) for row in scores])
        named = [("b", "c", "a")[at] if swapped else "abc"[at] for at in label]
        lists = {"classes": [list("abc")] * 300, "scores": scores.tolist()}
        return pl.DataFrame({"label": named, "prediction": ["abc"[at] for at in scores.argmax(1)], **lists})

    known = [sums(day, three(day), Task.MULTICLASS) for day in range(8)]
    assert find_oddity(sums(9, three(9), Task.MULTICLASS), known) is None
    odd = find_oddity(sums(9, three(9, swapped=True), Task.MULTICLASS), known)
    assert odd is not None and odd.oddity is Oddity.TURNED


def test_too_few_labels_are_not_judged_and_a_memory_survives_json() -> None:
    assert sum_labels("b", "1", binary(2, 0.5, 1), Task.BINARY, "1") is None
    memory, _ = judge_labels(usual(400, 0.4, 1)[0], sums(20, binary(400, 0.4, 20, "flip")))
    kept = Fact("labels", LabelMemory)
    assert kept.load(json.loads(json.dumps(kept.dump(memory), allow_nan=False))) == memory
