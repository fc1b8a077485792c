"""What is done between ticks: new inputs scored, answers and labels taken in, alerts delivered; and the sweep.

Each comes to nothing where nothing is new, and where a tick is due: the tick takes all of it in. So a wake-up that
comes twice, or never, changes nothing but when a thing is done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl

from homeostat.flows.labeling.collect import collect
from homeostat.flows.learning.approvals import expire, list_open
from homeostat.flows.loop import Loop
from homeostat.flows.operations import manual
from homeostat.flows.stages.ingest import begun_batch
from homeostat.flows.stages.notify import deliver_waiting
from homeostat.flows.stages.sequence import list_due
from homeostat.pipelines.data.sources import FOREVER, load_feedback, load_inputs
from homeostat.pipelines.data.validation import validate_inputs
from homeostat.records import BatchState, Document, PostKind, TaskState

WHO = "schedule"


def arrivals(loop: Loop, at: datetime) -> Document:
    """Take in and score what is new, as a batch of its own; `skipped` says why where nothing was done."""
    if reason := _waits(loop, at, "ingest"):
        return {"skipped": reason}
    if not has_new_inputs(loop, at):
        return {"skipped": "nothing is new"}
    taken = manual.ingest(loop, at, WHO)
    return {"ingest": taken, "predict": manual.predict(loop, at, WHO)}


def labels(loop: Loop, at: datetime) -> Document:
    """Collect answers and take in the labels that are known by now."""
    if reason := _waits(loop, at, "feedback"):
        return {"skipped": reason}
    return {"collect": collect(loop, at), "feedback": manual.feedback(loop, at, WHO)}


def deliver(loop: Loop, at: datetime) -> Document:
    """Deliver the alerts that wait and anchor the journal's head; no tick counts as done by it."""
    return deliver_waiting(loop, at, mark=False)


def has_new_inputs(loop: Loop, at: datetime) -> bool:
    """Whether a batch was begun and not done, something was posted, or the source holds a row the lake does not."""
    if begun_batch(loop) is not None or loop.store.count_waiting_posts(PostKind.INPUTS):
        return True
    rows = load_inputs(loop.project, loop.hooks, None, at)
    checked = validate_inputs(rows, loop.project, loop.key_dtype(), at)
    known = loop.lake.latest("inputs", loop.key, FOREVER, keys=checked.accepted[loop.key])
    return checked.accepted.height > (0 if known is None else known.height)


def has_new_labels(loop: Loop, at: datetime) -> bool:
    """Whether labels were posted, people answered open tasks, or the source holds a label of a row that has none."""
    if loop.store.count_waiting_posts(PostKind.FEEDBACK):
        return True
    tasks = {task.id for task in loop.store.list_tasks(TaskState.OPEN)}
    if tasks and any(answer.task in tasks for answer in loop.store.list_answers()):
        return True
    rows = load_feedback(loop.project, loop.hooks, None, at).drop_nulls(loop.project.data.target)
    inputs = loop.lake.read("inputs", pl.col("known_at") <= at, [loop.key])
    if inputs is None or rows.is_empty():
        return False
    wanted = rows[loop.key].cast(pl.String).unique()
    wanted = wanted.filter(wanted.is_in(inputs[loop.key].cast(pl.String).implode()))
    known = loop.lake.read("feedback", columns=[loop.key])
    if known is None:
        return wanted.len() > 0
    return wanted.len() > wanted.is_in(known[loop.key].cast(pl.String).implode()).sum()


def find_work(loop: Loop, at: datetime) -> list[str]:
    """What a sweep would do, in its order; empty where nothing is due. Reads, and writes nothing."""
    if list_due(loop, at):
        return ["ticks"]
    work: list[tuple[str, Callable[[], bool]]] = [
        ("arrivals", lambda: _may(loop, at, "ingest") and _scores(loop) and has_new_inputs(loop, at)),
        ("predict", lambda: loop.version_of("champion") is not None and _unscored(loop)),
        ("labels", lambda: _may(loop, at, "feedback") and has_new_labels(loop, at)),
        ("approvals", lambda: any(approval.due_at <= at for approval in list_open(loop))),
        ("deliver", lambda: bool(loop.store.list_alerts(undelivered=True))),
    ]
    return [name for name, is_due in work if is_due()]


def do_work(loop: Loop, at: datetime, name: str) -> Any:
    """Do one thing that `find_work` found, but for ticks."""
    if name == "predict":
        return manual.predict(loop, at, WHO)
    if name == "approvals":
        return expire(loop, at)
    return {"arrivals": arrivals, "labels": labels, "deliver": deliver}[name](loop, at)


def _scores(loop: Loop) -> bool:
    """Posted inputs are taken in whatever the project says of files: a system that posts wants an answer."""
    return loop.project.schedule.arrivals == "score" or loop.store.count_waiting_posts(PostKind.INPUTS) > 0


def _unscored(loop: Loop) -> bool:
    return bool(loop.store.list_batches(BatchState.VALIDATED))


def _may(loop: Loop, at: datetime, stage: str) -> bool:
    return _waits(loop, at, stage) is None


def _waits(loop: Loop, at: datetime, stage: str) -> str | None:
    """Why nothing is to be done between ticks now; None where it may."""
    if loop.store.last_tick("notify") is None:
        return "the first tick comes first"
    if list_due(loop, at):
        return "a tick is due, which takes in what is new"
    last = loop.store.last_tick(stage)
    # Where the clock ran ahead at the last time, nothing would be done for long.
    if last is not None and last <= at < last + loop.project.gap:
        return f"the last time was less than {loop.project.gap} ago; the next sweep or tick takes the rest"
    return None
