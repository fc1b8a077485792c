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
from homeostat.registry.comparison import MANY_LOOKS, Comparison, Gain
from homeostat.registry.segments import SegmentGain

GateRule = Callable[[Comparison, Project], Gate | None]
GATES: Extensions[GateRule] = Extensions("gate")
PROVEN = 2.0, 3.0
"""From how many standard errors of gain on record a margin falls, and from how many on none is asked for."""
MUCH_GROWTH = 2.0
HORIZON_TICKS = 5
ASKED_GAIN = 0.05


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
    """It loses less a row, by more than chance explains, unless `gates.min_gain` below 0 allows more.

    The margin is `gates.margin` standard errors, of the rows compared now, alone or together with the batches on which
    versions on the way to it were ahead of the champion. Less is asked for where the challenger knows many more rows,
    and where the last steps have been seen to pay, down to none. While an alarm stands, any gain is enough: what serves
    is known to be worse than it was.
    """
    saved, found = comparison.gain, comparison.strongest
    if saved is None or found is None or project.gates.min_gain < 0:
        return None
    if saved <= 0:
        return _gate("Loss", saved, 0.0, False, "it is not better")
    if comparison.alarmed:
        return _gate("Loss", saved, 0.0, True, f"a loss lower by {saved:.4f} a row, while an alarm stands")
    full = project.gates.margin
    asked = margin(comparison.record, comparison.growth, full) * (1.0 if found.batches == 1 else MANY_LOOKS)
    limit = asked * found.error
    over = "" if found.batches == 1 else f" over {found.batches} batches"
    if found.mean > limit:
        enough = "more than chance explains" if asked >= full else "and the last steps did save what they promised"
        reason = f"a loss lower by {found.mean:.4f} ± {found.error:.4f} a row{over}, {enough}"
        return _gate("Loss", found.mean, limit, True, reason)
    reason = f"it may be chance: {max(found.errors, 0):.1f} standard errors{over}, {asked:.2g} are asked for"
    return _gate("Loss", found.mean, limit, False, reason)


def margin(record: Gain | None, growth: float = 1.0, full: float = 2.0) -> float:
    """How many of the `full` standard errors a challenger must be ahead, by what the last steps have saved.

    One that has learned from many times the rows, by `growth`, is likely to be better: half of it is asked for from
    `MUCH_GROWTH` on.

    >>> margin(None), margin(Gain(0.025, 0.01)), margin(Gain(0.05, 0.01)), margin(None, growth=2.0)
    (2.0, 1.0, 0.0, 1.0)
    """
    asked = full * (1 - min(max(growth - 1, 0.0) / (MUCH_GROWTH - 1), 1.0) / 2)
    if record is None:
        return asked
    doubtful, proven = PROVEN
    return asked * min(max((proven - record.errors) / (proven - doubtful), 0.0), 1.0)


@GATES.register("change")
def worth_a_change(comparison: Comparison, project: Project) -> Gate | None:
    """What it saves on the rows of the next ticks is more than one more version costs people, `gates.change_price`.

    Where people approve and no price is stated, it must save `ASKED_GAIN` a row: an hour of somebody's attention is not
    asked for without need.
    """
    found, rows = comparison.strongest, comparison.rows_a_tick * HORIZON_TICKS
    price = project.gates.change_price
    if price is None:
        asks = project.gates.approval == "human" and project.gates.min_gain >= 0
        price = ASKED_GAIN * rows if asks else 0.0
    if not price or not rows or found is None or comparison.alarmed:
        return None
    worth = found.shrunk * rows
    words = f"it would save {worth:.1f} in loss x rows in {HORIZON_TICKS} ticks"
    if worth > price:
        return _gate("Change", worth, price, True, f"{words}, more than a change costs ({price:.4g})")
    return _gate("Change", worth, price, False, f"{words}, and a change costs {price:.4g} (gates.change_price)")


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
