"""What several people's answers say together: the EM of Dawid and Skene (1979), with a model's chances or without.

Each annotator has one accuracy, and errs evenly over the other classes (the one-coin model), since with few answers a
whole table of confusions cannot be told. The accuracies are drawn towards `PRIOR`, as if `PRIOR_ANSWERS` more answers
had shown it. A model's chances are what is known of an item before anybody answers (Raykar et al., "Learning from
crowds", 2010), made sharper or flatter by the temperature under which the answers are the likeliest.
"""

from __future__ import annotations

import numpy as np

PRIOR, PRIOR_ANSWERS = 0.8, 4.0
STEPS, SETTLED = 100, 1e-6
SHARPNESS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0)
# However sure it is, a model is wrong for reasons of its own once in a thousand rows.
DOUBT = 1e-3


def weigh_answers(
    answers: np.ndarray, classes: int, chances: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The chance of each class for each item (items, classes), and each annotator's accuracy (annotators,).

    `answers` (items, annotators) are class positions, -1 for none; `chances` (items, classes) are a model's that has
    not learned from them. An item without an answer gets the model's chances, or the classes' rates.
    """
    if classes < 2:
        return np.ones((len(answers), max(classes, 1))), np.ones(answers.shape[1])
    answered = answers[:, :, None] == np.arange(classes)
    sharpened = [] if chances is None else [_sharpen(chances, power) for power in SHARPNESS]
    posterior = (answered.sum(axis=1) + 1 / classes) / (answered.sum(axis=(1, 2))[:, None] + 1)
    accuracies = _accuracies(answered, posterior)
    for _ in range(STEPS):
        before = accuracies
        rates = np.log((posterior.sum(axis=0) + 1) / (len(answers) + classes))
        weight = np.einsum("iac,a->ic", answered, log_odds(accuracies, classes))
        prior = max(sharpened, key=lambda logs: _total(logs + weight).sum()) if sharpened else rates
        posterior = np.exp(prior + weight - _total(prior + weight)[:, None])
        accuracies = _accuracies(answered, posterior)
        if np.abs(accuracies - before).max(initial=0) < SETTLED:
            break
    return posterior, accuracies


def _accuracies(answered: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    right = np.einsum("iac,ic->a", answered, posterior)
    return (right + PRIOR * PRIOR_ANSWERS) / (answered.sum(axis=(0, 2)) + PRIOR_ANSWERS)


def _sharpen(chances: np.ndarray, power: float) -> np.ndarray:
    """Log chances (items, classes) to a power, made to add up to 1 again, and with a rest of doubt."""
    logs = power * np.log(np.clip(chances, 1e-12, None))
    raw = np.exp(logs - _total(logs)[:, None])
    return np.log((1 - DOUBT) * raw + DOUBT / chances.shape[1])


def _total(logs: np.ndarray) -> np.ndarray:
    top = logs.max(axis=1)
    return top + np.log(np.exp(logs - top[:, None]).sum(axis=1))


def log_odds(accuracies: np.ndarray, classes: int) -> np.ndarray:
    """What an answer weighs: the log odds of a right one against one certain wrong class, never below 0.

    >>> log_odds(np.array([0.5, 0.8]), 2).round(3).tolist()
    [0.0, 1.386]
    """
    known = np.clip(accuracies, 1 / classes, 0.99)
    return np.log(known * (classes - 1) / (1 - known))
