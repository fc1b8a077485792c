"""The store: the control plane of one project in one scope.

Reads are methods of `Store`; every write happens inside `Store.write(name)`, one transaction and one named
commit boundary, through the verbs of `Writer`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from homeostat.boundaries import commit
from homeostat.errors import StoreError
from homeostat.records import (
    Alert,
    Answer,
    Batch,
    BatchState,
    CheckResult,
    Decision,
    JournalEntry,
    LabelTask,
    ModelRecord,
    Role,
    TaskState,
    Window,
)
from homeostat.store import journal, rows
from homeostat.store.engine import connect, first_line, lock_writers
from homeostat.store.schema import (
    AlertRow,
    AnswerRow,
    BatchRow,
    CheckRow,
    DecisionRow,
    FactRow,
    JournalRow,
    ModelRow,
    ReleaseRow,
    StageRow,
    TaskRow,
    WindowRow,
)


class Store:
    """The records of `owner` (a project in a scope) in the database at `url`."""

    def __init__(self, url: str, owner: str) -> None:
        self.owner = owner
        self.engine: Engine = connect(url)

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

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        try:
            with (
                self.engine.connect().execution_options(readonly=True) as connection,
                Session(connection) as session,
            ):
                yield session
        except DBAPIError as fault:
            hint = "Check that its database runs and can be reached."
            raise StoreError(f"the store cannot be read: {first_line(fault)}.", hint) from fault

    def _list(self, table: Any, *where: Any, order: Any) -> list[Any]:
        with self._reading() as session:
            query = select(table).where(table.owner == self.owner, *where).order_by(*order)
            return list(session.scalars(query))

    def list_batches(self, state: BatchState | None = None, after: datetime | None = None) -> list[Batch]:
        """Batches in the order of their slots; of one state, or those that end after a time, where it is named."""
        where = [] if state is None else [BatchRow.state == state.value]
        where += [] if after is None else [BatchRow.end_at > after]
        return [rows.batch(r) for r in self._list(BatchRow, *where, order=[BatchRow.end_at])]

    def get_batch(self, batch: str) -> Batch | None:
        """One batch by its id."""
        found = self._list(BatchRow, BatchRow.id == batch, order=[BatchRow.id])
        return rows.batch(found[0]) if found else None

    def list_windows(self, role: Role = Role.CHAMPION) -> list[Window]:
        """Windows of a role, oldest first."""
        return [rows.window(r) for r in self._list(WindowRow, WindowRow.role == role.value, order=[WindowRow.end_at])]

    def list_checks(self) -> list[CheckResult]:
        """Drift checks, oldest first."""
        return [rows.check(r) for r in self._list(CheckRow, order=[CheckRow.tick_at, CheckRow.batch])]

    def list_decisions(self, stage: str | None = None) -> list[Decision]:
        """Decisions, oldest first; of one stage only where it is named."""
        where = [] if stage is None else [DecisionRow.stage == stage]
        found = self._list(DecisionRow, *where, order=[DecisionRow.tick_at, DecisionRow.stage])
        return [rows.decision(r) for r in found]

    def get_decision(self, tick_at: datetime, stage: str) -> Decision | None:
        """What was decided about `stage` at a tick."""
        found = self._list(
            DecisionRow,
            DecisionRow.tick_at == tick_at,
            DecisionRow.stage == stage,
            order=[DecisionRow.tick_at],
        )
        return rows.decision(found[0]) if found else None

    def list_models(self) -> list[ModelRecord]:
        """Registered versions, oldest first."""
        return [rows.model(r) for r in self._list(ModelRow, order=[ModelRow.version])]

    def get_model(self, version: int) -> ModelRecord | None:
        """One registered version."""
        found = self._list(ModelRow, ModelRow.version == version, order=[ModelRow.version])
        return rows.model(found[0]) if found else None

    def list_alerts(self, *, undelivered: bool = False) -> list[Alert]:
        """Alerts, oldest first."""
        where = [AlertRow.delivered_at.is_(None)] if undelivered else []
        return [rows.alert(r) for r in self._list(AlertRow, *where, order=[AlertRow.at, AlertRow.key])]

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
        found = self._list(TaskRow, TaskRow.id == task, order=[TaskRow.id])
        return rows.task(found[0]) if found else None

    def list_answers(self, task: str | None = None) -> list[Answer]:
        """What people said, oldest first; of one task where it is named."""
        where = [] if task is None else [AnswerRow.task == task]
        return [
            rows.answer(r) for r in self._list(AnswerRow, *where, order=[AnswerRow.at, AnswerRow.task, AnswerRow.who])
        ]

    def get_stage(self, tick_at: datetime, stage: str) -> dict[str, Any] | None:
        """The outcome of a stage of a tick; None while it is not done."""
        with self._reading() as session:
            found = session.get(StageRow, (self.owner, tick_at, stage))
            return None if found is None else found.outcome

    def last_outcome(self, stage: str, before: datetime) -> dict[str, Any] | None:
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

    def get_fact(self, name: str) -> dict[str, Any] | None:
        """A named fact about the loop."""
        with self._reading() as session:
            found = session.get(FactRow, (self.owner, name))
            return None if found is None else found.value

    def list_journal(self) -> list[JournalEntry]:
        """The journal, oldest link first."""
        return [rows.entry(r) for r in self._list(JournalRow, order=[JournalRow.seq])]

    def journal_head(self) -> str | None:
        """The hash of the newest link; None while the journal is empty."""
        with self._reading() as session:
            query = select(JournalRow.hash).where(JournalRow.owner == self.owner).order_by(JournalRow.seq.desc())
            return session.scalar(query.limit(1))

    def verify_journal(self, anchor: str | None = None) -> journal.Verdict:
        """Whether the journal's chain is unbroken, and holds the anchored head where one is given."""
        return journal.verify(self.list_journal(), anchor)


