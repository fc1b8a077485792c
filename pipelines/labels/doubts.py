"""Doubts: which labels are likely wrong, by a model that has not learned from them.

Confident learning (Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from homeostat.pipelines.labels.label_quality import find_issues, rate_labels

LEAST_CHANCE = 1e-6


def find_doubts(
    labels: pl.Series,
    chances: np.ndarray,
    classes: Sequence[str],
    *,
    method: str = "self_confidence",
    adjust: bool = False,
) -> np.ndarray:
    """How doubtful each label is, (rows,) in [0, 1]; high is likely wrong.

    `chances` (rows, classes) are out of sample. The doubt is 1 less the label's own chance (self-confidence; Kuan and
    Mueller, "Model-agnostic label quality scoring to detect real-world label errors", 2022); `method` may also be
    "normalized_margin". With `adjust` each class is measured by its own usual confidence, so that a rare one is not
    doubted altogether. A null label has no doubt, one that is not among `classes` all of it.
    """
    codes, doubts = _encode(labels, classes)
    known = codes >= 0
    if known.any():
        own, part = codes[known], _positive(chances[known])
        adjustable = adjust and len(np.unique(own)) > 1
        if adjustable:
            own, part = _seen_only(own, part)
        doubts[known] = 1 - rate_labels(own, part, method=method, adjust=adjustable)
    return np.clip(np.nan_to_num(doubts, nan=0.0), 0, 1)


def is_doubtful(labels: pl.Series, chances: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Which labels confident learning takes to be wrong, as a mask (rows,).

    Arguments as for `find_doubts`. Where only one class is seen no label of it is doubtful; one that is not among
    `classes` is.
    """
    codes, issues = _encode(labels, classes)
    known = codes >= 0
    if len(np.unique(codes[known])) > 1:
        issues[known] = find_issues(codes[known], _positive(chances[known]))
    return issues.astype(bool)


def _encode(labels: pl.Series, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Class positions (rows,), -1 for what is no class, and 1.0 (rows,) where a label is none of them, else 0.0."""
    places = {name: at for at, name in enumerate(classes)}
    codes = np.array([places.get(label, -1) for label in labels], dtype=np.int64)
    return codes, ((codes < 0) & labels.is_not_null().to_numpy()).astype(np.float64)


def _positive(chances: np.ndarray) -> np.ndarray:
    part = np.clip(np.nan_to_num(chances, nan=1 / chances.shape[1]), LEAST_CHANCE, None)
    return part / part.sum(axis=1, keepdims=True)


def _seen_only(codes: np.ndarray, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the classes that no label has: a class without labels has no usual confidence."""
    seen, own = np.unique(codes, return_inverse=True)
    return own, _positive(chances[:, seen])
