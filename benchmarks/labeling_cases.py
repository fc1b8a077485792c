"""What `benchmarks/labeling.py` learns: digits, a stream without noise, real flights; and by which learner."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from streams import draw

from homeostat.hooks import Hooks, load_hooks
from homeostat.pipelines import inference
from homeostat.pipelines.labels.out_of_fold import ROUNDS
from homeostat.pipelines.models.candidates import Boosting, Table, fit_candidate
from homeostat.pipelines.models.features import build_features
from homeostat.pipelines.models.manifest import describe_model, encode_target
from homeostat.pipelines.models.members import MOST_STEP
from homeostat.pipelines.models.training import train_model
from homeostat.project import Project, load_project

ROOT = Path(__file__).resolve().parents[1]
START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """Rows with their true labels, as `train_model` takes them, and the project they belong to."""

    name: str
    project: Project
    hooks: Hooks
    frame: pl.DataFrame

    @property
    def keys(self) -> list[str]:
        """The keys of the rows, as text."""
        return self.frame[self.project.data.key].cast(pl.String).to_list()

    @property
    def truth(self) -> np.ndarray:
        """The true labels (rows,)."""
        return self.frame["label"].to_numpy()


def digits() -> Case:
    """1,797 handwritten digits of 64 pixels, ten classes (scikit-learn; Alpaydin and Kaynak, 1998)."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return _case("digits", "multiclass", {f"p{i:02d}": pixels[:, i] for i in range(64)}, labels)


def stream(seed: int, rows: int = 6000) -> Case:
    """Random radial basis functions of river: two classes, eight numbers, no noise and no drift."""
    drawn = list(islice(draw("rbf", "still", seed, rows, rows - 1), rows))
    columns = {name: np.array([x[name] for x, _ in drawn]) for name in drawn[0][0]}
    named = {f"x{name}": values for name, values in columns.items()}
    return _case(f"stream {seed}", "binary", named, np.array([int(y) for _, y in drawn]))


def _case(name: str, task: str, columns: dict[str, np.ndarray], labels: np.ndarray) -> Case:
    classes = [int(label) for label in np.unique(labels)]
    data: dict[str, Any] = {"key": "id", "event_time": "at", "target": "y", "numeric": list(columns)}
    data |= {"classes": classes} | ({"positive": 1} if task == "binary" else {})
    raw = {"folder": ROOT, "project": {"name": "p", "task": task}, "data": data, "training": {"threads": 1}}
    project = Project.model_validate(raw | {"loop": {"tick": "7d", "start": "2024-01-01"}})
    times = pl.Series([START + timedelta(minutes=i) for i in range(len(labels))], dtype=pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"id": range(len(labels)), "event_at": times, **columns, "label": labels.astype(str)})
    return Case(name, project, Hooks(), frame)


def flights(rows: int, seed: int) -> Case:
    """A sample of the flights of `examples/flights` whose truth is known, in the order of their events."""
    project = load_project(ROOT / "examples" / "flights")
    hooks = load_hooks(project.folder)
    assert hooks.load_inputs is not None and hooks.load_feedback is not None
    truth = hooks.load_feedback(project.folder).select("id", label=pl.col("late").cast(pl.String))
    frame = hooks.load_inputs(project.folder).rename({"scheduled_at": "event_at"}).join(truth, on="id")
    return Case("flights", project, hooks, frame.sample(rows, seed=seed).sort("event_at", "id"))


def flip(labels: np.ndarray, share: float, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels (rows,) of which a share is turned into another class by chance, and which these are (rows,)."""
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[chance.choice(len(labels), round(share * len(labels)), replace=False)] = True
    return np.where(wrong, another(labels, chance), labels), wrong


def another(labels: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """For each label (rows,) one of the other classes, each as likely."""
    classes, codes = np.unique(labels, return_inverse=True)
    return classes[(codes + chance.integers(1, len(classes), len(labels))) % len(classes)]


class Learner:
    """The mean of the project's families, each fitted on all that is labelled: so few rows do not say which is best."""

    def __init__(self, case: Case) -> None:
        self.case, self.classes = case, sorted(set(case.truth))
        self.features = build_features(case.frame, case.project, case.hooks)
        self.told = describe_model(case.frame, self.features, case.project, case.hooks, self.classes)
        target = encode_target(case.frame["label"], self.told)
        self.table = Table(inference.encode(self.features, self.told["features"]), target)

    def fit(self, labelled: np.ndarray) -> np.ndarray:
        """Class chances of all rows (rows, classes) after learning from the labels at these positions."""
        project, part = self.case.project, self.table.part(labelled)
        boosting, found = Boosting(MOST_STEP, project.training.max_depth), []
        for family in project.training.candidates:
            fit = fit_candidate(family, part, self.told, project, self.case.hooks, rounds=ROUNDS, boosting=boosting)
            told = {**self.told, "family": fit.family, "rounds": fit.rounds}
            values = inference.model_values(fit.model, told, self.table.matrix)
            found.append(values if values.ndim == 2 else np.stack([1 - values, values], axis=1))
        return np.mean(found, axis=0)


class Single(Learner):
    """The one family that `train_model` takes, which it chooses on the newest of what is labelled."""

    def fit(self, labelled: np.ndarray) -> np.ndarray:
        """Class chances of all rows (rows, classes), as `Learner.fit`."""
        model = train_model(self.case.frame[labelled], self.case.project, self.case.hooks).predictor
        scored = model.score(self.case.frame)
        if self.told["task"] == "multiclass":
            return np.array(scored["scores"].to_list())
        return np.stack([1 - scored["score"].to_numpy(), scored["score"].to_numpy()], axis=1)
