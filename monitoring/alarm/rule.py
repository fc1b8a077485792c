"""Alarms: has the champion become worse than its lineage's root version was on its own holdout?"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from homeostat.decisions import AlarmFacts, AlarmKind
from homeostat.monitoring.alarm.state import REFERENCE_ROWS, WHOLE, Stream, Watch
from homeostat.monitoring.alarm.stream import Ending
from homeostat.records import Decision, ModelRecord

MOST_STREAMS = 5
ASSUMED = (
    "provided that a label which never comes is missing by chance, and that where nothing became worse the expected "
    "loss of each batch, given those before it, is within the limit, and batches differ from it as they did before"
)


def decide_alarm(champion: ModelRecord | None, watch: Watch | None, *, told: int, now: datetime) -> Decision:
    """Decide whether the champion's lineage has become worse, by the state of its e-processes; pure.

    `told`: the number of the newest change of this watch that an earlier decision told of; a later one is news. An
    alarm stands until a test says that health is back, or until labels are corrected so that it would not have been.
    The chance of ever alarming about a lineage that has not become worse is at most `watch.alpha`, all segments and
    episodes together; see `homeostat.sequential` and `homeostat.batch_test`. The kinds are those of `AlarmKind`.
    """
    version = champion.version if champion else None
    if champion is None or watch is None:
        reason = "there is no champion yet" if champion is None else "this champion's lineage has not been checked yet"
        return Decision(now, "alarm", AlarmKind.QUIET, (reason,), {}, version)
    evidence = _evidence(watch).as_json()
    news = [stream for stream in watch.streams if stream.last_change > told]
    over = [stream for stream in news if stream.reached_at is None]
    raised = [stream for stream in watch.streams if stream.reached_at is not None]
    raised.sort(key=lambda stream: stream not in news)
    ended = tuple(_ended_in_words(stream) for stream in over[:MOST_STREAMS])
    if raised:
        reasons = [_in_words(stream, watch) for stream in raised[:MOST_STREAMS]]
        if len(raised) > MOST_STREAMS:
            reasons.append(f"and {len(raised) - MOST_STREAMS} more segments")
        chance = f"such an alarm is false for at most {watch.alpha:.2%} of lineages that are no worse, {ASSUMED}"
        kind = AlarmKind.ALARM if len(news) > len(over) else AlarmKind.STANDING
        return Decision(now, "alarm", kind, (*reasons, chance, *ended), evidence, version)
    if over:
        why = {stream.past.ending for stream in over if stream.past is not None}
        kind = AlarmKind.WITHDRAWN if why == {Ending.CORRECTED} else AlarmKind.ENDED
        return Decision(now, "alarm", kind, ended, evidence, version)
    return Decision(now, "alarm", AlarmKind.QUIET, (_quiet(watch),), evidence, version)


def is_news(watch: Watch | None, told: int) -> bool:
    """Whether something has changed that no decision has told of."""
    return watch is not None and watch.last_change > told


def _name(stream: Stream) -> str:
    return "all rows" if stream.name == WHOLE else stream.name


def _ended_in_words(stream: Stream) -> str:
    past = stream.past
    assert past is not None
    was = f"{_name(stream)}: the alarm about the loss since {past.since_at}, reached by {past.reached_at}, "
    if past.ending is Ending.CORRECTED:
        return was + "is withdrawn: with the labels as they have been corrected it would not have been raised"
    return was + f"is over: by {past.ended_at} the losses showed that they are within the limit again"


def _in_words(stream: Stream, watch: Watch) -> str:
    e_process = stream.e_process
    assert e_process is not None
    labels = e_process.rows - e_process.since
    loss = f"the mean loss was {e_process.mean_since:.4f} over the {labels} labels since {stream.since_at}"
    return (
        f"{_name(stream)}: {loss}; up to {stream.limit:.4f} is fine: {_reference(stream)}, "
        f"a tolerance of {watch.tolerance:g} and the reference's own uncertainty; the e-value was "
        f"{_from_log(stream.peak)} at most, and {_from_log(watch.threshold(stream))} is an alarm, "
        f"reached by {stream.reached_at}"
    )


def _reference(stream: Stream) -> str:
    source = "held out from the lineage's root version" if stream.held_out else "that the lineage scored first"
    return f"{stream.reference_mean:.4f} on {stream.reference_rows:.0f} rows {source}"


def _quiet(watch: Watch) -> str:
    whole = watch.streams[0]
    if whole.e_process is None:
        first = f"the first {REFERENCE_ROWS} labels, of three batches at least"
        return f"there is no reference yet: it is made from {first}, as nothing was held out"
    if whole.batches is not None and not (whole.batches.knows or whole.batches.is_blind):
        return "too few batches are known to say how far batches differ; no alarm is raised before"
    begun = [s for s in watch.streams if s.e_process is not None]
    nearest = max(begun, key=lambda s: _nearness(s, watch))
    assert nearest.e_process is not None
    return (
        f"of {len(begun)} e-processes {_name(nearest)} came nearest to an alarm: its e-value was "
        f"{_from_log(nearest.peak)} at most, and {_from_log(watch.threshold(nearest))} would be one, "
        f"over {nearest.e_process.rows} labels; its reference is {_reference(nearest)}"
    )


def _nearness(stream: Stream, watch: Watch) -> float:
    return -math.inf if stream.e_process is None else stream.peak - watch.threshold(stream)


def _from_log(logarithm: float) -> str:
    return f"{math.exp(logarithm):.4g}" if logarithm < 700 else f"10^{logarithm / math.log(10):.0f}"


def _evidence(watch: Watch) -> AlarmFacts:
    return AlarmFacts(
        lineage=watch.lineage,
        began=watch.began,
        until=watch.until,
        waits_for=watch.waits_for,
        alpha=watch.alpha,
        tolerance=watch.tolerance,
        loss_scale=watch.scale,
        e_processes=tuple(_e_process(stream, watch) for stream in watch.streams),
        changes=watch.last_change,
    )


def _e_process(stream: Stream, watch: Watch) -> dict[str, Any]:
    e_process = stream.e_process
    known = {
        "of": _name(stream),
        "reference": stream.reference_mean,
        "reference_rows": stream.reference_rows,
        "held_out": stream.held_out,
        "log_threshold": watch.threshold(stream),
    }
    if e_process is None:
        return known | {"labels": 0, "reached_at": None}
    return known | {
        "limit": stream.limit,
        "episode": stream.episode,
        "labels": e_process.rows,
        "mean": e_process.mean,
        "since": stream.since_at,
        "labels_since": e_process.rows - e_process.since,
        "mean_since": e_process.mean_since,
        "log_e_value": e_process.log_e_value,
        "log_e_value_max": stream.peak,
        "reached_at": stream.reached_at,
    }
