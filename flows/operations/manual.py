"""What a person does to a loop by hand: single stages, promotion, rollback, releases; always journaled by name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from homeostat.durations import instant
from homeostat.errors import DataError, HomeostatError
from homeostat.flows.events import MODEL_APPROVED, announce_word
from homeostat.flows.facts import HOLD, POSTS
from homeostat.flows.learning import promotion as settling
from homeostat.flows.learning.holds import LIFT, ROLLBACK, hold_from, previous_champion
from homeostat.flows.learning.versions import make_version
from homeostat.flows.loop import Loop
from homeostat.flows.stages import act as acting
from homeostat.flows.stages import check as checking
from homeostat.flows.stages import decide as deciding
from homeostat.flows.stages import feedback as feeding
from homeostat.flows.stages import ingest as ingesting
from homeostat.flows.stages import predict as predicting
from homeostat.pipelines.data.quarantine import UNRELEASABLE
from homeostat.pipelines.data.sources import FOREVER, load_inputs
from homeostat.pipelines.data.validation import validate_inputs
from homeostat.records import BatchState, Decision, Document, FitCost, ModelRecord, PostKind


def ingest(loop: Loop, at: datetime, who: str) -> Document:
    """Take in what is new right now, as a batch of its own; one that was stopped half way comes to its end first."""
    half = {*_begun(loop, "inputs", "ingest"), *filter(None, [ingesting.begun_batch(loop)])}
    done = [*(ingesting.ingest(loop, begun) for begun in sorted(half)), ingesting.ingest_between(loop, at)]
    outcome = done[-1] | {name: sum(result[name] for result in done) for name in ("rows", "quarantined", "held")}
    broken = [loop.store.get_batch(result["batch"]) for result in done if result["quarantined"] or result["held"]]
    if broken:
        message = "; ".join(batch.reason or "" for batch in broken if batch is not None)
        outcome["problem"] = f"{message}; nothing is lost, see 'homeostat quarantine list {loop.project.folder}'."
    return outcome


def predict(loop: Loop, at: datetime, who: str) -> Document:
    """Score what waits."""
    return predicting.predict(loop, at)


def rescore(loop: Loop, at: datetime, who: str) -> Document:
    """Score corrected inputs again, because a person asks."""
    outcome = predicting.rescore(loop, at)
    with loop.store.write("asked") as write:
        write.append_journal(at, f"{instant(at)}/rescore", "rescore", {"by": who, **outcome})
    return outcome


def feedback(loop: Loop, at: datetime, who: str) -> Document:
    """Take in the labels known by now."""
    if loop.key_dtype() is None:
        raise DataError(
            "feedback: no inputs have come yet, so no label has a row to belong to.",
            f"Run 'homeostat ingest {loop.project.folder}' first.",
        )
    done = [feeding.feedback(loop, begun) for begun in [*_begun(loop, "feedback", "feedback"), at]]
    outcome: Document = {name: sum(result[name] for result in done) for name in done[-1]}
    if outcome["quarantined"]:
        last = next(alert for alert in reversed(loop.store.list_alerts()) if alert.key.endswith("/labels"))
        message = f"{last.title}: {last.body}; nothing is lost"
        outcome["problem"] = f"{message}, see 'homeostat quarantine list {loop.project.folder}'."
    return outcome


def monitor(loop: Loop, at: datetime, who: str) -> Document:
    """Measure windows and drift now."""
    return checking.check(loop, at)


def train(loop: Loop, at: datetime, who: str) -> Document:
    """Train and register a version; the first becomes champion, a later one waits for 'promote'."""
    if loop.version_of("champion") is None:
        deciding.decide(loop, at)
        return acting.act(loop, at)
    record = make_version(loop, at)
    with loop.store.write("trained") as write:
        write.put_model(record)
        body = {"version": record.version, "by": who, "rows": record.rows, "reference": dict(record.reference)}
        write.append_journal(at, f"{instant(at)}/train", "train", body)
    return {"did": "train", **body}


def retrain(loop: Loop, at: datetime, who: str) -> Document:
    """Train, compare on fresh rows, and promote or refuse, whatever the policy would have waited for."""
    deciding.decide(loop, at, asked=f"asked for by {who}")
    return acting.act(loop, at)


def foresee(loop: Loop, at: datetime, slots: Sequence[str]) -> Document:
    """What a tick would find and decide now; writes nothing."""
    checked = validate_inputs(load_inputs(loop.project, loop.hooks, None, at), loop.project, loop.key_dtype(), at)
    known = loop.lake.latest("inputs", loop.key, FOREVER, keys=checked.accepted[loop.key])
    alarm, decision = deciding.weigh(loop, at)
    return {
        "due": list(slots),
        "new rows": checked.accepted.height - (0 if known is None else known.height),
        "rows that break a rule": checked.rejected.height,
        "batches waiting to be scored": len(loop.store.list_batches(BatchState.VALIDATED)),
        "alarm, on what is known": alarm.kind,
        "decision, on what is known": f"{decision.kind}: {'; '.join(decision.reasons)}",
    }


def promote_version(loop: Loop, at: datetime, version: int | None, who: str, why: str) -> Decision:
    """Make a version champion by a person's word; without one, the challenger that waits."""
    chosen = version if version is not None else loop.version_of("challenger")
    if chosen is None:
        raise HomeostatError("promote: no challenger waits for approval.", "Name one with --version.")
    record = _find(loop, chosen)
    reason = f"promoted by {who}" + (f": {why}" if why else "")
    verdict = Decision(at, "promotion", "promote", (reason,), {"by": who, "why": why}, chosen)
    loop.models.load(chosen)
    settling.promote(loop, at, record, verdict)
    announce_word(loop, MODEL_APPROVED, {"version": chosen, "by": who})
    return verdict


