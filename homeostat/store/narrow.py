"""Narrow reads: a few columns of many rows, counts, and pages of the journal, for whoever looks at years of history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Engine, Select, func, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from homeostat.errors import StoreError
from homeostat.records import ApprovalState, BatchState, JournalEntry, Role, Severity, TaskState
from homeostat.store.engine import first_line
from homeostat.store.schema import (
    AlertRow,
    ApprovalRow,
    BatchRow,
    CheckRow,
    DecisionRow,
    JournalRow,
    TaskRow,
    WindowRow,
)

SOME = 500
"""Of how many links of the journal at a time the walk reads."""


class Point(NamedTuple):
    """A window in figures: what of `Window` a picture over time needs; `at` is its end."""

    at: datetime
    rows: int
    labels: int
    status: str
    metric: str
    realized: float | None
    realized_low: float | None
    realized_high: float | None
    estimated: float | None
    estimated_low: float | None
    estimated_high: float | None
    model_version: int


class Gist(NamedTuple):
    """A decision without its evidence but for the `step` it was about."""

    tick_at: datetime
    stage: str
    kind: str
    reasons: Sequence[str]
    model_version: int | None
    step: str | None


class NarrowReads:
    """Reads of the records of `owner` in the database behind `engine`."""

    owner: str
    engine: Engine

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

    def list_points(
        self,
        role: Role = Role.CHAMPION,
        *,
        after: datetime | None = None,
        before: datetime | None = None,
        newest: int | None = None,
    ) -> list[Point]:
        """Windows of a role as points, oldest first; of ends after or before a time, or only the newest."""
        table = WindowRow
        query = select(
            table.end_at, table.rows, table.labels, table.status, table.metric, table.realized, table.realized_low,
            table.realized_high, table.estimated, table.estimated_low, table.estimated_high, table.model_version,
        ).where(table.owner == self.owner, table.role == role.value)  # fmt: skip
        query = _between(query, table.end_at, after, before)
        if newest is None:
            return [Point(*row) for row in self._rows(query.order_by(table.end_at))]
        return [Point(*row) for row in self._rows(query.order_by(table.end_at.desc()).limit(newest))][::-1]

    def newest_known(self, role: Role = Role.CHAMPION) -> Point | None:
        """The newest window whose metric is known, be it provisional."""
        for size in (50, None):
            known = [p for p in self.list_points(role, newest=size) if p.realized is not None]
            if known:
                return known[-1]
        return None

    def last_decision(self) -> datetime | None:
        """The newest tick or time at which something was decided."""
        newest = select(DecisionRow.tick_at).where(DecisionRow.owner == self.owner).order_by(DecisionRow.tick_at.desc())
        return self._value(newest.limit(1))

    def span(self, role: Role = Role.CHAMPION) -> tuple[datetime, datetime] | None:
        """The ends of the first and the last window of a role; None before the first."""
        mine = (WindowRow.owner == self.owner, WindowRow.role == role.value)
        ends = [self._value(select(WindowRow.end_at).where(*mine).order_by(order).limit(1))
                for order in (WindowRow.end_at, WindowRow.end_at.desc())]  # fmt: skip
        return None if ends[0] is None else (ends[0], ends[1])

    def list_shares(
        self, *, after: datetime | None = None, before: datetime | None = None, newest: int | None = None
    ) -> list[tuple[datetime, float | None, str]]:
        """Drift checks as (tick, share of columns that moved, status), oldest first."""
        query = select(CheckRow.tick_at, CheckRow.share, CheckRow.status).where(CheckRow.owner == self.owner)
        query = _between(query, CheckRow.tick_at, after, before).order_by(CheckRow.tick_at.desc())
        records = self._rows(query if newest is None else query.limit(newest))
        return [(at, share, status) for at, share, status in records][::-1]

    def list_gists(
        self, kinds: Sequence[str], *, after: datetime | None = None, before: datetime | None = None
    ) -> list[Gist]:
        """Decisions of some kinds, oldest first, without their evidence."""
        table = DecisionRow
        query = select(
            table.tick_at, table.stage, table.kind, table.reasons, table.model_version,
            table.evidence["step"].as_string(),
        ).where(table.owner == self.owner, table.kind.in_(kinds))  # fmt: skip
        query = _between(query, table.tick_at, after, before)
        return [Gist(*row) for row in self._rows(query.order_by(table.tick_at, table.stage))]

    def count_told_changes(self, lineage: int, began: str, before: datetime) -> int:
        """The number of the newest change of a lineage's alarm that a decision told of before a time; 0 for none.

        An earlier release did not number them: there was one alarm since the instant at which the watch `began`.
        """
        evidence = DecisionRow.evidence
        query = select(evidence["changes"].as_integer(), evidence["began"].as_string()).where(
            DecisionRow.owner == self.owner,
            DecisionRow.stage == "alarm",
            DecisionRow.kind != "quiet",
            evidence["lineage"].as_integer() == lineage,
            DecisionRow.tick_at < before,
        )
        newest = self._rows(query.order_by(DecisionRow.tick_at.desc()).limit(1))
        return max((int(since == began) if changes is None else changes for changes, since in newest), default=0)

    def list_check_runs(self, ticks: Sequence[datetime]) -> dict[datetime, tuple[str, str]]:
        """Of the drift checks of some ticks, the MLflow run and the status."""
        query = select(CheckRow.tick_at, CheckRow.run_id, CheckRow.status).where(CheckRow.owner == self.owner)
        query = query.where(CheckRow.tick_at.in_(ticks), CheckRow.run_id.is_not(None))
        return {at: (str(run), str(status)) for at, run, status in self._rows(query)}

    def count_batches(self, state: BatchState) -> int:
        """How many batches are in a state."""
        return self._count(BatchRow.owner == self.owner, BatchRow.state == state.value)

    def count_undelivered(self) -> int:
        """How many alerts wait for delivery."""
        return self._count(AlertRow.owner == self.owner, AlertRow.delivered_at.is_(None))

    def count_open_alerts(self, at: datetime | None) -> dict[Severity, int]:
        """How many alerts nobody has acknowledged, and that are not to be quiet at a time (or ever), by severity.

        Those that only inform ask for nobody, and are not counted.
        """
        awake = AlertRow.snoozed_until.is_(None)
        awake = awake if at is None else or_(awake, AlertRow.snoozed_until <= at)
        asks = AlertRow.severity != Severity.INFO.value
        mine = (AlertRow.owner == self.owner, AlertRow.acknowledged_at.is_(None), asks, awake)
        query = select(AlertRow.severity, func.count()).where(*mine).group_by(AlertRow.severity)
        return {Severity(severity): number for severity, number in self._rows(query)}

    def count_open_approvals(self) -> int:
        """How many challengers wait for a person."""
        return self._count(ApprovalRow.owner == self.owner, ApprovalRow.state == ApprovalState.OPEN.value)

    def count_open_tasks(self) -> int:
        """How many rows wait for people's labels."""
        return self._count(TaskRow.owner == self.owner, TaskRow.state == TaskState.OPEN.value)

    def list_journal_times(
        self, *, quiet: Sequence[str], hidden: Sequence[str], only: str | None, before: datetime | None, newest: int
    ) -> list[datetime]:
        """The newest times at which the journal says something, newest first.

        Decisions of the kinds in `quiet` and acts of the kinds in `hidden` do not count; with `only`, nothing does but
        the decisions or the acts of that kind of link, such as "decide_alarm".
        """
        decided = select(DecisionRow.tick_at).where(DecisionRow.owner == self.owner).distinct()
        if quiet:
            decided = decided.where(DecisionRow.kind.not_in(quiet))
        journaled = select(JournalRow.at).where(JournalRow.owner == self.owner).distinct()
        journaled = journaled.where(~JournalRow.kind.startswith(DECIDED), JournalRow.kind.not_in(hidden))
        if only is not None and only.startswith(DECIDED):
            decided = decided.where(DecisionRow.stage == only.removeprefix(DECIDED))
        elif only is not None:
            journaled = journaled.where(JournalRow.kind == only)
        times: set[datetime] = set()
        for query, column in ((decided, DecisionRow.tick_at), (journaled, JournalRow.at)):
            if only is None or only.startswith(DECIDED) == (query is decided):
                query = _between(query, column, None, before).order_by(column.desc()).limit(newest)
                times.update(at for (at,) in self._rows(query))
        return sorted(times, reverse=True)[:newest]

    def list_links(self, times: Sequence[datetime]) -> list[JournalEntry]:
        """The links of the journal that were said at some times, newest first."""
        columns = [getattr(JournalRow, name) for name in JournalEntry.__dataclass_fields__]
        query = select(*columns).where(JournalRow.owner == self.owner, JournalRow.at.in_(times))
        records = [JournalEntry(*row) for row in self._rows(query)]  # sorted here: by SQLite, it would walk them all
        return sorted(records, key=lambda link: -link.seq)

    def list_journal_kinds(self) -> list[str]:
        """The kinds of links that the journal has."""
        query = select(JournalRow.kind).where(JournalRow.owner == self.owner).distinct()
        return sorted(kind for (kind,) in self._rows(query))

    def walk_journal(self, after: int = 0) -> Iterator[JournalEntry]:
        """The journal, oldest link first, from the link after one by its number; some at a time, however long it is."""
        columns = [getattr(JournalRow, name) for name in JournalEntry.__dataclass_fields__]
        query = select(*columns).where(JournalRow.owner == self.owner).order_by(JournalRow.seq).limit(SOME)
        while records := self._rows(query.where(JournalRow.seq > after)):
            for link in records:
                yield JournalEntry(*link)
            after = records[-1][0]

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        with self._reading() as session:
            return session.connection().execute(query).all()  # plain rows: what a session adds costs as much again

    def _value(self, query: Select[Any]) -> Any:
        with self._reading() as session:
            return session.scalar(query)

    def _count(self, *where: Any) -> int:
        return self._value(select(func.count()).where(*where)) or 0


DECIDED = "decide_"
"""How the kind of a link begins that says a decision; the question it answered follows."""


def _between(query: Select[Any], column: Any, after: datetime | None, before: datetime | None) -> Select[Any]:
    query = query if after is None else query.where(column > after)
    return query if before is None else query.where(column < before)
