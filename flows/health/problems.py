"""What is wrong with a loop: each problem with since when and what to do; `healthy` means that there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from homeostat.decisions import AlarmKind, RetrainingFacts, RetrainingKind
from homeostat.flows.facts import ALARM, CHAMPION, TRAINING
from homeostat.flows.schedule import find_overdue
from homeostat.flows.stages.supply import Feed, Shortage, find_shortages
from homeostat.monitoring.supply import LEAST_TICKS
from homeostat.pipelines.data.sources import FOREVER
from homeostat.project import Project
from homeostat.records import BatchState, Document, ModelRecord
from homeostat.store import Store

SKEW = timedelta(minutes=1)
"""By how much a clock may lie behind the newest tick."""
MOST_ALARMS = 50
MANY_TIMES = 4
"""How many times the labels that a comparison needs must have come before learning counts as due."""


class ProblemCode(StrEnum):
    """What can be wrong with a loop, for programs."""

    NO_CHAMPION = "no_champion"
    UNSCORED = "unscored"
    HELD = "held"
    BLOCKED = "blocked"
    ALARM = "alarm"
    ALARM_WAITS = "alarm_waits"
    FIX_DATA = "fix_data"
    LABEL = "label"
    NOT_LEARNING = "not_learning"
    TRAINING_FAILED = "training_failed"
    ROWS_STOPPED = "rows_stopped"
    LABELS_STOPPED = "labels_stopped"
    ROWS_LATE = "rows_late"
    UNDELIVERED = "undelivered"
    CLOCK_BEHIND = "clock_behind"
    OVERDUE = "overdue"
    JOURNAL = "journal"
    RUNNER = "runner"
    SERVICE = "service"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `message` says what, `since` when, as far as that is known, and `advice` what to do."""

    code: ProblemCode
    message: str
    since: datetime | None = None
    advice: str = ""

    def as_json(self) -> Document:
        """As `status --json` has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: a project and its store, at a time by the clock; a replay knows no clock."""

    project: Project
    store: Store
    now: datetime | None
    replaying: bool
    decided: Document
    champion: ModelRecord | None
    last: datetime | None

    @property
    def seen(self) -> datetime:
        """Up to when the loop has seen what came; not later than the clock, which may have run ahead."""
        ticks = [t for stage in ("ingest", "feedback") if (t := self.store.last_tick(stage)) is not None]
        newest = max(ticks, default=self.project.start_at)
        return newest if self.now is None or self.replaying else min(newest, self.now)


def find_problems(
    project: Project, store: Store, now: datetime | None, *, replaying: bool, sound: bool = True
) -> list[Problem]:
    """Everything that is wrong with a loop, the gravest first; reads no table as a whole, and writes nothing.

    Without `now`, nothing is said of clock and schedule. `sound` is whether the journal is intact, as far as is known.
    """
    standing = store.get_fact(CHAMPION)
    champion = None if standing is None else store.get_model(standing.version)
    decided, last = store.last_outcome("decide", FOREVER) or {}, store.last_tick("notify")
    subject = Subject(project, store, now, replaying, decided, champion, last)
    problems = [] if sound else [_JOURNAL]
    if standing is None:
        problems.append(Problem(ProblemCode.NO_CHAMPION, "there is no champion yet", last, _FIRST))
    return [*problems, *(problem for look in _LOOKS for problem in look(subject))]


_JOURNAL = Problem(
    ProblemCode.JOURNAL, "the journal was edited", None, "'homeostat journal verify' names the first link that broke."
)
_FIRST = (
    "Nothing is scored until one is trained: 'homeostat check' says whether enough labels are known, and 'homeostat "
    "journal' why the loop waits."
)


def _clock(subject: Subject) -> Iterator[Problem]:
    newest = subject.last
    if subject.now is None or subject.replaying or newest is None or subject.now >= newest - SKEW:
        return
    message = f"the newest tick is of {_day(newest)}, but the clock says {_day(subject.now)}"
    advice = (
        f"Set the clock right. If it ran ahead when that tick was made, no tick is due before {_day(newest)}: until "
        "then 'homeostat up', or 'homeostat ingest' and 'homeostat predict', score what comes."
    )
    yield Problem(ProblemCode.CLOCK_BEHIND, message, None, advice)


