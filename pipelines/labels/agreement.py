"""Agreement: how far people say the same beyond what chance alone would give."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl


def cohen_kappa(answers: pl.DataFrame) -> pl.DataFrame:
    """Cohen's kappa (1960) of every pair of annotators, over the items that both answered.

    `answers`: item, annotator, label. Of one annotator's answers to one item the last counts. Returns first, second,
    items, kappa, sorted; kappa is null where it is undefined: without common items, or where chance alone agrees.
    """
    given = _clean(answers)
    people = sorted(set(given["annotator"]))
    by_person = {name: dict(given.filter(pl.col("annotator") == name).select("item", "label").iter_rows())
                 for name in people}  # fmt: skip
    rows = []
    for first, second in combinations(people, 2):
        common = sorted(by_person[first].keys() & by_person[second].keys())
        pair = [[by_person[name][item] for item in common] for name in (first, second)]
        rows.append((first, second, len(common), _kappa(*(np.array(labels, dtype=object) for labels in pair))))
    schema = {"first": pl.String, "second": pl.String, "items": pl.Int64, "kappa": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _kappa(first: np.ndarray, second: np.ndarray) -> float | None:
    if not len(first):
        return None
    seen = float(np.mean(first == second))
    chance = sum(float(np.mean(first == label) * np.mean(second == label)) for label in {*first, *second})
    return None if chance >= 1 else (seen - chance) / (1 - chance)


def krippendorff_alpha(answers: pl.DataFrame, classes: Sequence[str]) -> float | None:
    """Krippendorff's alpha for nominal labels, over any number of annotators with any of their answers missing.

    `answers` as for `cohen_kappa`; labels that are not among `classes` count as classes too. None where it is
    undefined: no item with two answers, or one label only.
    """
    from krippendorff import alpha

    given = _clean(answers)
    named = [*classes, *sorted(set(given["label"]) - set(classes))]
    items = {item: at for at, item in enumerate(dict.fromkeys(given["item"]))}
    counts = np.zeros((len(items), len(named)), dtype=np.int64)
    places = {label: at for at, label in enumerate(named)}
    for item, label in given.select("item", "label").iter_rows():
        counts[items[item], places[label]] += 1
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts) or np.count_nonzero(counts.sum(axis=0)) < 2:
        return None
    return float(alpha(value_counts=counts, level_of_measurement="nominal"))


def _clean(answers: pl.DataFrame) -> pl.DataFrame:
    given = answers.select(pl.col("item", "annotator", "label").cast(pl.String)).drop_nulls()
    return given.unique(["item", "annotator"], keep="last", maintain_order=True)
