"""The store: the control plane of one project in one scope.

Reads are methods of `Store`; every write happens inside `Store.write(name)`, one transaction and one named
commit boundary, through the verbs of `Writer`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from homeostat.boundaries import commit
from homeostat.errors import StoreError
from homeostat.records import (
    Alert,
    AlertStatus,
    Answer,
    Approval,
    ApprovalState,
    Batch,
    BatchState,
    CheckResult,
    Decision,
    Document,
    JournalEntry,
    LabelTask,
    Lease,
    ModelRecord,
    Post,
    PostKind,
    Reply,
    Role,
    TaskState,
    Window,
)
from homeostat.store import journal, rows
from homeostat.store.condition import ConditionReads
from homeostat.store.engine import connect, first_line, lock_writers
from homeostat.store.facts import Fact
from homeostat.store.schema import (
    AlertRow,
    AnswerRow,
    ApprovalRow,
    BatchRow,
    CheckRow,
    DecisionRow,
    FactRow,
    JournalRow,
    LeaseRow,
    ModelRow,
    PostRow,
    ReleaseRow,
    ReplyRow,
    StageRow,
    TaskRow,
    WindowRow,
)
from homeostat.store.writer import Writer

T = TypeVar("T")


class Store(ConditionReads):
    """The records of `owner` (a project in a scope) in the database at `url`.

    `durable` has every write on the disk before it counts as done, so that not even a machine that loses its power
    loses it; without it SQLite may lose the last few then, whole, which a loop does again.
    """

    def __init__(self, url: str, owner: str, *, durable: bool = False) -> None:
        self.owner = owner
        self.engine: Engine = connect(url, durable=durable)

    @contextmanager
    def write(self, name: str) -> Iterator[Writer]:
        """One transaction: everything said to the writer is kept, or nothing is. `name` names its boundary."""
        with commit(f"store.{name}"):
            try:
                with Session(self.engine) as session, session.begin():
                    lock_writers(session.connection(), zlib.crc32(self.owner.encode()))
                    yield Writer(session, self.owner)
            except DBAPIError as fault:
                raise StoreError(
                    f"the store cannot be written: {first_line(fault)}.",
                    "Nothing of this step was kept; make room or mend access, then run it again.",
                ) from fault

    def _list(self, table: Any, *where: Any, order: Any, newest: int | None = None) -> list[Any]:
        """Rows in an order; with `newest` only so many of its end, in the same order."""
        with self._reading() as session:
            query = select(table).where(table.owner == self.owner, *where)
            if newest is None:
                return list(session.scalars(query.order_by(*order)))
            return list(session.scalars(query.order_by(*(column.desc() for column in order)).limit(newest)))[::-1]

    def list_batches(self, state: BatchState | None = None, after: datetime | None = None) -> list[Batch]:
        """Batches in the order of their slots; of one state, or those that end after a time, where it is named."""
        where = [] if state is None else [BatchRow.state == state.value]
        where += [] if after is None else [BatchRow.end_at > after]
        return [rows.batch(r) for r in self._list(BatchRow, *where, order=[BatchRow.end_at])]

    def get_batch(self, batch: str) -> Batch | None:
        """One batch by its id."""
        matches = self._list(BatchRow, BatchRow.id == batch, order=[BatchRow.id])
        return rows.batch(matches[0]) if matches else None

    def list_windows(
        self, role: Role = Role.CHAMPION, *, after: datetime | None = None, newest: int | None = None
    ) -> list[Window]:
        """Windows of a role, oldest first; those that end after a time, or only the newest, where it is asked."""
        where = [WindowRow.role == role.value, *([] if after is None else [WindowRow.end_at > after])]
        return [rows.window(r) for r in self._list(WindowRow, *where, order=[WindowRow.end_at], newest=newest)]

    def list_checks(self, *, newest: int | None = None) -> list[CheckResult]:
        """Drift checks, oldest first; only the newest where it is asked."""
        return [rows.check(r) for r in self._list(CheckRow, order=[CheckRow.tick_at, CheckRow.batch], newest=newest)]

    def list_decisions(
        self,
        stage: str | None = None,
        *,
        kinds: Sequence[str] = (),
        after: datetime | None = None,
        before: datetime | None = None,
        newest: int | None = None,
    ) -> list[Decision]:
        """Decisions, oldest first; of one stage, of some kinds, of ticks after or before a time, where it is asked."""
        where = [] if stage is None else [DecisionRow.stage == stage]
        where += [DecisionRow.kind.in_(kinds)] if kinds else []
        where += [] if after is None else [DecisionRow.tick_at > after]
        where += [] if before is None else [DecisionRow.tick_at < before]
        matches = self._list(DecisionRow, *where, order=[DecisionRow.tick_at, DecisionRow.stage], newest=newest)
        return [rows.decision(r) for r in matches]

    def get_decision(self, tick_at: datetime, stage: str) -> Decision | None:
        """What was decided about `stage` at a tick."""
        matches = self._list(
            DecisionRow,
            DecisionRow.tick_at == tick_at,
            DecisionRow.stage == stage,
            order=[DecisionRow.tick_at],
        )
        return rows.decision(matches[0]) if matches else None

    def list_models(self) -> list[ModelRecord]:
        """Registered versions, oldest first."""
        return [rows.model(r) for r in self._list(ModelRow, order=[ModelRow.version])]

    def get_model(self, version: int) -> ModelRecord | None:
        """One registered version."""
        matches = self._list(ModelRow, ModelRow.version == version, order=[ModelRow.version])
        return rows.model(matches[0]) if matches else None

    def list_alerts(self, *, undelivered: bool = False, newest: int | None = None) -> list[Alert]:
        """Alerts, oldest first; those that wait for delivery, or only the newest, where it is asked."""
        where = [AlertRow.delivered_at.is_(None)] if undelivered else []
        return [rows.alert(r) for r in self._list(AlertRow, *where, order=[AlertRow.at, AlertRow.key], newest=newest)]

    def list_alert_statuses(
        self, keys: Sequence[str] | None = None, *, snoozed: bool = False
    ) -> dict[str, AlertStatus]:
        """What became of alerts, by their keys; of all, of those that are named, or of those with a snooze."""
        where = [] if keys is None else [AlertRow.key.in_(keys)]
        where += [AlertRow.snoozed_until.is_not(None)] if snoozed else []
        matches = self._list(AlertRow, *where, order=[AlertRow.at, AlertRow.key])
        return {row.key: rows.alert_status(row) for row in matches}

    def list_approvals(self, state: ApprovalState | None = None) -> list[Approval]:
        """Approvals that were asked for, oldest first; in one state where it is named."""
        where = [] if state is None else [ApprovalRow.state == state.value]
        return [rows.approval(r) for r in self._list(ApprovalRow, *where, order=[ApprovalRow.version])]

    def get_lease(self, name: str) -> Lease | None:
        """Who works on something, be the lease over or not."""
        matches = self._list(LeaseRow, LeaseRow.name == name, order=[LeaseRow.name])
        return rows.lease(matches[0]) if matches else None

    def list_posts(self, kind: PostKind, until: datetime, batch: str) -> list[Post]:
        """What was posted up to a time and no batch but this one has taken in, in the order in which it came."""
        free = PostRow.batch.is_(None) | (PostRow.batch == batch)
        where = (PostRow.kind == kind.value, PostRow.received_at <= until, free)
        return [rows.post(r) for r in self._list(PostRow, *where, order=[PostRow.received_at, PostRow.id])]

    def list_batch_posts(self, kind: PostKind, batch: str) -> list[Post]:
        """What was posted and a batch took in."""
        where = (PostRow.kind == kind.value, PostRow.batch == batch)
        return [rows.post(r) for r in self._list(PostRow, *where, order=[PostRow.received_at, PostRow.id])]

    def count_waiting_posts(self, kind: PostKind) -> int:
        """How many posts no batch has taken in."""
        with self._reading() as session:
            mine = (PostRow.owner == self.owner, PostRow.kind == kind.value, PostRow.batch.is_(None))
            return session.scalar(select(func.count()).where(*mine)) or 0

    def get_reply(self, key: str) -> Reply | None:
        """What was answered to a request by its key, or that it was begun."""
        matches = self._list(ReplyRow, ReplyRow.key == key, order=[ReplyRow.key])
        return rows.reply(matches[0]) if matches else None

    def list_releases(self, batch: str | None = None) -> list[str]:
        """Ids of released quarantine rows that no batch has taken in, or that `batch` took in."""
        with self._reading() as session:
            taken = ReleaseRow.batch.is_(None) if batch is None else ReleaseRow.batch == batch
            query = select(ReleaseRow.row_id).where(ReleaseRow.owner == self.owner, taken)
            return sorted(session.scalars(query))

    def list_all_releases(self) -> list[str]:
        """Ids of all quarantine rows that were ever released."""
        return [r.row_id for r in self._list(ReleaseRow, order=[ReleaseRow.row_id])]

    def list_tasks(self, state: TaskState | None = None, *, key: str | None = None) -> list[LabelTask]:
        """Labeling tasks, oldest first; in one state, or of one row's key, where it is named."""
        where = [] if state is None else [TaskRow.state == state.value]
        where += [] if key is None else [TaskRow.key == key]
        return [rows.task(r) for r in self._list(TaskRow, *where, order=[TaskRow.asked_at, TaskRow.id])]

    def get_task(self, task: str) -> LabelTask | None:
        """One labeling task."""
        matches = self._list(TaskRow, TaskRow.id == task, order=[TaskRow.id])
        return rows.task(matches[0]) if matches else None

    def list_answers(self, task: str | None = None, *, who: str | None = None) -> list[Answer]:
        """What people said, oldest first; of one task, or by one person, where it is named."""
        where = [] if task is None else [AnswerRow.task == task]
        where += [] if who is None else [AnswerRow.who == who]
        return [
            rows.answer(r) for r in self._list(AnswerRow, *where, order=[AnswerRow.at, AnswerRow.task, AnswerRow.who])
        ]

    def get_stage(self, tick_at: datetime, stage: str) -> Document | None:
        """The outcome of a stage of a tick; None while it is not done."""
        with self._reading() as session:
            row = session.get(StageRow, (self.owner, tick_at, stage))
            return None if row is None else row.outcome

    def last_outcome(self, stage: str, before: datetime) -> Document | None:
        """The outcome of a stage at the newest tick before `before`."""
        with self._reading() as session:
            mine = (StageRow.owner == self.owner, StageRow.stage == stage, StageRow.tick_at < before)
            query = select(StageRow.outcome).where(*mine).order_by(StageRow.tick_at.desc()).limit(1)
            return session.scalar(query)

    def last_tick(self, stage: str) -> datetime | None:
        """The newest tick of which a stage is done."""
        with self._reading() as session:
            query = select(func.max(StageRow.tick_at)).where(StageRow.owner == self.owner, StageRow.stage == stage)
            return session.scalar(query)

    def count_ticks(self, stage: str) -> int:
        """Of how many ticks a stage is done."""
        with self._reading() as session:
            query = select(func.count()).where(StageRow.owner == self.owner, StageRow.stage == stage)
            return session.scalar(query) or 0

    def get_fact(self, fact: Fact[T]) -> T | None:
        """What is kept under a fact's name; None where nothing is."""
        with self._reading() as session:
            row = session.get(FactRow, (self.owner, fact.name))
            return None if row is None else fact.load(row.value)

    def list_journal(
        self, *, after: int = 0, until: int | None = None, newest: int | None = None
    ) -> list[JournalEntry]:
        """The journal, oldest link first; the links after one and up to one by their numbers, or only the newest."""
        where = [JournalRow.seq > after] if after else []
        where += [] if until is None else [JournalRow.seq <= until]
        return [rows.entry(r) for r in self._list(JournalRow, *where, order=[JournalRow.seq], newest=newest)]

    def journal_head(self) -> str | None:
        """The hash of the newest link; None while the journal is empty."""
        with self._reading() as session:
            query = select(JournalRow.hash).where(JournalRow.owner == self.owner).order_by(JournalRow.seq.desc())
            return session.scalar(query.limit(1))

    def verify_journal(self, anchor: str | None = None, since: journal.Verdict | None = None) -> journal.Verdict:
        """Whether the journal's chain is unbroken, and holds the anchored head where one is given.

        With `since`, what an earlier call found, only what came after it is walked.
        """
        after = since.entries - 1 if since is not None and since.entries else 0
        return journal.verify(self.walk_journal(after), anchor, since)