def _overdue(subject: Subject) -> Iterator[Problem]:
    if subject.now is None or subject.replaying or subject.last is None:
        return
    found = find_overdue(subject.project, subject.last, subject.now)
    if found is not None:
        oldest, count = found
        message = f"{count} ticks are overdue" if count > 1 else "a tick is overdue"
        advice = "Start 'homeostat up', which keeps the schedule, or run 'homeostat tick'; see 'homeostat logs'."
        yield Problem(ProblemCode.OVERDUE, message, oldest, advice)


def _unscored(subject: Subject) -> Iterator[Problem]:
    waiting = subject.store.count_batches(BatchState.VALIDATED)
    if waiting:
        since = subject.store.oldest_batch(BatchState.VALIDATED)
        advice = "'homeostat predict' scores them and says what stands in the way; see 'homeostat alerts'."
        advice = advice if subject.champion else "They wait for the first champion."
        yield Problem(ProblemCode.UNSCORED, f"{_batches(waiting, 'wait')} to be scored", since, advice)


def _held(subject: Subject) -> Iterator[Problem]:
    """A batch whose alert somebody has acknowledged, or whose rows were released, asks nobody any more."""
    if not subject.store.count_batches(BatchState.HELD):
        return
    held = {f"{batch.id}/validation": batch for batch in subject.store.list_batches(BatchState.HELD)}
    statuses = subject.store.list_alert_statuses(list(held))
    left = [b for key, b in held.items() if key not in statuses or statuses[key].acknowledged_at is None]
    if left:
        advice = (
            "See 'homeostat quarantine list'. Release what is right with 'homeostat quarantine release', or "
            "acknowledge the alert."
        )
        message = f"{_batches(len(left), 'are')} held in quarantine"
        yield Problem(ProblemCode.HELD, message, min(b.end_at for b in left), advice)


def _blocked(subject: Subject) -> Iterator[Problem]:
    if subject.decided.get("blocked"):
        message = f"training is blocked: the model caused {subject.decided['caused']:.0%} of its labels"
        advice = "Get labels that no action on its score caused, or raise labeling.max_caused."
        yield Problem(ProblemCode.BLOCKED, message, None, advice)


def _alarm(subject: Subject) -> Iterator[Problem]:
    if subject.champion is None or not AlarmKind(subject.decided.get("alarm", AlarmKind.QUIET)).stands:
        return
    lineage = subject.champion.root_version
    raised = subject.store.list_decisions("alarm", kinds=(AlarmKind.ALARM.value,), newest=MOST_ALARMS)
    mine = [decision for decision in raised if decision.evidence.get("lineage", lineage) == lineage]
    if raised and not mine:
        return
    since = mine[-1].tick_at if mine else None
    version = mine[-1].model_version if mine else subject.champion.version
    message = f"an alarm stands: version {version} has become worse"
    advice = (
        "'homeostat journal' says what was measured. The loop learns where that pays; 'homeostat retrain' does so now, "
        "and 'homeostat rollback' puts an earlier version back."
    )
    yield Problem(ProblemCode.ALARM, message, since, advice)


def _alarm_waits(subject: Subject) -> Iterator[Problem]:
    """The alarm takes batches in order, so one whose labels never become complete keeps it from those after it."""
    if subject.champion is None:
        return
    watch = subject.store.get_fact(ALARM.of(subject.champion.root_version))
    batch = None if watch is None or watch.waits_for is None else subject.store.get_batch(watch.waits_for)
    if batch is None:
        return
    due = batch.end_at + subject.project.data.feedback.horizon + LEAST_TICKS * subject.project.loop.tick
    if subject.seen > due:
        message = f"the alarm waits for labels of batch {batch.id}, and looks at nothing after it"
        advice = "Look for rows of that batch that are dated wrongly, or whose labels cannot come."
        yield Problem(ProblemCode.ALARM_WAITS, message, due, advice)


