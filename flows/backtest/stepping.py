"""Our own policy in a backtest: the steps that `homeostat.flows.learning.update` takes in the loop, taken in memory.

What it leaves out of the loop: the alarm, which would have everything learned again sooner and begin a new lineage, and
the check for a column that has gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from homeostat.flows.backtest.policies import Bench, Model
from homeostat.flows.learning.rules import (
    compare_scores,
    full_cost_per_tick,
    groups_of,
    kept_apart,
    list_plans,
    mean_losses,
    paired_gain,
    probation_losses,
    probation_scale,
    share_apart,
)
from homeostat.monitoring.retraining.forecast import RETRAIN, Outcome, choose_plan
from homeostat.monitoring.retraining.probation import Probation
from homeostat.pipelines.history.knowledge import Known
from homeostat.pipelines.history.refits import Refit
from homeostat.pipelines.inference import Predictor
from homeostat.pipelines.models.ensemble import describe_ensemble, refit_members
from homeostat.pipelines.models.members import FIRST, Member, admit, follow, list_specs
from homeostat.records import FitCost
from homeostat.registry.promotion import decide_promotion

MOST_OUTCOMES = 20


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A step that waits for what comes of it, on the first batch after `tick`."""

    tick: int
    kind: str
    forecast: float
    before: Predictor
    after: Predictor


