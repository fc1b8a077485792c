"""Promotion: what a challenger must show against the champion before it takes its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from homeostat.metrics import gain
from homeostat.project import Project
from homeostat.records import Decision


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models scored on the same fresh rows, which neither was trained on.

    `champion_metrics` and `challenger_metrics` are computed on those `rows` rows, of `batches`, in this comparison;
    `gain` is the mean loss a row that the challenger saves (`homeostat.losses.scoring_losses`), `gain_error` its
    standard error, row by row; None where only the metrics are compared. `problem` says why it could not be made.
    """

    champion: int
    challenger: int
    rows: int
    batches: tuple[str, ...]
    champion_metrics: Mapping[str, float]
    challenger_metrics: Mapping[str, float]
    problem: str | None = None
    gain: float | None = None
    gain_error: float | None = None


def decide_promotion(comparison: Comparison, project: Project, now: datetime) -> Decision:
    """Promote, ask a person, or refuse; pure. A comparison that cannot be made is a refusal.

    Where the losses were compared row by row, these decide, since a metric over a few hundred rows is mostly noise.
    From `gates.fresh_rows` rows on, the project's metric must not be worse by more than `monitoring.tolerance`; it must
    be better by `gates.min_gain` where that is set (below 0, it may be worse). Without losses the metric decides alone.
    """
    metric = project.metric
    mine, other = comparison.challenger_metrics.get(metric), comparison.champion_metrics.get(metric)
    evidence: dict[str, Any] = {
        "champion": comparison.champion,
        "challenger": comparison.challenger,
        "rows": comparison.rows,
        "batches": list(comparison.batches),
        "champion_metrics": dict(comparison.champion_metrics),
        "challenger_metrics": dict(comparison.challenger_metrics),
    }

    def decided(kind: str, reason: str) -> Decision:
        return Decision(now, "promotion", kind, (reason,), evidence, comparison.challenger)

    if comparison.problem is not None:
        return decided("refuse", f"the comparison cannot be made: {comparison.problem}")
    if comparison.rows < project.gates.min_rows:
        return decided("refuse", f"{comparison.rows} fresh rows; gates.min_rows asks for {project.gates.min_rows}")
    if mine is None or other is None:
        return decided("refuse", f"{metric} is undefined on the fresh rows")
    gained = gain(metric, mine, other)
    if comparison.gain is not None:
        return _by_loss(comparison, gained, project, decided, evidence)
    told = f"{metric} {mine:.4f} against {other:.4f} on the same {comparison.rows} fresh rows"
    if gained <= project.gates.min_gain:
        return decided("refuse", f"{told}: a gain of {gained:.4f}, more than {project.gates.min_gain:g} is asked for")
    if project.gates.approval == "human":
        return decided("ask", f"{told}: a gain of {gained:.4f}; a person must approve")
    return decided("promote", f"{told}: a gain of {gained:.4f}")


def _by_loss(
    comparison: Comparison,
    gained: float,
    project: Project,
    decided: Callable[[str, str], Decision],
    evidence: dict[str, Any],
) -> Decision:
    saved, wanted = comparison.gain or 0.0, project.gates.min_gain
    evidence |= {"gain": saved, "gain_error": comparison.gain_error}
    told = (
        f"a loss {'lower' if saved >= 0 else 'higher'} by {abs(saved):.4f} ± {comparison.gain_error:.4f} a row, and "
        f"{project.metric} {'better' if gained >= 0 else 'worse'} by {abs(gained):.4f}, on the same {comparison.rows} "
        "fresh rows"
    )
    if saved <= 0 and wanted >= 0:
        return decided("refuse", f"{told}: it is not better")
    if wanted >= 0 and comparison.rows >= project.gates.fresh_rows and gained < -project.monitoring.tolerance:
        return decided("refuse", f"{told}: {project.metric} may fall by {project.monitoring.tolerance:g} at most")
    if wanted != 0 and gained <= wanted:
        return decided("refuse", f"{told}: a gain of more than {wanted:g} is asked for")
    if project.gates.approval == "human":
        return decided("ask", f"{told}; a person must approve")
    return decided("promote", told)
