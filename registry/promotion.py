"""Promotion: what a challenger must show against the champion before it takes its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from homeostat.decisions import Gate, PromotionEvidence, PromotionKind
from homeostat.project import Project
from homeostat.records import Decision
from homeostat.registry.comparison import Comparison
from homeostat.registry.gates import better_or_worse, evaluate_gates, metric_gain

MOST_GROUPS = 5


def decide_promotion(comparison: Comparison, project: Project, now: datetime) -> Decision:
    """Promote, ask a person, or refuse; pure. A comparison that cannot be made is a refusal.

    The gates (`homeostat.registry.gates`) are evaluated once, and the decision carries them. Where the losses were
    compared row by row, these decide, since a metric over a few hundred rows is mostly noise; without losses the metric
    decides alone. What passes is refused still where it harms a sensitive group, or any segment where `gates.segments`
    says so.
    """
    gates, summary = evaluate_gates(comparison, project), _summary(comparison, project)
    evidence = _evidence(comparison, gates, compared=summary is not None).as_json()

    def decided(kind: PromotionKind, *reasons: str) -> Decision:
        return Decision(now, "promotion", kind, reasons, evidence, comparison.challenger)

    failed = [gate for gate in gates if not gate.passed]
    stopped = next((gate for gate in failed if gate.binding and not gate.details), None)
    if stopped is not None:
        return decided(PromotionKind.REFUSE, _with_reason(summary, stopped.reason, comparison))
    assert summary is not None
    harmed = [gate for gate in failed if gate.binding]
    groups = _groups(harmed or failed)
    if project.gates.approval == "human":
        asked = f"{summary}; a person must approve"
        return decided(PromotionKind.REFUSE if harmed else PromotionKind.ASK, asked, *groups)
    return decided(PromotionKind.REFUSE if harmed else PromotionKind.PROMOTE, summary, *groups)


def list_gates(evidence: Mapping[str, Any]) -> tuple[Gate, ...]:
    """The gates that a promotion's evidence carries; none where an earlier version decided."""
    return tuple(Gate.of(stored) for stored in evidence.get("gates", ()))


def _summary(comparison: Comparison, project: Project) -> str | None:
    """What was compared, in words; None where it could not be, or on too few rows."""
    gained = metric_gain(comparison, project)
    if comparison.problem is not None or comparison.rows < project.gates.min_rows or gained is None:
        return None
    rows = f"on the same {comparison.rows} fresh rows"
    if comparison.gain is None:
        new, old = (side[project.metric] for side in (comparison.challenger_metrics, comparison.champion_metrics))
        return f"{project.metric} {new:.4f} against {old:.4f} {rows}: a gain of {gained:.4f}"
    saved = comparison.gain
    return (
        f"a loss {'lower' if saved >= 0 else 'higher'} by {abs(saved):.4f} ± {comparison.gain_error:.4f} a row, and "
        f"{better_or_worse(project.metric, gained)}, {rows}"
    )


def _with_reason(summary: str | None, reason: str, comparison: Comparison) -> str:
    if summary is None:
        return reason
    return f"{summary}, {reason}" if comparison.gain is None else f"{summary}: {reason}"


def _groups(failed: Sequence[Gate]) -> tuple[str, ...]:
    """What failed gates say, group by group; the first few, and how many more there are."""
    lines = [line for gate in failed for line in (gate.details or (gate.reason,))]
    more = len(lines) - MOST_GROUPS
    return (*lines[:MOST_GROUPS], *((f"worse in {more} other groups",) if more > 0 else ()))


def _evidence(comparison: Comparison, gates: tuple[Gate, ...], *, compared: bool) -> PromotionEvidence:
    """What is stored of a comparison; losses and groups where there were any."""
    found: dict[str, Any] = {
        "champion": comparison.champion,
        "challenger": comparison.challenger,
        "rows": comparison.rows,
        "batches": comparison.batches,
        "champion_metrics": dict(comparison.champion_metrics),
        "challenger_metrics": dict(comparison.challenger_metrics),
        "gates": gates,
    }
    if comparison.segments:
        found["segments"] = tuple(dataclasses.asdict(group) | {"worse": group.worse} for group in comparison.segments)
    if comparison.fairness:
        found["fairness"] = tuple(dataclasses.asdict(gap) | {"groups": list(gap.groups)} for gap in comparison.fairness)
    if compared and comparison.gain is not None:
        strongest = comparison.strongest
        promised = None if strongest is None else strongest.shrunk
        found |= {"gain": comparison.gain, "gain_error": comparison.gain_error, "promised": promised}
    return PromotionEvidence(**found)
