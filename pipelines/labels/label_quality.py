"""The room of cleanlab: confident learning and CROWDLAB, on class positions and chances as plain arrays."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Settled:
    """What CROWDLAB settled: `labels` (items,) class positions, `quality` (items,) and that of `annotators`."""

    labels: np.ndarray
    quality: np.ndarray
    annotators: np.ndarray


def rate_labels(labels: np.ndarray, chances: np.ndarray, *, method: str, adjust: bool) -> np.ndarray:
    """The quality of each label (rows,) in [0, 1]; low is likely wrong.

    `labels` (rows,) are class positions, and `chances` (rows, classes) out of sample, none of them 0. With `adjust`
    every class must be among the labels.
    """
    from cleanlab.rank import get_label_quality_scores

    with _quiet():
        quality = get_label_quality_scores(labels, chances, method=method, adjust_pred_probs=adjust)
    return np.asarray(quality, dtype=np.float64)


def find_issues(labels: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Which labels confident learning takes to be wrong, as a mask (rows,); arguments as for `rate_labels`."""
    from cleanlab.filter import find_label_issues

    with _quiet():
        return np.asarray(find_label_issues(labels, chances, n_jobs=1), dtype=bool)


def crowdlab(answers: np.ndarray, chances: np.ndarray) -> Settled | None:
    """Settle answers (items, annotators), class positions with -1 for none, by CROWDLAB.

    Goh, Tkachenko and Mueller, "CROWDLAB: supervised learning to infer consensus labels" (2022). Every item and every
    annotator has an answer. None where it cannot be computed.
    """
    from cleanlab.multiannotator import get_label_quality_multiannotator

    numbers = np.where(answers < 0, np.nan, answers)
    try:
        with _quiet():
            made = get_label_quality_multiannotator(numbers, chances, verbose=False)
    except (ValueError, IndexError, ZeroDivisionError):
        return None
    items, people = made["label_quality"], made["annotator_stats"].sort_index()
    settled = Settled(
        items["consensus_label"].to_numpy().astype(np.int64),
        items["consensus_quality_score"].to_numpy().astype(np.float64),
        people["annotator_quality"].to_numpy().astype(np.float64),
    )
    return settled if np.isfinite(settled.quality).all() and len(settled.annotators) == answers.shape[1] else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
