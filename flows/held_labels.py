"""Batches whose labels are odd and held from learning, and a person's word that they are right."""

from __future__ import annotations

from homeostat.flows.facts import LABELS
from homeostat.flows.loop import Loop, with_tick_mates
from homeostat.monitoring.odd_labels import LabelMemory

RIGHT = "right"
"""A note that begins so, at the acknowledgement of the alert, says that odd labels are right."""


def held_batches(loop: Loop) -> set[str]:
    """The batches that nothing is learned from for now, because their labels are odd and nobody called them right."""
    memory = loop.store.get_fact(LABELS)
    return set() if memory is None else with_tick_mates(loop, without_accepted(loop, memory).held_batches)


def without_accepted(loop: Loop, memory: LabelMemory) -> LabelMemory:
    """The memory without the batches whose labels a person called right."""
    if not memory.held:
        return memory
    statuses = loop.store.list_alert_statuses()
    right = [
        odd.batch
        for odd in memory.held
        if (status := statuses.get(odd.alert)) is not None
        and status.acknowledged_at is not None
        and (status.note or "").strip().casefold().startswith(RIGHT)
    ]
    return memory.accept(right) if right else memory