@dataclass(eq=False)
class Stepping:
    """The policy `forecast`: recalibrate, refresh, retrain or wait, each step compared on rows that were kept apart."""

    name: str = "forecast"
    setting: Mapping[str, Any] | None = field(default_factory=lambda: {"policy": "forecast"})
    counts: bool = False
    champion: Predictor | None = None
    working: Predictor | None = None
    members: dict[str, Member] = field(default_factory=dict)
    root: Predictor | None = None
    weights: dict[str, float] = field(default_factory=dict)
    standing: dict[int, Predictor] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    served: dict[int, Predictor] = field(default_factory=dict)
    probation: Probation | None = None
    tried: int = 0
    until: int = 0
    whole: int = 0
    labels: int = 0
    spent: int = 0
    full_cost: int = 0
    full_cost_per_tick: int = 0

    def learn(self, known: Known, bench: Bench) -> Model | None:
        """Take the step that is forecast to pay, if any; None where the model that serves stays."""
        if self.champion is None:
            self._begin(known, bench)
        assert self.champion is not None and self.working is not None
        served, labels = self.champion, len(known.rows)
        self.standing[known.tick], self.served[known.tick] = self.working, served
        self.full_cost_per_tick = full_cost_per_tick(labels, self.champion.manifest)
        self.full_cost += self.full_cost_per_tick if labels > self.labels else 0
        self.labels = labels
        ticks = _mature(known, bench, self.until)
        self._settle_accounts(known, bench, ticks)
        self._try(known, bench)
        if self.probation is not None and self.probation.harm(bench.project.monitoring.alpha) is not None:
            self._roll_back(known)
            return self.champion
        fresh = {tick: rows for tick in ticks if len(rows := _labelled(known, tick))}
        count = sum(map(len, fresh.values()))
        if count * share_apart(bench.project, count) >= bench.project.gates.min_rows:
            self._step(known, bench, fresh, count / max(max(fresh) - self.until, 1))
        for old in [tick for tick in self.standing if tick <= min(self.until, self.tried)]:
            del self.standing[old]
        return None if self.champion is served else self.champion

    def _begin(self, known: Known, bench: Bench) -> None:
        first = bench.serving
        assert isinstance(first, Refit)
        kept = {key: first.manifest[key] for key in ("family", "rounds", "classes", "features")}
        self.members = {FIRST: Member({"name": FIRST, **kept}, first.model, FitCost())}
        self.weights = {FIRST: 1.0}
        self.until, self.whole = bench.first_tick, len(first.rows)
        self.champion = self.working = self._predictor(bench, first.manifest)
        self.root, self.probation, self.tried = self.working, Probation(0, ""), self.until
        self.standing = dict.fromkeys(range(self.until, known.tick), self.working)

    def _predictor(self, bench: Bench, manifest: dict[str, Any]) -> Predictor:
        told = describe_ensemble(manifest, self.members, self.weights)
        hooks = bench.learner.history.hooks
        return Predictor(told, [member.model for member in self.members.values()], hooks.build_features)

    def _step(self, known: Known, bench: Bench, fresh: dict[int, np.ndarray], a_tick: float) -> None:
        project = bench.project
        counts = {"members": len(self.members), "whole": self.whole, "labels": self.labels}
        plans = list_plans(project, rows_a_tick=a_tick, alarmed=False, **counts)
        accounts = {"spent": self.spent, "full_cost": self.full_cost, "full_cost_per_tick": self.full_cost_per_tick}
        chosen, _ = choose_plan(plans, self.outcomes, rows_a_tick=a_tick, settings=project.retraining, **accounts)
        if chosen is None:
            return
        assert self.champion is not None and self.working is not None
        rows = np.concatenate(list(fresh.values()))
        frame = known.frame(rows)
        apart = kept_apart(frame[project.data.key], share_apart(project, len(rows)))
        if not apart.any():
            return
        self._follow(bench, fresh, frame.filter(~apart), frame)
        self._refit(known, bench, chosen.plan.members, max(fresh), rows[apart])
        before = self.champion
        self.working = self._predictor(bench, self.working.manifest)
        if self._is_better(bench, frame.filter(apart)) and not self._doubted(known.tick - max(fresh)):
            self.champion = self.working
        self.attempts.append(Attempt(known.tick, chosen.plan.kind, chosen.gain, before, self.working))
        self.until = max(fresh)
        self.whole = self.labels if chosen.plan.kind == RETRAIN else self.whole

    def _follow(self, bench: Bench, fresh: dict[int, np.ndarray], learn: pl.DataFrame, frame: pl.DataFrame) -> None:
        """Let the weights follow the new batches, each by the members that stood when it was scored."""
        ticks = np.repeat(list(fresh), [len(rows) for rows in fresh.values()])
        came = dict(zip(frame[bench.project.data.key].to_list(), ticks.tolist(), strict=True))
        when = pl.Series([came[key] for key in learn[bench.project.data.key].to_list()])
        for tick in fresh:
            mine = learn.filter(when == tick)
            if mine.is_empty():
                continue
            model = self.standing[max(t for t in self.standing if t < tick or t == min(self.standing))]
            losses = mean_losses(
                bench.project.task, mine["label"], model.score(mine), model.score_members(mine), model.positive
            )
            self.weights = follow(self.weights, losses)

    def _refit(self, known: Known, bench: Bench, names: tuple[str, ...], end: int, apart: np.ndarray) -> None:
        history, project = bench.learner.history, bench.project
        usable = np.setdiff1d(known.rows[history.tick[known.rows] <= end], apart)
        events = history.frame["event_at"].gather(usable)

        def rows(ticks: int | None) -> pl.DataFrame:
            if ticks is None:
                return known.frame(usable)
            return known.frame(usable[(events >= history.at(end) - ticks * project.loop.tick).to_numpy()])

        specs = tuple(spec for spec in list_specs(project) if spec.name in names)
        assert self.working is not None
        classes = self.working.manifest["classes"]
        self.members, cost, _ = refit_members(self.members, specs, rows, classes, project, history.hooks)
        self.weights = admit(self.weights, list(self.members))
        self.spent += cost.row_rounds
        bench.charge(cost)

    def _is_better(self, bench: Bench, rows: pl.DataFrame) -> bool:
        assert self.champion is not None and self.working is not None
        comparison = compare_scores(
            bench.project.task,
            rows["label"],
            champion=(0, self.champion.score(rows)),
            challenger=(1, self.working.score(rows)),
            batches=(),
            positive=self.working.positive,
            groups=groups_of(bench.project, rows) if bench.project.data.sensitive else None,
        )
        verdict = decide_promotion(comparison, bench.project, bench.project.start_at)
        return verdict.kind in {"promote", "ask"}

    def _doubted(self, late: int) -> bool:
        return self.probation is not None and self.probation.doubt(late) is not None

    def _try(self, known: Known, bench: Bench) -> None:
        """Take the batches that have matured into the probation, as `homeostat.flows.learning.probation` does."""
        assert self.probation is not None and self.root is not None
        task = bench.project.task
        for tick in _mature(known, bench, self.tried):
            self.tried = tick
            served, newest, rows = self.served.pop(tick), self.standing[tick], _labelled(known, tick)
            if not len(rows) or served is newest is self.root:
                continue
            frame = known.frame(rows)
            labels, said = frame["label"], self.root.score(frame)
            scale = probation_scale(task, labels, said)
            root, new, old = (
                probation_losses(task, labels, scored, self.root.positive, scale)
                for scored in (said, newest.score(frame), served.score(frame))
            )
            differences = np.empty(0) if served is self.root else (old - root).mean(axis=0)
            gains = None if newest is self.root else (root - new).mean(axis=1)
            told = None if gains is None else (float(gains[0]), float(gains[1]))
            self.probation = self.probation.take(differences, told, "")

    def _roll_back(self, known: Known) -> None:
        assert self.root is not None
        self.champion = self.working = self.root
        self.members, self.weights = {FIRST: self.members[FIRST]}, {FIRST: 1.0}
        self.probation, self.until, self.tried = Probation(0, "", wary=True), known.tick, known.tick
        self.served = {}

    def _settle_accounts(self, known: Known, bench: Bench, ticks: list[int]) -> None:
        """Measure what came of steps whose first batch has matured."""
        left = []
        for attempt in self.attempts:
            later = [tick for tick in ticks if tick > attempt.tick]
            rows = _labelled(known, later[0]) if later else np.empty(0, dtype=np.int64)
            if not len(rows):
                left.append(attempt)
                continue
            frame = known.frame(rows)
            before, after = attempt.before.score(frame), attempt.after.score(frame)
            positive = attempt.after.positive
            saved = paired_gain(bench.project.task, frame["label"], before=before, after=after, positive=positive)
            self.outcomes.append(Outcome(attempt.kind, attempt.forecast, float(saved.mean())))
        self.attempts, self.outcomes = left, self.outcomes[-MOST_OUTCOMES:]


def _labelled(known: Known, tick: int) -> np.ndarray:
    rows = known.history.batch(tick)
    return rows[known.counts[rows] >= 0]


def _mature(known: Known, bench: Bench, after: int) -> list[int]:
    """The ticks after `after` whose labels are a fair sample: enough have come, or no more are waited for."""
    settings, history = bench.project.monitoring, known.history
    found = []
    for tick in range(after + 1, known.tick + 1):
        rows = history.batch(tick)
        if not len(rows):
            continue
        share = float(np.mean(known.counts[rows] >= 0))
        last: Any = history.frame["event_at"].gather(rows).max()
        final = last + bench.project.data.feedback.horizon <= history.at(known.tick)
        if share >= settings.min_coverage or (final and share > 0):
            found.append(tick)
    return found
