"""What an estimator family is, and how another package adds one.

A family is a class that learns. How what it learned is kept and asked stands in `pipelines/inference/serving.py`, which
travels with every model: a family that is not one of ours gives an estimator of scikit-learn's interface, which skops
writes without pickle, so that the model predicts wherever that estimator's own library is installed.

    @FAMILIES.register("tree")
    class Tree(EstimatorFamily):
        def build(self, request):
            from sklearn.tree import DecisionTreeClassifier

            return DecisionTreeClassifier(max_depth=request.project.training.max_depth)
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from homeostat.errors import ProjectError
from homeostat.extensions import Extensions
from homeostat.hooks import Hooks
from homeostat.pipelines.inference import Manifest
from homeostat.project import Project, Task


@dataclass(frozen=True, slots=True)
class Table:
    """Encoded rows: `matrix` (rows, features) float32, `target` (rows,) class positions or values.

    `weight` (rows,) says how much each row counts; None: all alike. An estimator gets it where its fit takes it.
    """

    matrix: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None = None

    def part(self, positions: np.ndarray) -> Table:
        """Take the rows at these positions."""
        weight = None if self.weight is None else self.weight[positions]
        return Table(self.matrix[positions], self.target[positions], weight)


@dataclass(frozen=True, slots=True)
class Boosting:
    """How to boost: the step, the depth of a tree, and the booster to go on from, with what it was fitted on."""

    learning_rate: float
    max_depth: int
    base: Any = None

    @classmethod
    def of(cls, project: Project) -> Boosting:
        """The project's own settings, from nothing."""
        return cls(project.training.learning_rate, project.training.max_depth)


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What a fit is asked for: `manifest` gives the task, the classes and the features, `rounds` bounds boosting.

    With `valid` rows, boosting stops early on their loss.
    """

    manifest: Manifest
    project: Project
    hooks: Hooks
    rounds: int
    boosting: Boosting
    valid: Table | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a family learned: `rounds` are those it predicts with; `passes` over the rows were paid for."""

    model: Any
    rounds: int
    passes: int


@dataclass(frozen=True, slots=True)
class FitPrice:
    """What a fit costs in CPU seconds: a round or pass has a part of its own, a part a column, and a part a cell.

    The constants of a family were measured once (`docs/explanation/measurements.md`): a decision must not depend on how
    busy a machine is.
    """

    a_round: float
    a_column: float
    a_cell: float

    def seconds(self, rows: int, columns: int, rounds: int, outputs: int = 1) -> float:
        """CPU seconds of `rounds` rounds or passes over rows of so many columns, for so many outputs.

        >>> round(FitPrice(7e-4, 1.3e-4, 1.5e-8).seconds(50_000, 12, 60), 2)
        0.68
        """
        return rounds * outputs * (self.a_round + columns * (self.a_column + rows * self.a_cell))


class Family(ABC):
    """One way to learn; every fit is bit-identical for the same input.

    `trusted` names the modules whose types a model's file may hold besides numpy's, scipy's and scikit-learn's. `price`
    says what a fit costs, where that is known.
    """

    trusted: tuple[str, ...] = ()
    price: FitPrice | None = None

    @abstractmethod
    def fit(self, train: Table, request: FitRequest) -> Fitted:
        """Fit on encoded rows. Raises ProjectError where the project's own code is at fault."""


class EstimatorFamily(Family):
    """A family of an estimator that fits and predicts as scikit-learn's do; classifiers give `predict_proba`.

    It gets the encoded features (rows, features) as float32: numbers, positions in the vocabulary, NaN where missing.
    """

    @abstractmethod
    def build(self, request: FitRequest) -> Any:
        """A new estimator, its random state fixed by `request.project.training.seed`."""

    def fit(self, train: Table, request: FitRequest) -> Fitted:
        """Build an estimator and fit it, weighed where its fit takes weights."""
        from threadpoolctl import threadpool_limits

        model = self.build(request)
        with threadpool_limits(1):
            model.fit(train.matrix, train.target, **sample_weights(model, train))
        passes = count_passes(model)
        return Fitted(model, passes, passes)


FAMILIES: Extensions[type[Family]] = Extensions("estimator family")
"""Every known family by its name, as `training.candidates` names it."""


def check_candidates(project: Project) -> None:
    """Raise ProjectError where `training.candidates` names a family that nobody registered."""
    known = FAMILIES.names()
    for number, name in enumerate(project.training.candidates, start=1):
        if name not in known:
            expected = f"expected one of {', '.join(map(repr, known))}, got {name!r}."
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else None
            raise ProjectError(f"{project.file}: training.candidates, entry {number}: {expected}", hint)


def sample_weights(model: Any, train: Table) -> dict[str, np.ndarray]:
    """The weights as an argument of the model's fit; none where there are none or it takes none."""
    from sklearn.utils.validation import has_fit_parameter

    if train.weight is None or not has_fit_parameter(model, "sample_weight"):
        return {}
    return {"sample_weight": train.weight}


def count_passes(model: Any) -> int:
    """How often an estimator went over its rows, as far as it says: iterations, else members, else one."""
    last = model[-1] if hasattr(model, "named_steps") else model
    count = getattr(last, "n_iter_", None)
    if count is None:
        count = getattr(last, "n_estimators", None)
    return 1 if count is None else max(1, int(np.max(count)))


def is_regression(request: FitRequest) -> bool:
    """Whether numbers are predicted, and not classes."""
    return request.project.task is Task.REGRESSION
