"""The gates that a challenger must pass. Each is one function, registered in `GATES`; a package adds its own there.

A rule gives a `Gate`, or None where it does not apply to a comparison. Its `reason` ends the decision's sentence where
it fails. Rules are asked in the order of registration, and the first binding one that fails is the reason of a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from homeostat.decisions import Gate
from homeostat.extensions import Extensions
from homeostat.metrics import gain
from homeostat.project import Project
from homeostat.registry.comparison import Comparison
from homeostat.registry.segments import SegmentGain

GateRule = Callable[[Comparison, Project], Gate | None]
GATES: Extensions[GateRule] = Extensions("gate")


def evaluate_gates(comparison: Comparison, project: Project) -> tuple[Gate, ...]:
    """Every gate that applies to a comparison, evaluated; pure."""
    found = (rule(comparison, project) for _, rule in GATES.items())
    return tuple(gate for gate in found if gate is not None)


def metric_gain(comparison: Comparison, project: Project) -> float | None:
    """By how much the challenger is better in the project's metric; None where it is undefined for one of them."""
    new, old = (metrics.get(project.metric) for metrics in (comparison.challenger_metrics, comparison.champion_metrics))
    return None if new is None or old is None else gain(project.metric, new, old)


def better_or_worse(metric: str, gained: float) -> str:
    """A gain in a metric in words."""
    return f"{metric} {'better' if gained >= 0 else 'worse'} by {abs(gained):.4f}"


@GATES.register("comparison")
def could_be_compared(comparison: Comparison, project: Project) -> Gate | None:
    """A comparison that cannot be made is a refusal."""
    if comparison.problem is None:
        return None
    return _gate("Comparison", None, None, False, f"the comparison cannot be made: {comparison.problem}")


@GATES.register("rows")
def enough_rows(comparison: Comparison, project: Project) -> Gate:
    """At least `gates.min_rows` fresh labelled rows."""
    rows, least = comparison.rows, project.gates.min_rows
    reason = f"{rows:,} fresh labelled rows, at least {least:,}"
    if rows < least:
        reason = f"{rows} fresh rows; gates.min_rows asks for {least}"
    return _gate("Rows", rows, least, rows >= least, reason)


@GATES.register("defined")
def metric_is_defined(comparison: Comparison, project: Project) -> Gate | None:
    """The project's metric can be computed for both."""
    if metric_gain(comparison, project) is not None:
        return None
    return _gate("Metric", None, None, False, f"{project.metric} is undefined on the fresh rows")


@GATES.register("loss")
def loses_less(comparison: Comparison, project: Project) -> Gate | None:
    """It loses less a row, unless `gates.min_gain` below 0 allows more."""
    saved = comparison.gain
    if saved is None or project.gates.min_gain < 0:
        return None
    reason = f"a loss lower by {saved:.4f} a row, more than 0" if saved > 0 else "it is not better"
    return _gate("Loss", saved, 0.0, saved > 0, reason)


@GATES.register("metric")
def metric_holds(comparison: Comparison, project: Project) -> Gate | None:
    """The metric is better by more than `gates.min_gain`, where that is set or decides alone.

    Else, from `gates.fresh_rows` rows on, it is not worse by more than `monitoring.tolerance`: over fewer rows a metric
    is mostly noise.
    """
    gained, wanted, metric = metric_gain(comparison, project), project.gates.min_gain, project.metric
    if gained is None:
        return None
    by_loss, many = comparison.gain is not None, comparison.rows >= project.gates.fresh_rows
    least, words = -project.monitoring.tolerance, better_or_worse(metric, gained)
    fell = f"{metric} may fall by {project.monitoring.tolerance:g} at most"
    if by_loss and wanted == 0:
        reason = f"{words}, gain no less than {least:g}" if gained >= least else fell
        return _gate("Metric", gained, least, gained >= least, reason) if many else None
    if gained > wanted:
        return _gate("Metric", gained, wanted, True, f"{words}, gain above {wanted:g}")
    if by_loss and wanted > 0 and many and gained < least:
        return _gate("Metric", gained, wanted, False, fell)
    asked = f"a gain of more than {wanted:g} is asked for" if by_loss else f"more than {wanted:g} is asked for"
    return _gate("Metric", gained, wanted, False, asked)


@GATES.register("sensitive")
def harms_no_sensitive_group(comparison: Comparison, project: Project) -> Gate | None:
    """No group of a column under `data.sensitive` loses more."""
    return _groups("Sensitive groups", [group for group in comparison.segments if group.sensitive], binding=True)


@GATES.register("segments")
def harms_no_segment(comparison: Comparison, project: Project) -> Gate | None:
    """No other segment loses more; it warns, and refuses where `gates.segments` says so."""
    groups = [group for group in comparison.segments if not group.sensitive]
    return _groups("Segments", groups, binding=project.gates.segments == "refuse")


def _groups(name: str, groups: Sequence[SegmentGain], *, binding: bool) -> Gate | None:
    worse = [group for group in groups if group.worse]
    if not groups:
        return None
    named = ", ".join(f"{group.column} = {group.value}" for group in worse)
    reason = f"worse where {named}" if worse else f"none of {len(groups)} is worse"
    details = tuple(f"worse where {_in_words(group)}" for group in worse)
    return _gate(name, len(worse), 0, not worse, reason, binding=binding, details=details)


def _in_words(group: SegmentGain) -> str:
    return (
        f"{group.column} = {group.value}{', a sensitive group' if group.sensitive else ''}: a loss higher by "
        f"{-group.gain:.4f} ± {group.gain_error:.4f} a row, on {group.rows} rows"
    )


def _gate(
    name: str,
    value: float | None,
    limit: float | None,
    passed: bool,
    reason: str,
    *,
    binding: bool = True,
    details: tuple[str, ...] = (),
) -> Gate:
    gate = Gate(name=name, value=value, limit=limit, passed=passed, binding=binding, reason=reason)
    return gate.model_copy(update={"details": details}) if details else gate
