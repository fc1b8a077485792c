"""Doubts: labels that were flipped come first, and odd labels are borne."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.pipelines.labels.doubts import find_doubts, is_doubtful

CLASSES = ["a", "b", "c"]


def flipped(rows: int = 600, share: float = 0.05, seed: int = 0) -> tuple[pl.Series, np.ndarray, np.ndarray]:
    """Labels of which a share is flipped, chances of a model that is mostly right, and which were flipped."""
    draw = np.random.default_rng(seed)
    truth = draw.choice(3, rows, p=[0.6, 0.3, 0.1])
    wrong = draw.random(rows) < share
    told = np.where(wrong, (truth + draw.integers(1, 3, rows)) % 3, truth)
    logits = draw.normal(size=(rows, 3)) + 4 * np.eye(3)[truth]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return pl.Series([CLASSES[i] for i in told]), chances, wrong


@pytest.mark.parametrize("method", ["self_confidence", "normalized_margin"])
@pytest.mark.parametrize("adjust", [False, True])
def test_flipped_labels_are_among_the_most_doubtful(method: str, adjust: bool) -> None:
    labels, chances, wrong = flipped()
    doubts = find_doubts(labels, chances, CLASSES, method=method, adjust=adjust)
    assert doubts.min() >= 0 and doubts.max() <= 1
    assert wrong[np.argsort(-doubts)[:60]].sum() / wrong.sum() > 0.9


def test_confident_learning_marks_most_of_what_was_flipped_and_little_else() -> None:
    labels, chances, wrong = flipped()
    marked = is_doubtful(labels, chances, CLASSES)
    assert (marked & wrong).sum() / wrong.sum() > 0.7 and (marked & ~wrong).mean() < 0.05


def test_the_doubt_is_what_the_model_gives_to_other_labels() -> None:
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    assert find_doubts(pl.Series(["a", "b"]), chances, CLASSES) == pytest.approx([0.3, 0.9])


def test_a_null_is_not_doubted_and_what_is_no_class_is() -> None:
    labels, chances, _ = flipped(50)
    odd = pl.Series([None, "no class", *labels[2:]], dtype=pl.String)
    doubts, marked = find_doubts(odd, chances, CLASSES), is_doubtful(odd, chances, CLASSES)
    assert doubts[:2].tolist() == [0.0, 1.0] and marked[:2].tolist() == [False, True]
    assert doubts[2:] == pytest.approx(find_doubts(labels, chances, CLASSES)[2:])


@given(st.lists(st.sampled_from([*CLASSES, "no class", None]), max_size=12), st.booleans())
def test_whatever_labels_there_are_each_row_has_a_doubt(labels: list[str | None], adjust: bool) -> None:
    told = pl.Series(labels, dtype=pl.String)
    chances = np.random.default_rng(0).dirichlet(np.ones(3) / 4, len(labels))
    doubts, marked = find_doubts(told, chances, CLASSES, adjust=adjust), is_doubtful(told, chances, CLASSES)
    assert doubts.shape == marked.shape == (len(labels),) and marked.dtype == bool
    assert np.isfinite(doubts).all() and (doubts >= 0).all() and (doubts <= 1).all()


def test_a_rare_class_is_not_doubted_altogether_when_classes_are_measured_by_themselves() -> None:
    chances = np.tile([0.85, 0.15], (100, 1)) + np.random.default_rng(0).uniform(-0.05, 0.05, (100, 1)) * [1, -1]
    labels = pl.Series(["a"] * 90 + ["b"] * 10)
    plain, adjusted = (find_doubts(labels, chances, ["a", "b"], adjust=adjust) for adjust in (False, True))
    assert plain[90:].min() > plain[:90].max() and adjusted[90:].min() < adjusted[:90].max()
