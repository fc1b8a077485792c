"""When something came, or falls due, that a tick would see: what catching up looks for before it passes slots."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from homeostat.flows.loop import Loop
from homeostat.pipelines.data.sources import load_feedback, load_inputs
from homeostat.records import ApprovalState, PostKind, TaskState


def list_arrivals(loop: Loop, now: datetime) -> list[datetime]:
    """The times at which rows and labels could be had and deadlines are over, by what is known at `now`; sorted.

    What came late, after ticks that should have seen it, goes by its own time too: the first tick takes it in.
    """
    store, since = loop.store, loop.store.last_tick("notify")
    sources = (load_inputs(loop.project, loop.hooks, None, now), load_feedback(loop.project, loop.hooks, None, now))
    times: set[datetime] = {at for rows in sources for at in _times(rows)}
    times |= {post.received_at for kind in PostKind for post in store.list_posts(kind, now, "")}
    times |= {approval.due_at for approval in store.list_approvals(ApprovalState.OPEN)}
    tasks = store.list_tasks(TaskState.OPEN)
    times |= {task.due_at for task in tasks}
    times |= {answer.at for answer in store.list_answers()} if tasks else set()
    return sorted(at for at in times if since is None or at >= since)


def _times(rows: pl.DataFrame) -> Iterable[datetime]:
    return rows["available_at"].drop_nulls().unique().to_list()