def plan_rollback(loop: Loop, to: int | None) -> tuple[int, int]:
    """The version that a rollback would replace, and the one it would put back; it changes nothing.

    Without `to` that is the last champion before this one that was not declared bad by a rollback. Raises
    HomeostatError where there is none.
    """
    champion = loop.version_of("champion")
    target = to if to is not None else previous_champion(loop)
    if target is None or champion is None:
        raise HomeostatError(
            "rollback: there is no earlier champion to go back to that was not rolled back from.",
            "Name a version with --to.",
        )
    if target == champion:
        raise HomeostatError(f"rollback: version {target} is champion already.", "Name another with --to.")
    return champion, target


def rollback(loop: Loop, at: datetime, to: int | None, who: str, why: str) -> Decision:
    """Put an earlier version back, as of `plan_rollback`, and hold it there: nothing is promoted by the loop itself."""
    champion, target = plan_rollback(loop, to)
    record = _find(loop, target)
    loop.models.load(target)
    hold = hold_from(loop, at, version=target, replaced=champion, who=who, why=why)
    reason = f"rolled back from version {champion} by {who}" + (f": {why}" if why else "")
    until = "somebody lifts it or promotes a version by name" if hold.until is None else instant(hold.until)
    holds = f"nothing else is promoted without a person until {until}; {LIFT} lifts it"
    evidence = {"from": champion, "by": who, "why": why, "until": None if hold.until is None else instant(hold.until)}
    verdict = Decision(at, ROLLBACK, ROLLBACK, (reason, holds), evidence, target)
    settling.promote(loop, at, record, verdict, facts={HOLD: hold}, insist=settling.stands(loop, champion))
    announce_word(loop, MODEL_APPROVED, {"version": target, "by": who})
    return verdict


def list_quarantine(loop: Loop, ids: Sequence[str] | None, batch: str | None, rule: str | None) -> list[Document]:
    """Quarantined rows, oldest first, each with whether it was released."""
    rows = loop.lake.read("quarantine")
    if rows is None:
        return []
    for column, wanted in (("row_id", ids), ("batch", [batch] if batch else None), ("rule", [rule] if rule else None)):
        if wanted:
            rows = rows.filter(pl.col(column).is_in(list(wanted)))
    released = loop.store.list_all_releases()
    return rows.sort("quarantined_at", "row_id").with_columns(released=pl.col("row_id").is_in(released)).to_dicts()


def release(loop: Loop, at: datetime, who: str, ids: Sequence[str] | None, batch: str | None, rule: str | None) -> int:
    """Let quarantined rows pass with the next batch; returns how many. Rows without a key or a time cannot."""
    rows = [r for r in list_quarantine(loop, ids, batch, rule) if not r["released"]]
    if not rows:
        raise HomeostatError("quarantine release: no such rows wait.", "See 'homeostat quarantine list'.")
    hopeless = [r for r in rows if r["rule"] in UNRELEASABLE]
    if hopeless and len(hopeless) == len(rows):
        raise HomeostatError(
            "quarantine release: a row without a key, or with no time or a wrong one, cannot come back.",
            "Mend the source; where events lie ahead by nature, raise data.inputs.ahead.",
        )
    with loop.store.write("release") as write:
        for row in rows:
            if row["rule"] not in UNRELEASABLE:
                write.append_release(row["row_id"], at, who)
        for left in _all_released(loop, rows):
            write.put_acknowledgement(f"{left}/validation", at, who, "its rows were released")
        body = {"by": who, "rows": [r["row_id"] for r in rows[:100]], "count": len(rows) - len(hopeless)}
        write.append_journal(at, f"{instant(at)}/release", "release", body)
    return len(rows) - len(hopeless)


def _all_released(loop: Loop, rows: Sequence[Document]) -> list[str]:
    """The held batches of which nothing waits any more once these rows are released."""
    ids = {row["row_id"] for row in rows}
    batches = sorted({row["batch"] for row in rows if row["rule"] == "held"})
    waits = [r for r in list_quarantine(loop, None, None, "held") if not r["released"] and r["row_id"] not in ids]
    return [batch for batch in batches if batch not in {row["batch"] for row in waits}]


def _begun(loop: Loop, source: str, stage: str) -> list[datetime]:
    """The times of what was stopped before its end, by a full disk or a kill, and had quarantined rows or taken posts.

    Oldest first.
    """
    rows = loop.lake.read("quarantine", pl.col("source") == source, ["batch"])
    batches = set() if rows is None else set(rows["batch"])
    took = loop.store.get_fact(POSTS[PostKind(source)])
    times = [datetime.fromisoformat(batch) for batch in sorted(batches | ({took.batch} if took else set()))]
    return [at for at in times if loop.store.get_stage(at, stage) is None]


def _find(loop: Loop, version: int) -> ModelRecord:
    record = loop.store.get_model(version)
    if record is not None:
        return record
    if version not in loop.models.list_versions():
        known = ", ".join(map(str, loop.models.list_versions())) or "none"
        raise HomeostatError(f"there is no version {version} of {loop.paths.model_name}.", f"Known: {known}.")
    return ModelRecord(version, f"by hand/{version}", loop.project.start_at, "foreign", 0, {}, FitCost())