class Writer:
    """The verbs of one transaction on the store; each may be said again with the same effect."""

    def __init__(self, session: Session, owner: str) -> None:
        self._session = session
        self._owner = owner

    def put_batch(self, batch: Batch) -> None:
        """Keep a batch's newest state."""
        self._session.merge(BatchRow(owner=self._owner, **rows.values(batch)))

    def put_window(self, window: Window, role: Role = Role.CHAMPION) -> None:
        """Keep a window's newest measure."""
        self._session.merge(WindowRow(owner=self._owner, role=role.value, **rows.values(window)))

    def put_check(self, check: CheckResult) -> None:
        """Keep a drift check."""
        self._session.merge(CheckRow(owner=self._owner, **rows.values(check)))

    def append_decision(self, decision: Decision) -> None:
        """Keep a decision and say it in the journal."""
        self._session.merge(DecisionRow(owner=self._owner, **rows.values(decision)))
        body = {
            "decision": decision.kind,
            "reasons": list(decision.reasons),
            "evidence": rows.plain(dict(decision.evidence)),
            "model_version": decision.model_version,
        }
        key = f"{decision.tick_at.isoformat()}/decide_{decision.stage}"
        self.append_journal(decision.tick_at, key, f"decide_{decision.stage}", body)

    def put_model(self, model: ModelRecord) -> None:
        """Keep what is known of a registered version."""
        self._session.merge(ModelRow(owner=self._owner, **rows.values(model)))

    def put_task(self, task: LabelTask) -> None:
        """Keep a labeling task's newest state."""
        self._session.merge(TaskRow(owner=self._owner, **rows.values(task)))

    def append_answer(self, answer: Answer) -> bool:
        """Keep what a person said of a task; False, and nothing is changed, where they had answered it before."""
        if self._session.get(AnswerRow, (self._owner, answer.task, answer.who)) is not None:
            return False
        self._session.add(AnswerRow(owner=self._owner, **rows.values(answer)))
        self._session.flush()
        return True

    def drop_answer(self, task: str, who: str) -> bool:
        """Take back what a person said of a task; False where they had said nothing."""
        row = self._session.get(AnswerRow, (self._owner, task, who))
        if row is not None:
            self._session.delete(row)
            self._session.flush()
        return row is not None

    def append_alert(self, alert: Alert) -> None:
        """Raise an alert; the same key is one alert."""
        if self._session.get(AlertRow, (self._owner, alert.key)) is None:
            self._session.add(AlertRow(owner=self._owner, **rows.values(alert), delivered_at=None, problem=None))
            self._session.flush()

    def put_delivery(self, key: str, delivered_at: datetime | None, problem: str | None) -> None:
        """Keep whether an alert reached its routes."""
        row = self._session.get_one(AlertRow, (self._owner, key))
        row.delivered_at, row.problem = delivered_at, problem

    def append_release(self, row_id: str, at: datetime, who: str) -> None:
        """Let a quarantined row pass with the next batch."""
        if self._session.get(ReleaseRow, (self._owner, row_id)) is None:
            self._session.add(ReleaseRow(owner=self._owner, row_id=row_id, at=at, who=who, batch=None))

    def take_releases(self, row_ids: list[str], batch: str) -> None:
        """Note which batch took released rows in."""
        for row_id in row_ids:
            self._session.get_one(ReleaseRow, (self._owner, row_id)).batch = batch

    def put_stage(self, tick_at: datetime, stage: str, outcome: Mapping[str, Any]) -> None:
        """Note that a stage of a tick is done."""
        self._session.merge(StageRow(owner=self._owner, tick_at=tick_at, stage=stage, outcome=dict(outcome)))

    def put_fact(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a named fact about the loop."""
        self._session.merge(FactRow(owner=self._owner, name=name, value=dict(value)))

    def drop_fact(self, name: str) -> None:
        """Forget a named fact."""
        row = self._session.get(FactRow, (self._owner, name))
        if row is not None:
            self._session.delete(row)

    def append_journal(self, at: datetime, key: str, kind: str, body: Mapping[str, Any]) -> None:
        """Add a link to the journal; the same key is said once. `Store.write` lets one writer in at a time."""
        said = select(JournalRow.seq).where(JournalRow.owner == self._owner, JournalRow.key == key)
        if self._session.scalar(said) is not None:
            return
        newest = select(JournalRow).where(JournalRow.owner == self._owner).order_by(JournalRow.seq.desc()).limit(1)
        head = self._session.scalar(newest)
        seq, previous = (head.seq + 1, head.hash) if head else (1, journal.GENESIS)
        entry = journal.link(seq, at, key, kind, body, previous)
        self._session.add(JournalRow(owner=self._owner, **rows.values(entry)))
        self._session.flush()
