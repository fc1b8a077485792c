"""Backtest: a project's history in memory under many retraining policies, with the same learner and the same knowledge.

At the tick T a policy knows the rows that came before T and the labels known by T; first the batch is scored, then is
learned. Nothing is written but the summary and the page.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from homeostat.durations import instant
from homeostat.errors import DataError, HomeostatError, ProjectError
from homeostat.flows.backtest.catalogue import list_contenders
from homeostat.flows.backtest.policies import Bench, Contender
from homeostat.flows.locks import exclusive
from homeostat.flows.loop import tick_index
from homeostat.flows.replay.run import last_slot
from homeostat.hooks import load_hooks
from homeostat.metrics import compute_metrics, gain, positive_class
from homeostat.monitoring.report.backtest_page import write_page
from homeostat.monitoring.retraining.recommendation import Difference, Standing, compare, decide_policy
from homeostat.pipelines.history.knowledge import History, load_history
from homeostat.pipelines.history.refits import Learner, Refit
from homeostat.pipelines.setup.soundness import require_sound
from homeostat.project import Project, load_project
from homeostat.records import Decision
from homeostat.settings import state_folder

Progress = Callable[[int, int, str], None]
ALWAYS = ("never", "every_tick")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of a run: the scored ticks, each policy's standing, and what it served, by policy and tick."""

    history: History
    family: str
    rounds: int
    ticks: tuple[int, ...]
    standings: tuple[Standing, ...]
    served: dict[str, dict[int, pl.DataFrame]]


