"""Promotion: what a challenger must show against the champion before it takes its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from homeostat.metrics import gain
from homeostat.project import Project
from homeostat.records import Decision
from homeostat.registry.segments import GroupGap, SegmentGain

MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models scored on the same fresh rows, which neither was trained on.

    `champion_metrics` and `challenger_metrics` are computed on those `rows` rows, of `batches`, in this comparison;
    `gain` is the mean loss a row that the challenger saves (`homeostat.losses.scoring_losses`), `gain_error` its
    standard error, row by row; None where only the metrics are compared. `problem` says why it could not be made.
    `segments` are the groups that were compared one by one, `fairness` how far apart those of sensitive columns are.
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
    segments: tuple[SegmentGain, ...] = ()
    fairness: tuple[GroupGap, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """Something that a challenger must show: whether it `passed`, in words; one that is not `binding` warns only."""

    name: str
    passed: bool
    told: str
    binding: bool = True


def decide_promotion(comparison: Comparison, project: Project, now: datetime) -> Decision:
    """Promote, ask a person, or refuse; pure. A comparison that cannot be made is a refusal.

    Where the losses were compared row by row, these decide, since a metric over a few hundred rows is mostly noise.
    From `gates.fresh_rows` rows on, the project's metric must not be worse by more than `monitoring.tolerance`; it must
    be better by `gates.min_gain` where that is set (below 0, it may be worse). Without losses the metric decides alone.
    What passes is refused still where it harms a sensitive group, or any segment where `gates.segments` says so.
    """
    decision = _decide(comparison, project, now)
    worse = [each for each in comparison.segments if each.worse]
    if decision.kind == "refuse" or not worse:
        return decision
    harmed = [each for each in worse if each.sensitive or project.gates.segments == "refuse"]
    told = tuple(f"worse where {_words(each)}" for each in (harmed or worse)[:MOST_TOLD])
    if more := len(harmed or worse) - MOST_TOLD:
        told += (f"worse in {more} other groups",) if more > 0 else ()
    return dataclasses.replace(decision, kind="refuse" if harmed else decision.kind, reasons=(*decision.reasons, *told))


def list_gates(evidence: Mapping[str, Any], project: Project) -> list[Gate]:
    """Each gate that a challenger had to pass, whether it did, and that in words, by a promotion's evidence."""
    gates, metric = project.gates, project.metric
    old, new = (evidence.get(f"{side}_metrics", {}).get(metric) for side in ("champion", "challenger"))
    rows, saved = evidence.get("rows", 0), evidence.get("gain")
    made = [Gate("Rows", rows >= gates.min_rows, f"{rows:,} fresh labelled rows, at least {gates.min_rows:,}")]
    if saved is not None and gates.min_gain >= 0:
        made.append(Gate("Loss", saved > 0, f"a loss lower by {saved:.4f} a row, more than 0"))
    if old is not None and new is not None:
        gained = gain(metric, new, old)
        if saved is None or gates.min_gain != 0:
            told = f"{_apart(metric, gained)}, gain above {gates.min_gain:g}"
            made.append(Gate("Metric", gained > gates.min_gain, told))
        elif rows >= gates.fresh_rows:
            least = -project.monitoring.tolerance
            told = f"{_apart(metric, gained)}, gain no less than {least:g}"
            made.append(Gate("Metric", gained >= least, told))
    return [*made, *_group_gates(evidence.get("segments", ()), gates.segments)]


def _apart(metric: str, gained: float) -> str:
    return f"{metric} {'better' if gained >= 0 else 'worse'} by {abs(gained):.4f}"


def _group_gates(segments: Sequence[Mapping[str, Any]], strictness: str) -> Iterator[Gate]:
    for sensitive, name in ((True, "Sensitive groups"), (False, "Segments")):
        mine = [each for each in segments if each["sensitive"] is sensitive]
        worse = [f"{each['column']} = {each['value']}" for each in mine if each["worse"]]
        told = f"worse where {', '.join(worse)}" if worse else f"none of {len(mine)} is worse"
        if mine:
            yield Gate(name, not worse, told, binding=sensitive or strictness == "refuse")


def _words(group: SegmentGain) -> str:
    return (
        f"{group.column} = {group.value}{', a sensitive group' if group.sensitive else ''}: a loss higher by "
        f"{-group.gain:.4f} ± {group.gain_error:.4f} a row, on {group.rows} rows"
    )


def _decide(comparison: Comparison, project: Project, now: datetime) -> Decision:
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
    if comparison.segments:
        evidence["segments"] = [dataclasses.asdict(each) | {"worse": each.worse} for each in comparison.segments]
    if comparison.fairness:
        evidence["fairness"] = [dataclasses.asdict(gap) | {"groups": list(gap.groups)} for gap in comparison.fairness]

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