_PLEAS = {
    RetrainingKind.FIX_DATA: (ProblemCode.FIX_DATA, "Fix the column at its source; learning goes on by itself then."),
    RetrainingKind.LABEL: (ProblemCode.LABEL, "See that labels come, or ask people for some: labeling.budget."),
}


def _pleas(subject: Subject) -> Iterator[Problem]:
    """What the loop asks somebody to see to; of labels that stopped, `_shortages` says more."""
    kind = str(subject.decided.get("decision"))
    if kind not in _PLEAS or (kind == RetrainingKind.LABEL and Feed.LABELS in {s.feed for s in _missed(subject)}):
        return
    code, advice = _PLEAS[RetrainingKind(kind)]
    newest = subject.store.list_decisions("retraining", newest=1)
    reason = f": {newest[0].reasons[0]}" if newest and newest[0].kind == kind and newest[0].reasons else ""
    title = "the data must be fixed" if kind == RetrainingKind.FIX_DATA else "labels are wanted"
    yield Problem(code, f"{title}{reason}", subject.store.decided_since("retraining", kind), advice)


def _not_learning(subject: Subject) -> Iterator[Problem]:
    """Labels came, many more than a comparison needs, and still there are too few to compare models on."""
    newest = subject.store.list_decisions("retraining", newest=1)
    settings, gates = subject.project.retraining, subject.project.gates
    if subject.champion is None or not newest or settings.policy == "never":
        return
    facts, tried = RetrainingFacts.of(newest[0].evidence), subject.store.get_fact(TRAINING)
    grown = facts.labels - facts.labels_at_last_attempt
    waits = newest[0].kind == RetrainingKind.WAIT and not facts.blocked and facts.fresh_labels < gates.min_rows
    if waits and grown >= MANY_TIMES * gates.min_rows / gates.fresh_share:
        message = (
            f"nothing is learned though {grown} labels came since the last training: only {facts.fresh_labels} of "
            f"{gates.min_rows} can be compared on"
        )
        advice = "Lower gates.min_rows, or 'homeostat retrain' now."
        yield Problem(ProblemCode.NOT_LEARNING, message, None if tried is None else tried.at, advice)


def _failed(subject: Subject) -> Iterator[Problem]:
    found = subject.store.find_failed_acts()
    if found is not None:
        since, count, reason = found
        times = "" if count == 1 else f" {count} times"
        advice = "'homeostat retrain' tries again and says more; see 'homeostat logs'."
        yield Problem(ProblemCode.TRAINING_FAILED, f"a training failed{times}: {reason}", since, advice)


def _missed(subject: Subject) -> list[Shortage]:
    return find_shortages(subject.project, subject.store, subject.seen, replaying=subject.replaying)


def _shortages(subject: Subject) -> Iterator[Problem]:
    for found in _missed(subject):
        yield Problem(ProblemCode(found.feed.value), found.message, found.since, found.advice)


def _undelivered(subject: Subject) -> Iterator[Problem]:
    if subject.replaying:
        return
    late = None if subject.now is None else subject.now - LEAST_TICKS * subject.project.loop.tick
    count, since, reason = subject.store.find_undelivered(late)
    if count:
        why = f": {reason}" if reason else ""
        one = "1 alert was" if count == 1 else f"{count} alerts were"
        advice = (
            "Mend the variables of notify.routes; 'homeostat doctor' looks at them. It is tried again at each tick."
        )
        yield Problem(ProblemCode.UNDELIVERED, f"{one} not delivered{why}", since, advice)


_LOOKS: tuple[Callable[[Subject], Iterator[Problem]], ...] = (
    _clock, _overdue, _unscored, _held, _blocked, _alarm, _alarm_waits, _pleas, _not_learning, _failed, _shortages,
    _undelivered,
)  # fmt: skip


def _batches(number: int, verb: str) -> str:
    one = {"wait": "waits", "are": "is"}
    return f"{number} batches {verb}" if number != 1 else f"1 batch {one[verb]}"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