def backtest(
    folder: Path,
    *,
    until: datetime | None = None,
    policies: Sequence[str] = (),
    progress: Progress = lambda done, total, text: None,
) -> dict[str, Any]:
    """Backtest a project; returns what `summary.json` says, and leaves it with `report.html` in the backtest's folder.

    `policies` names those to run, all without; "never" and "every_tick" always run, since they are what the others
    are measured by. Raises HomeostatError for an unknown name, DataError where the history cannot be replayed.
    """
    project, began = load_project(folder), time.monotonic()
    contenders = choose_contenders(list_contenders(project), policies)
    root = state_folder(project) / "backtest"
    with exclusive(root, f"a backtest of {project.name!r}"):
        progress(0, 1, "checking the project and its data")
        history = read_history(project, until)
        outcome = run_backtest(history, contenders, progress=progress)
        summary = summarize(outcome) | {"wall_seconds": round(time.monotonic() - began, 3)}
        (root / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        write_page(root / "report.html", summary)
    return summary


def choose_contenders(known: Sequence[Contender], names: Sequence[str]) -> list[Contender]:
    """Those of these names, and the two that the others are measured by. Raises HomeostatError for an unknown name."""
    all_names = [policy.name for policy in known]
    if unknown := [name for name in names if name not in all_names]:
        raise HomeostatError(f"--policy {unknown[0]!r}: no such policy.", f"Known: {', '.join(all_names)}.")
    return [policy for policy in known if not names or policy.name in names or policy.name in ALWAYS]


def read_history(project: Project, until: datetime | None) -> History:
    """Read a project's whole history up to the last tick not after `until`. Raises DataError or ProjectError."""
    hooks = load_hooks(project.folder)
    if until is not None and until < project.start_at:
        raise ProjectError(
            f"{instant(until)} lies before the loop starts at {instant(project.start_at)}.", "Give a later --until."
        )
    require_sound(project, hooks)
    return load_history(project, hooks, tick_index(project, last_slot(project, hooks, until)))


def run_backtest(
    history: History,
    contenders: Sequence[Contender],
    *,
    share: bool = True,
    progress: Progress = lambda done, total, text: None,
) -> Outcome:
    """Run every contender over a history. Without `share` no fit is shared, which changes nothing but the time taken.

    Raises DataError where no first model can be trained, or no row with a label comes after it.
    """
    learner = Learner(history, share)
    first_tick, first = _train_first(learner)
    ticks = [int(t) for t in np.unique(history.tick) if t > first_tick]
    if not ticks:
        raise DataError(f"{history.project.name}: no batch comes after the first model.", "Set an earlier loop.start.")
    benches = [Bench(learner, first, first_tick, first.cost) for _ in contenders]
    for tick in range(first_tick + 1, ticks[-1] + 1):
        known = history.known(tick)
        for done, (contender, bench) in enumerate(zip(contenders, benches, strict=True)):
            total = (ticks[-1] - first_tick) * len(contenders)
            progress((tick - first_tick - 1) * len(contenders) + done, total, contender.name)
            if tick in ticks:
                bench.score(tick)
            # What is learned after the last batch would score nothing.
            if tick < ticks[-1]:
                bench.serving = contender.learn(known, bench) or bench.serving
        learner.forget({bench.serving.key for bench in benches if isinstance(bench.serving, Refit)})
    standings = _standings(history, contenders, benches, ticks)
    served = {c.name: bench.served for c, bench in zip(contenders, benches, strict=True)}
    return Outcome(history, learner.family, learner.rounds, tuple(ticks), standings, served)


def summarize(outcome: Outcome) -> dict[str, Any]:
    """Sum a run up in plain values, with the recommendation. Raises DataError where nothing can be recommended."""
    project, standings = outcome.history.project, outcome.standings
    metric, now = project.metric, outcome.history.at(outcome.ticks[-1])
    named = {standing.name: standing for standing in standings}
    decision = decide_policy(standings, metric, now)
    return {
        "project": project.name,
        "task": project.task.value,
        "metric": metric,
        "ticks": [instant(outcome.history.at(tick)) for tick in outcome.ticks],
        "rows": sum(frame.height for frame in outcome.served[standings[0].name].values()),
        "labels": sum(standings[0].labels),
        "learner": {"family": outcome.family, "rounds": outcome.rounds},
        "policies": [_describe(standing, named, metric) for standing in standings],
        "recommended": _recommended(decision),
    }


def _recommended(decision: Decision) -> dict[str, Any]:
    return {"policy": decision.kind, "reasons": list(decision.reasons), **decision.evidence}


def _describe(standing: Standing, named: dict[str, Standing], metric: str) -> dict[str, Any]:
    never, whole = named["never"], named["every_tick"].cost.row_rounds
    difference = None if standing is never else compare(metric, standing, never)
    gained = None if standing.metric is None or never.metric is None else gain(metric, standing.metric, never.metric)
    return {
        "policy": standing.name,
        "setting": None if standing.setting is None else dict(standing.setting),
        "metric": standing.metric,
        "gain": gained,
        "gain_a_tick": _interval(difference),
        "fits": standing.cost.fits,
        "row_rounds": standing.cost.row_rounds,
        "relative_cost": standing.cost.row_rounds / whole if whole else None,
        "training_cpu_seconds": round(standing.cost.cpu_seconds, 3),
        "triggers": standing.triggers,
        "by_tick": list(standing.by_tick),
    }


def _interval(difference: Difference | None) -> list[float] | None:
    """A mean difference with its interval; None where one tick alone has none."""
    if difference is None or difference.ticks < 2:
        return None
    return [difference.mean, difference.low, difference.high]


def _train_first(learner: Learner) -> tuple[int, Refit]:
    """Train the first model at the first tick at which that can be done, as the loop does."""
    fault = None
    for tick in range(learner.history.last + 1):
        try:
            return tick, learner.train_first(learner.history.known(tick))
        except DataError as problem:
            fault = problem
    assert fault is not None
    raise fault


def _standings(
    history: History, contenders: Sequence[Contender], benches: Sequence[Bench], ticks: Sequence[int]
) -> tuple[Standing, ...]:
    truth = history.truth()
    truths = {tick: truth.gather(history.batch(tick)) for tick in ticks}
    measured: dict[int, float | None] = {}
    standings = []
    for contender, bench in zip(contenders, benches, strict=True):
        for tick in ticks:
            frame = bench.served[tick]
            if id(frame) not in measured:
                measured[id(frame)] = _metric(history.project, truths[tick], frame)
        whole = _metric(history.project, pl.concat(truths.values()), pl.concat(bench.served.values()))
        standings.append(
            Standing(
                contender.name,
                contender.setting,
                whole,
                tuple(measured[id(bench.served[tick])] for tick in ticks),
                tuple(int(truths[tick].count()) for tick in ticks),
                bench.cost,
                bench.triggers if contender.counts else None,
            )
        )
    return tuple(standings)


def _metric(project: Project, truth: pl.Series, scored: pl.DataFrame) -> float | None:
    stated = project.data.positive
    positive = None if stated is None else positive_class((), stated)
    return compute_metrics(project.task, truth, scored, positive).get(project.metric)
