"""How many answers to ask people for at a tick, and what for: to measure, to learn, or to look again. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from homeostat.durations import format_duration
from homeostat.project import Project
from homeostat.records import Decision, Purpose


@dataclass(frozen=True, slots=True)
class LabelingEvidence:
    """What is known at a tick when labels are to be asked for.

    `asked` answers were asked for since the loop began, `asked_lately` within the last `labeling.period`. `ticks` have
    passed since it began, this one included. `to_measure` rows were never drawn from, `unlabelled` rows may be learned
    from and were not asked about, `doubtful` labels look wrong.
    """

    champion: int | None
    ticks: int
    asked: int
    asked_lately: int
    to_measure: int
    unlabelled: int
    doubtful: int


def decide_labeling(evidence: LabelingEvidence, project: Project, now: datetime) -> Decision:
    """Split what the budget allows at this tick between measuring, learning and looking again.

    Within any `labeling.period` no more than the budget is asked for, and from tick to tick no more than its even share
    and what was left of it. Before the first champion every row is drawn at random, since no model can say what it is
    unsure of.
    """
    settings = project.labeling
    even = settings.budget * evidence.ticks * (project.loop.tick / settings.period)
    answers = max(min(settings.budget - evidence.asked_lately, math.floor(even + 1e-9) - evidence.asked), 0)
    tasks = answers // settings.annotators
    split = _split(tasks, evidence, project)
    seen: dict[str, Any] = {
        "answers": answers,
        "asked_lately": evidence.asked_lately,
        "to_measure": evidence.to_measure,
        "unlabelled": evidence.unlabelled,
        "doubtful": evidence.doubtful,
        **{purpose.value: count for purpose, count in split.items()},
    }
    kind = "ask" if sum(split.values()) else "wait"
    return Decision(now, "labeling", kind, (_reason(tasks, split, evidence, project),), seen, evidence.champion)


def _split(tasks: int, evidence: LabelingEvidence, project: Project) -> dict[Purpose, int]:
    settings = project.labeling
    if evidence.champion is None:
        return {Purpose.MEASURE: min(tasks, evidence.to_measure), Purpose.LEARN: 0, Purpose.RELABEL: 0}
    again = min(evidence.doubtful, math.floor(settings.relabel * tasks))
    measure = min(evidence.to_measure, math.ceil(settings.measure * tasks), tasks - again)
    learn = min(max(evidence.unlabelled - measure, 0), tasks - again - measure)
    return {Purpose.MEASURE: measure, Purpose.LEARN: learn, Purpose.RELABEL: again}


def _reason(tasks: int, split: Mapping[Purpose, int], evidence: LabelingEvidence, project: Project) -> str:
    settings = project.labeling
    if not tasks:
        return f"the budget of {settings.budget} answers in {format_duration(settings.period)} is used up for now"
    if not sum(split.values()):
        return "no row is without a label or a question"
    people = f" by {settings.annotators} people each" if settings.annotators > 1 else ""
    parts = [f"{count} to {purpose.value}" for purpose, count in split.items() if count]
    random = ", all drawn at random, since there is no model yet" if evidence.champion is None else ""
    return f"{', '.join(parts)}{people}{random}"
