"""Writing into the store: the verbs of one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from homeostat.records import (
    Alert,
    Answer,
    Approval,
    Batch,
    CheckResult,
    Decision,
    LabelTask,
    Lease,
    ModelRecord,
    Post,
    Reply,
    Role,
    Window,
)
from homeostat.store import journal, rows
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

SOME = 500
T = TypeVar("T")


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
        gist = {"status": check.drift.status, "share": check.drift.share}
        self._session.merge(CheckRow(owner=self._owner, **rows.values(check), **gist))

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
            self._session.add(AlertRow(owner=self._owner, **rows.values(alert)))
            self._session.flush()

    def put_delivery(self, key: str, delivered_at: datetime | None, problem: str | None) -> None:
        """Keep whether an alert reached its routes."""
        row = self._session.get_one(AlertRow, (self._owner, key))
        row.delivered_at, row.problem = delivered_at, problem

    def put_acknowledgement(self, key: str, at: datetime | None, by: str | None, note: str | None) -> bool:
        """Keep who has seen an alert and what is being done about it; False where there is no such alert."""
        row = self._session.get(AlertRow, (self._owner, key))
        if row is not None:
            row.acknowledged_at, row.acknowledged_by, row.note = at, by, note
        return row is not None

    def put_snooze(self, key: str, until: datetime | None) -> bool:
        """Keep until when an alert is to be quiet; False where there is no such alert."""
        row = self._session.get(AlertRow, (self._owner, key))
        if row is not None:
            row.snoozed_until = until
        return row is not None

    def put_approval(self, approval: Approval) -> None:
        """Keep an approval's newest state."""
        self._session.merge(ApprovalRow(owner=self._owner, **rows.values(approval)))

    def take_lease(self, lease: Lease, *, sure: bool = False) -> bool:
        """Take a lease or renew one's own; False where another's is not over at `lease.taken_at`, unless `sure`.

        Be `sure` only where it is known that the other no longer works. A lease that is renewed keeps its `taken_at`.
        """
        row = self._session.get(LeaseRow, (self._owner, lease.name))
        if row is None:
            self._session.add(LeaseRow(owner=self._owner, **rows.values(lease)))
        elif row.holder == lease.holder:
            row.until = lease.until
        elif sure or row.until <= lease.taken_at:
            row.holder, row.taken_at, row.until = lease.holder, lease.taken_at, lease.until
        else:
            return False
        self._session.flush()
        return True

    def drop_lease(self, name: str, holder: str) -> None:
        """Give a lease back; another's stays."""
        row = self._session.get(LeaseRow, (self._owner, name))
        if row is not None and row.holder == holder:
            self._session.delete(row)

    def append_post(self, post: Post) -> Post | None:
        """Keep what was posted; where its id was posted before nothing changes, and that post is given back."""
        row = self._session.get(PostRow, (self._owner, post.id))
        if row is not None:
            return rows.post(row)
        self._session.add(PostRow(owner=self._owner, **rows.values(post)))
        self._session.flush()
        return None

    def append_posts(self, posts: Sequence[Post]) -> dict[str, Post]:
        """Keep many posts, each with an id of its own; those whose ids were posted before change nothing.

        Returns what was posted under those ids before, by id.
        """
        held: dict[str, Post] = {}
        for start in range(0, len(posts), SOME):
            some = posts[start : start + SOME]
            mine = (PostRow.owner == self._owner, PostRow.id.in_([post.id for post in some]))
            held |= {row.id: rows.post(row) for row in self._session.scalars(select(PostRow).where(*mine))}
            fresh = [{"owner": self._owner, **rows.values(post)} for post in some if post.id not in held]
            if fresh:
                self._session.execute(insert(PostRow), fresh)
        return held

    def split_post(self, post: Post, rest: Post) -> None:
        """Keep less of a post than it was, and what is left of it as a post of its own."""
        self._session.get_one(PostRow, (self._owner, post.id)).rows = list(post.rows)
        self._session.add(PostRow(owner=self._owner, **rows.values(rest)))
        self._session.flush()

    def take_posts(self, ids: Sequence[str], batch: str) -> None:
        """Note which batch took posts into the lake."""
        for start in range(0, len(ids), SOME):
            chosen = PostRow.id.in_(ids[start : start + SOME])
            self._session.execute(update(PostRow).where(PostRow.owner == self._owner, chosen).values(batch=batch))

    def drop_posts(self, before: datetime) -> int:
        """Forget posts that the lake has held since before a time; returns how many. Their ids may then come again."""
        mine = (PostRow.owner == self._owner, PostRow.batch.is_not(None), PostRow.received_at < before)
        return self._session.execute(delete(PostRow).where(*mine)).rowcount  # type: ignore[attr-defined]

    def begin_reply(self, reply: Reply) -> Reply | None:
        """Note that a request with a key is begun; where that key came before, that is given back unchanged."""
        row = self._session.get(ReplyRow, (self._owner, reply.key))
        if row is not None:
            return rows.reply(row)
        self._session.add(ReplyRow(owner=self._owner, **rows.values(reply)))
        self._session.flush()
        return None

    def put_reply(self, key: str, status: int, body: Mapping[str, Any]) -> None:
        """Keep what was answered to a request that was begun."""
        row = self._session.get_one(ReplyRow, (self._owner, key))
        row.status, row.body = status, dict(body)

    def drop_replies(self, before: datetime) -> int:
        """Forget what was answered before a time; returns how many. Their keys may then come again."""
        old = (ReplyRow.owner == self._owner, ReplyRow.at < before)
        return self._session.execute(delete(ReplyRow).where(*old)).rowcount  # type: ignore[attr-defined]

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

    def put_fact(self, fact: Fact[T], value: T) -> None:
        """Keep a fact's newest record."""
        self._session.merge(FactRow(owner=self._owner, name=fact.name, value=fact.dump(value)))

    def drop_fact(self, fact: Fact[Any]) -> None:
        """Forget what is kept under a fact's name."""
        row = self._session.get(FactRow, (self._owner, fact.name))
        if row is not None:
            self._session.delete(row)

    def append_journal(self, at: datetime, key: str, kind: str, body: Mapping[str, Any]) -> None:
        """Add a link to the journal; the same key is said once. `Store.write` lets one writer in at a time."""
        existing = select(JournalRow.seq).where(JournalRow.owner == self._owner, JournalRow.key == key)
        if self._session.scalar(existing) is not None:
            return
        newest = select(JournalRow).where(JournalRow.owner == self._owner).order_by(JournalRow.seq.desc()).limit(1)
        head = self._session.scalar(newest)
        seq, previous = (head.seq + 1, head.hash) if head else (1, journal.GENESIS)
        entry = journal.link(seq, at, key, kind, body, previous)
        self._session.add(JournalRow(owner=self._owner, **rows.values(entry)))
        self._session.flush()
