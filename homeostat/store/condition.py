"""Reads of a loop's condition: when rows and labels came, and what went wrong and was not made good."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, or_, select

from homeostat.records import BatchState
from homeostat.store.narrow import NarrowReads
from homeostat.store.schema import AlertRow, BatchRow, DecisionRow, JournalRow, ModelRow, StageRow

FAILED = "act_failed"
"""The kind of link that says that a decision could not be carried out."""
MADE_GOOD = ("promotion", "rollback")


class ConditionReads(NarrowReads):
    """A few columns of the records of `owner`, for whoever asks whether all is well."""

    def list_arrivals(self, after: datetime) -> list[datetime]:
        """The ends of the batches after a time that brought rows, oldest first."""
        mine = (BatchRow.owner == self.owner, BatchRow.rows > 0, BatchRow.end_at > after)
        return [at for (at,) in self._rows(select(BatchRow.end_at).where(*mine).order_by(BatchRow.end_at))]

    def last_arrival(self) -> datetime | None:
        """The end of the newest batch that brought rows."""
        return self._value(select(func.max(BatchRow.end_at)).where(BatchRow.owner == self.owner, BatchRow.rows > 0))

    def list_label_ticks(self, after: datetime) -> list[datetime]:
        """The ticks after a time, or times between ticks, at which labels came from their source; oldest first."""
        mine = (StageRow.owner == self.owner, StageRow.stage == "feedback", StageRow.outcome["labels"].as_integer() > 0)
        query = select(StageRow.tick_at).where(*mine, StageRow.tick_at > after).order_by(StageRow.tick_at)
        return [at for (at,) in self._rows(query)]

    def list_belated_label_ticks(self, after: datetime) -> list[datetime]:
        """The ticks after a time at which labels were taken in late, by a loop that was catching up."""
        mine = (StageRow.owner == self.owner, StageRow.stage == "feedback", StageRow.tick_at > after)
        belated = StageRow.outcome["belated"].as_boolean()
        return [at for (at,) in self._rows(select(StageRow.tick_at).where(*mine, belated).order_by(StageRow.tick_at))]

    def last_label_tick(self) -> datetime | None:
        """When labels came from their source last."""
        mine = (StageRow.owner == self.owner, StageRow.stage == "feedback", StageRow.outcome["labels"].as_integer() > 0)
        return self._value(select(func.max(StageRow.tick_at)).where(*mine))

    def list_newest_events(self, after: datetime) -> list[tuple[datetime, datetime]]:
        """The times after one at which rows came, each with the newest event that they brought, oldest first."""
        event = StageRow.outcome["newest"].as_string()
        mine = (StageRow.owner == self.owner, StageRow.stage == "ingest", event.is_not(None))
        query = select(StageRow.tick_at, event).where(*mine, StageRow.tick_at > after).order_by(StageRow.tick_at)
        return [(at, datetime.fromisoformat(text)) for at, text in self._rows(query)]

    def has_rows_between(self, after: datetime, until: datetime) -> bool:
        """Whether a batch with rows ended after a time and by another."""
        ended = (BatchRow.end_at > after, BatchRow.end_at <= until)
        return self._count(BatchRow.owner == self.owner, BatchRow.rows > 0, *ended) > 0

    def oldest_batch(self, state: BatchState) -> datetime | None:
        """The end of the oldest batch in a state."""
        mine = (BatchRow.owner == self.owner, BatchRow.state == state.value)
        return self._value(select(func.min(BatchRow.end_at)).where(*mine))

    def decided_since(self, stage: str, kind: str) -> datetime | None:
        """Since when every decision of a stage has been of a kind; None where the newest is not."""
        mine = (DecisionRow.owner == self.owner, DecisionRow.stage == stage)
        other = self._value(select(func.max(DecisionRow.tick_at)).where(*mine, DecisionRow.kind != kind))
        later = () if other is None else (DecisionRow.tick_at > other,)
        return self._value(select(func.min(DecisionRow.tick_at)).where(*mine, DecisionRow.kind == kind, *later))

    def find_failed_acts(self) -> tuple[datetime, int, str] | None:
        """Since when decisions could not be carried out, how often, and why the last could not; None where all was.

        A version that was made since, or one that was put in place, makes earlier ones good.
        """
        made = self._value(select(func.max(ModelRow.as_of)).where(ModelRow.owner == self.owner))
        placed = (DecisionRow.owner == self.owner, DecisionRow.stage.in_(MADE_GOOD))
        put = self._value(select(func.max(DecisionRow.tick_at)).where(*placed))
        good = max((at for at in (made, put) if at is not None), default=None)
        mine = (JournalRow.owner == self.owner, JournalRow.kind == FAILED)
        mine += () if good is None else (JournalRow.at > good,)
        rows = self._rows(select(JournalRow.at, JournalRow.body).where(*mine).order_by(JournalRow.at))
        return (rows[0][0], len(rows), str(rows[-1][1].get("problem", ""))) if rows else None

    def find_undelivered(self, late: datetime | None) -> tuple[int, datetime | None, str | None]:
        """How many alerts did not reach everybody they are for, since when, and why the newest did not.

        An alert whose delivery was not tried yet counts from a time on. What is snoozed waits for its time.
        """
        table = AlertRow
        tried = table.problem.is_not(None)
        due = tried if late is None else or_(tried, table.at <= late)
        mine = (table.owner == self.owner, table.delivered_at.is_(None), table.snoozed_until.is_(None), due)
        rows = self._rows(select(table.at, table.problem).where(*mine).order_by(table.at))
        return len(rows), rows[0][0] if rows else None, rows[-1][1] if rows else None
