"""What several people's answers say together where nothing else is known: the EM of Dawid and Skene (1979).

Each annotator has one accuracy, and errs evenly over the other classes (the one-coin model), since with few answers a
whole table of confusions cannot be told. The accuracies are drawn towards `PRIOR`, as if `PRIOR_ANSWERS` more answers
had shown it.
"""

from __future__ import annotations

import numpy as np

PRIOR, PRIOR_ANSWERS = 0.8, 4.0
STEPS, SETTLED = 100, 1e-6


def weigh_answers(answers: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The chance of each class for each item (items, classes), and each annotator's accuracy (annotators,).

    `answers` (items, annotators) are class positions, -1 for none. An item without an answer gets the classes' rates.
    """
    if classes < 2:
        return np.ones((len(answers), max(classes, 1))), np.ones(answers.shape[1])
    told = answers[:, :, None] == np.arange(classes)
    chances = (told.sum(axis=1) + 1 / classes) / (told.sum(axis=(1, 2))[:, None] + 1)
    accuracies = np.full(answers.shape[1], PRIOR)
    for _ in range(STEPS):
        before = accuracies
        right = np.einsum("iac,ic->a", told, chances)
        accuracies = (right + PRIOR * PRIOR_ANSWERS) / (told.sum(axis=(0, 2)) + PRIOR_ANSWERS)
        rates = (chances.sum(axis=0) + 1) / (len(answers) + classes)
        chances = posterior(told, accuracies, rates)
        if np.abs(accuracies - before).max(initial=0) < SETTLED:
            break
    return chances, accuracies


def posterior(told: np.ndarray, accuracies: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """The chance of each class (items, classes): `told` (items, annotators, classes) is true for the answer given."""
    classes = told.shape[2]
    odds = log_odds(accuracies, classes)
    logs = np.log(rates) + np.einsum("iac,a->ic", told, odds)
    raw = np.exp(logs - logs.max(axis=1, keepdims=True))
    return raw / raw.sum(axis=1, keepdims=True)


def log_odds(accuracies: np.ndarray, classes: int) -> np.ndarray:
    """What an answer weighs: the log odds of a right one against one certain wrong class, never below 0.

    >>> log_odds(np.array([0.5, 0.8]), 2).round(3).tolist()
    [0.0, 1.386]
    """
    known = np.clip(accuracies, 1 / classes, 0.99)
    return np.log(known * (classes - 1) / (1 - known))
