"""Part of stage 4: are the labels of a batch what its scores lead to expect? Odd ones are told and held from learning.

They are held until they change, until a person says that they are right, or until the next batch shows the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from homeostat.durations import instant
from homeostat.flows.facts import LABELS
from homeostat.flows.held_labels import RIGHT, without_accepted
from homeostat.flows.loop import Loop, alert, end_of_tick, group_by_tick, tick_index, with_tick_mates
from homeostat.metrics import positive_class
from homeostat.monitoring.odd_labels import LabelMemory, LabelNews, Oddity, OddLabels, judge_labels, sum_labels
from homeostat.monitoring.performance.realized import label_coverage
from homeostat.pipelines.labels.delays import LabelDelays
from homeostat.project import Task
from homeostat.records import Alert, Batch, Severity
from homeostat.store import Writer

ODD = "odd-labels"
"""What an alert about such labels is named by."""


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """What is kept of the labels after a check, and what is told."""

    memory: LabelMemory
    changed: bool
    alerts: tuple[Alert, ...] = ()

    def without_meaning(self, loop: Loop) -> set[str]:
        """Batches whose labels are all the same where they never were: their losses say nothing of the model."""
        return with_tick_mates(loop, {odd.batch for odd in self.memory.held if odd.oddity is Oddity.CONSTANT})

    def keep(self, write: Writer) -> None:
        """Keep it in the transaction of the check."""
        if self.changed:
            write.put_fact(LABELS, self.memory)
        for told in self.alerts:
            write.append_alert(told)


def judge(loop: Loop, at: datetime, labelled: Sequence[tuple[Batch, pl.DataFrame]], delays: LabelDelays) -> LabelCheck:
    """Judge the labels of the ticks that learning may use by now; writes nothing.

    `labelled`: the batches of this check with their predictions and labels, all of a tick. The last one of a tick
    stands for all.
    """
    before = loop.store.get_fact(LABELS) or LabelMemory()
    memory = without_accepted(loop, before)
    happened: list[LabelNews] = []
    parts = {batch.id: rows for batch, rows in labelled}
    for batches in group_by_tick(loop.project, sorted((b for b, _ in labelled), key=lambda batch: batch.end_at)):
        rows, last = pl.concat([parts[batch.id] for batch in batches]), batches[-1]
        if not _may_be_learned(loop, rows, last, at, delays):
            continue
        sums = sum_labels(last.id, instant(last.end_at), rows, loop.project.task, _positive(loop, rows))
        if sums is not None:
            memory, news = judge_labels(memory, sums)
            happened.append(news)
    alerts = tuple(_alerts(loop, at, happened))
    keys = {news.odd.batch: f"{instant(at)}/{ODD}" for news in happened if news.odd is not None}
    held = tuple(replace(odd, alert=keys.get(odd.batch, odd.alert)) for odd in memory.held)
    memory = replace(memory, held=_with_alerts(held))
    return LabelCheck(memory, memory != before, alerts)


def _may_be_learned(loop: Loop, rows: pl.DataFrame, last: Batch, at: datetime, delays: LabelDelays) -> bool:
    age = tick_index(loop.project, at) - tick_index(loop.project, end_of_tick(loop.project, last.end_at))
    return delays.are_fair_sample(age=age, labels=rows["label"].count(), coverage=label_coverage(rows))


def _with_alerts(held: tuple[OddLabels, ...]) -> tuple[OddLabels, ...]:
    """A batch that shows the same as an earlier one was told of by its alert."""
    first = {odd.oddity: odd.alert for odd in sorted(held, key=lambda odd: odd.end, reverse=True) if odd.alert}
    return tuple(odd if odd.alert else replace(odd, alert=first.get(odd.oddity, "")) for odd in held)


def _positive(loop: Loop, rows: pl.DataFrame) -> str | None:
    if loop.project.task is not Task.BINARY or loop.positive is not None:
        return loop.positive
    known = {*rows["label"].drop_nulls(), *rows["prediction"].drop_nulls()}
    return positive_class(sorted(known)) if len(known) == 2 else None


def _alerts(loop: Loop, at: datetime, happened: Sequence[LabelNews]) -> list[Alert]:
    odd = [news.odd for news in happened if news.odd is not None]
    confirmed = [each for news in happened for each in news.confirmed]
    mended = [news.mended for news in happened if news.mended is not None]
    told = []
    if odd:
        what = "; ".join(f"batch {each.batch}: {each.detail}" for each in odd)
        key = f"{instant(at)}/{ODD}"
        body = (
            f"{what}. Nothing is learned from such a batch until its labels change"
            f"{'' if all(each.oddity is Oddity.CONSTANT for each in odd) else ', or the next one shows the same'}. "
            f"Correct the labels at their source; if they are right, say so: "
            f"homeostat alerts {loop.project.folder} --acknowledge {key} --note {RIGHT}"
        )
        told.append(alert(at, Severity.WARNING, ODD, f"the labels of {_named(odd)} are odd", body))
    if confirmed:
        body = "Later labels show the same, so they are taken for a real change, and are learned from."
        title = f"the labels of {_named(confirmed)} are no accident"
        told.append(alert(at, Severity.INFO, "labels-confirmed", title, body))
    if mended:
        title = f"the labels of {_named(mended)} are no longer odd"
        told.append(alert(at, Severity.INFO, "labels-mended", title, "They have changed, and are learned from."))
    return told


def _named(batches: Sequence[OddLabels]) -> str:
    return ("batch " if len(batches) == 1 else "batches ") + ", ".join(each.batch for each in batches)
