"""Which rows are worth a label: those the model is unsure of, those that two models see differently, and new ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from homeostat.pipelines.labels.sampling import key_numbers

BINS, CATEGORIES, WIDTH = 10, 20, 200
PREFILTER = 10
FAR = 4.0


def uncertainty(scores: np.ndarray) -> np.ndarray:
    """How unsure class chances (rows, classes) are: 1 less the margin between the two highest, (rows,) in [0, 1].

    Margin sampling (Scheffer et al., "Active hidden Markov models for information extraction", 2001). A row without
    chances (NaN) is fully unsure.

    >>> uncertainty(np.array([[0.5, 0.5], [0.9, 0.1]])).round(3).tolist()
    [1.0, 0.2]
    """
    if scores.shape[1] < 2:
        return np.zeros(len(scores))
    top = np.partition(scores, -2, axis=1)[:, -2:]
    return np.clip(np.nan_to_num(1 - (top[:, 1] - top[:, 0]), nan=1.0), 0, 1)


def disagreement(scores: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far two models' class chances (rows, classes) are apart: the total variation distance, (rows,) in [0, 1].

    >>> disagreement(np.array([[0.9, 0.1]]), np.array([[0.2, 0.8]])).round(3).tolist()
    [0.7]
    """
    return np.clip(np.abs(scores - other).sum(axis=1) / 2, 0, 1)


def unusualness(reference: pl.DataFrame, current: pl.DataFrame, columns: list[str]) -> np.ndarray:
    """How much more often values like a row's occur now than in the reference: (rows,) in [0, 1], the mean of columns.

    Of one column it is the share of the current rows in the row's bin that the reference does not account for, 1 less
    the reference's rate over the current one, and 0 where the bin has become rarer. Numbers are binned by the
    reference's deciles, with a bin of their own below and above its range; null is a bin, and so is each category.
    Rates are smoothed by one row a bin. A column that either frame lacks is left out.
    """
    known = [name for name in columns if name in reference.columns and name in current.columns]
    if not known or not reference.height or not current.height:
        return np.zeros(current.height)
    return np.mean([_excess(*_bins(reference[name], current[name])) for name in known], axis=0)


def _excess(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    bins = int(max(before.max(), now.max())) + 1
    then, since = (np.bincount(codes, minlength=bins) + 1.0 for codes in (before, now))
    ratio = (then / then.sum()) / (since / since.sum())
    return np.clip(1 - ratio, 0, 1)[now]


def _bins(reference: pl.Series, current: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The bin of each value of both, numbered from 0; null is 0."""
    if _is_number(reference) and _is_number(current):
        numbers = [_numbers(reference), _numbers(current)]
        finite = numbers[0][np.isfinite(numbers[0])]
        edges = np.unique(np.quantile(finite, np.linspace(0, 1, BINS + 1))) if len(finite) else np.array([0.0])
        edges = np.append(edges[:-1], np.nextafter(edges[-1], np.inf)) if len(edges) > 1 else _around(edges[0])
        before, now = (np.where(np.isnan(x), 0, 1 + np.searchsorted(edges, x, side="right")) for x in numbers)
        return before, now
    both = pl.concat([reference.cast(pl.String), current.cast(pl.String)]).rank("dense").fill_null(0)
    codes = both.to_numpy().astype(np.int64)
    return codes[: len(reference)], codes[len(reference) :]


def _around(value: float) -> np.ndarray:
    return np.array([value, np.nextafter(value, np.inf)])


def _is_number(column: pl.Series) -> bool:
    return column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)


def _numbers(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64).to_numpy().astype(np.float64)


def choose_rows(features: pl.DataFrame, worth: np.ndarray, wanted: int, *, keys: Sequence[str]) -> np.ndarray:
    """Choose `wanted` rows that are worth a label and differ from each other: their positions, ascending.

    Of the 10 x `wanted` rows of highest `worth` (rows,), clustered into `wanted` clusters by their features with worth
    as weight, the most worthy of each cluster; where clusters are empty, the most worthy of the rest. After Zhdanov,
    "Diverse mini-batch active learning" (2019). Ties are broken by a hash of `keys`, so the order of rows is of no
    matter. NaN is the least worth. Deterministic.
    """
    rows = len(worth)
    if wanted >= rows:
        return np.arange(rows)
    if wanted <= 0:
        return np.empty(0, dtype=np.int64)
    value = np.nan_to_num(np.asarray(worth, dtype=np.float64), nan=-np.inf, neginf=-np.inf)
    kept = _most_worthy(value, min(PREFILTER * wanted, rows), keys)
    clusters = _cluster(_matrix(features[kept]), value[kept], wanted)
    first = np.unique(clusters, return_index=True)[1]
    chosen = np.zeros(len(kept), dtype=bool)
    chosen[first] = True
    chosen[np.flatnonzero(~chosen)[: wanted - len(first)]] = True
    return np.sort(kept[chosen])


def _most_worthy(value: np.ndarray, count: int, keys: Sequence[str]) -> np.ndarray:
    """Positions of the `count` rows of highest value, the most worthy first; ties by the hash of the key."""
    edge = np.partition(value, len(value) - count)[len(value) - count]
    likely = np.flatnonzero(value >= edge)
    luck = key_numbers([keys[int(i)] for i in likely], "choose")
    return likely[np.lexsort((luck, -value[likely]))][:count]


def _cluster(matrix: np.ndarray, value: np.ndarray, clusters: int) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    weight = np.clip(value, 0, None)
    weight = np.maximum(weight, weight.max() * 1e-6) if weight.max() > 0 else np.ones(len(value))
    settings: dict[str, Any] = {"random_state": 0, "n_init": 1, "batch_size": max(1024, 3 * clusters)}
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        return np.asarray(MiniBatchKMeans(clusters, **settings).fit(matrix, sample_weight=weight).labels_)


def _matrix(features: pl.DataFrame) -> np.ndarray:
    """Features as float64 (rows, at most WIDTH): numbers standardized and capped, the commonest categories one-hot."""
    columns: list[np.ndarray] = []
    for column in features:
        columns += [_standard(column)] if _is_number(column) else _one_hot(column)
    return np.stack(columns[:WIDTH], axis=1) if columns else np.zeros((features.height, 1))


def _standard(column: pl.Series) -> np.ndarray:
    values = _numbers(column)
    known = values[np.isfinite(values)]
    spread = known.std() if len(known) else 0.0
    scaled = (values - known.mean()) / spread if spread > 0 else np.zeros(len(values))
    return np.clip(np.nan_to_num(scaled, nan=0.0), -FAR, FAR)


def _one_hot(column: pl.Series) -> list[np.ndarray]:
    texts = column.cast(pl.String).alias("value")
    common = texts.drop_nulls().value_counts().sort(["count", "value"], descending=[True, False])["value"]
    return [(texts == value).fill_null(False).to_numpy().astype(np.float64) for value in common.head(CATEGORIES)]
