"""Stage 1: take in the inputs that are new, quarantine what breaks a stated rule."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from homeostat.durations import instant
from homeostat.flows.facts import BEGUN, BegunBatch
from homeostat.flows.loop import Loop, alert
from homeostat.flows.posts import take_posts
from homeostat.pipelines.data.deduplication import drop_overruled, select_new_inputs, select_new_rejections
from homeostat.pipelines.data.posted import frame_inputs
from homeostat.pipelines.data.quarantine import hold_rows, restore_inputs, type_as, with_row_ids
from homeostat.pipelines.data.sources import FOREVER, has_inputs, load_inputs, load_misdated
from homeostat.pipelines.data.times import INSTANT
from homeostat.pipelines.data.validation import Validated, decide_validation, validate_inputs
from homeostat.records import Alert, Batch, BatchState, Decision, Document, Post, PostKind, Severity


def ingest(loop: Loop, at: datetime) -> Document:
    """Append the inputs known before `at` that the lake does not hold, as one batch; returns its counts.

    A batch between ticks that was killed half way comes to its end first: its rows count as known already.
    """
    _end_begun(loop, at)
    return _ingest(loop, at)


def ingest_between(loop: Loop, at: datetime) -> Document:
    """Ingest at a time that is no tick's; as nobody would ask for this batch again, it is noted before it writes."""
    _end_begun(loop, at)
    return _ingest(loop, at, between=True)


def begun_batch(loop: Loop) -> datetime | None:
    """The time of a batch between ticks that was begun and is not done."""
    fact = loop.store.get_fact(BEGUN)
    at = None if fact is None else fact.at
    return at if at is not None and loop.store.get_stage(at, "ingest") is None else None


def _end_begun(loop: Loop, at: datetime) -> None:
    begun = None if loop.replaying else begun_batch(loop)
    if begun is not None and begun < at:
        _ingest(loop, begun)


def _ingest(loop: Loop, at: datetime, *, between: bool = False) -> Document:
    batch = instant(at)
    previous = loop.previous_tick(at)
    if not loop.lake.appended("inputs", "inputs", batch):
        _append(loop, at, batch, previous, between=between)
    return _record(loop, at, batch, previous)


def _append(loop: Loop, at: datetime, batch: str, previous: datetime | None, *, between: bool) -> None:
    since = previous if loop.replaying else None
    rows = load_inputs(loop.project, loop.hooks, since, at)
    if not between and not loop.replaying:
        rows = _with_misdated(loop, rows, at)
    checked = validate_inputs(rows, loop.project, loop.key_dtype(), at)
    if between:
        with loop.store.write("begun") as write:
            write.put_fact(BEGUN, BegunBatch(at))
    held_rows = _held(loop, batch)
    fresh, broken = _unknown(loop, _not_overruled(loop, checked.accepted), at, held_rows), checked.rejected
    posts = take_posts(loop, PostKind.INPUTS, at, batch)
    if posts:
        posted = _posted(loop, posts, checked.accepted, at)
        fresh = _unknown(loop, _together(loop, fresh, posted.accepted, at), at, held_rows)
        broken = pl.concat([broken, posted.rejected])
    rejected = select_new_rejections(broken, _quarantined(loop, broken, batch))
    verdict = _judge(loop, rejected, fresh.height, at, batch)
    if verdict.kind == "hold":
        held = hold_rows(fresh.drop("_correction", "_posted", strict=False), loop.project, verdict.reasons[0], at)
        rejected, fresh = pl.concat([rejected, held], how="diagonal_relaxed"), fresh.clear()
    if rejected.height:
        named = with_row_ids(rejected.with_columns(batch=pl.lit(batch)))
        loop.lake.append("quarantine", named, "quarantine.inputs", batch)
    released = restore_inputs(_released(loop), loop.project, loop.key_dtype(), at, schema=loop.lake.schema("inputs"))
    if released is not None and verdict.kind != "hold":
        fresh = _unknown(loop, pl.concat([released, fresh.drop("_correction")], how="diagonal_relaxed"), at)
    if fresh.is_empty() and loop.key_dtype() is None and not has_inputs(loop.project, loop.hooks):
        return  # No row has come yet by which the lake could know the type of its keys.
    loop.lake.append("inputs", fresh.with_columns(_batch=pl.lit(batch)), "inputs", batch)


def _with_misdated(loop: Loop, rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """With those rows of the source that would never come, for their time is a mistake: they are to be quarantined."""
    misdated = load_misdated(loop.project, rows, at)
    return rows if misdated is None else pl.concat([rows, misdated], how="vertical_relaxed")


def _posted(loop: Loop, posts: list[Post], given: pl.DataFrame, at: datetime) -> Validated:
    """What was posted, checked as the source's own rows are, in the types of the lake or of what the source gave."""
    known = loop.key_dtype() or (given.schema[loop.key] if given.height else None)
    checked = validate_inputs(frame_inputs(posts, loop.project), loop.project, known, at)
    schema = loop.lake.schema("inputs") or (given.schema if given.height else None)
    accepted = type_as(checked.accepted, schema, loop.project).with_columns(_posted=pl.lit(True))
    return Validated(accepted, checked.rejected)


def _together(loop: Loop, given: pl.DataFrame, posted: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """The source's rows and what was posted; of one key the posted row counts, and comes last."""
    both = pl.concat([given.drop("_correction"), posted] if given.height else [posted], how="diagonal_relaxed")
    later = pl.int_range(pl.len()).reverse().over(loop.key)
    return both.with_columns(known_at=(pl.lit(at, INSTANT) - pl.duration(microseconds=later)).cast(INSTANT))


def _not_overruled(loop: Loop, rows: pl.DataFrame) -> pl.DataFrame:
    """The source's rows without those that it had said before something newer was posted of their keys."""
    if "_posted" not in (loop.lake.schema("inputs") or {}):
        return rows
    known = loop.lake.latest("inputs", loop.key, FOREVER, keys=rows[loop.key])
    keys = None if known is None else known.filter(pl.col("_posted").fill_null(False))[loop.key]
    if keys is None or keys.is_empty():
        return rows
    history = loop.lake.read("inputs", pl.col(loop.key).is_in(keys.implode()))
    return rows if history is None else drop_overruled(rows, history)


def _unknown(loop: Loop, rows: pl.DataFrame, at: datetime, held: pl.DataFrame | None = None) -> pl.DataFrame:
    """The rows that say something new; what is `held` waits for a person, though the source gives it again.

    Of several rows of a key that come at once the last is the one to score; of those before the start, which are
    learned from alone, the first is what was known.
    """
    known = loop.lake.latest("inputs", loop.key, FOREVER, keys=rows[loop.key])
    known = rows.clear() if known is None else known
    fresh = select_new_inputs(rows, known if held is None else _last_seen(loop, known, held))
    new_key = ~pl.col(loop.key).is_in(known[loop.key].implode())
    place = pl.int_range(pl.len()).over(loop.key)
    counts = place == 0 if is_history(loop, at) else place == pl.len().over(loop.key) - 1
    return fresh.with_columns(_correction=~(new_key & counts))


def _held(loop: Loop, batch: str) -> pl.DataFrame | None:
    return loop.lake.read("quarantine", (pl.col("rule") == "held") & (pl.col("batch") != batch))


def _last_seen(loop: Loop, known: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """The last row of each key, be it known or of a batch that was held since."""
    last = known.select(pl.col(loop.key).cast(pl.String).alias("key"), "known_at")
    since = pl.col("known_at").is_null() | (pl.col("quarantined_at") > pl.col("known_at"))
    waiting = held.join(last, on="key", how="left").filter(since).sort("quarantined_at", maintain_order=True)
    rows = restore_inputs(waiting, loop.project, loop.key_dtype(), FOREVER, schema=loop.lake.schema("inputs"))
    if rows is None:
        return known
    return pl.concat([known.join(rows, on=loop.key, how="anti"), rows], how="diagonal_relaxed")


def _record(loop: Loop, at: datetime, batch: str, previous: datetime | None) -> Document:
    rows = loop.lake.read("inputs", pl.col("_batch") == batch, [loop.key, "event_at"])
    keys = pl.Series(loop.key, [], pl.String) if rows is None else rows[loop.key].cast(pl.String)
    rejected = loop.lake.read("quarantine", (pl.col("batch") == batch) & (pl.col("source") == "inputs"))
    broken = 0 if rejected is None else rejected.filter(pl.col("rule") != "held").height
    held = 0 if rejected is None else rejected.height - broken
    verdict = None
    if rejected is not None and rejected.height:
        verdict = _judge(loop, rejected.filter(pl.col("rule") != "held"), len(keys) + held, at, batch)
    outcome = {"batch": batch, "rows": len(keys), "quarantined": broken, "held": held, **_newest_event(rows)}
    with loop.store.write("ingest") as write:
        if verdict is not None:
            write.append_decision(verdict)
            write.append_alert(_alert(verdict, broken, at))
        reason = None if verdict is None else "; ".join(verdict.reasons)
        start = previous if previous is not None else at - loop.project.loop.tick
        state = _state(loop, verdict, at)
        write.put_batch(Batch(batch, start, at, state, len(keys), broken + held, reason))
        write.take_releases(_taken(loop, keys), batch)
        write.put_stage(at, "ingest", outcome)
    return outcome


def _newest_event(rows: pl.DataFrame | None) -> Document:
    """What the outcome says of how late rows come."""
    newest = None if rows is None or rows.is_empty() else rows["event_at"].max()
    return {"newest": instant(newest)} if isinstance(newest, datetime) else {}


def _state(loop: Loop, verdict: Decision | None, at: datetime) -> BatchState:
    if verdict is not None and verdict.kind == "hold":
        return BatchState.HELD
    return BatchState.HISTORY if is_history(loop, at) else BatchState.VALIDATED


def is_history(loop: Loop, at: datetime) -> bool:
    """Whether the batch of `at` is the one of all that came before the loop's start."""
    return at <= loop.project.start_at and loop.previous_tick(at) is None


def _alert(verdict: Decision, broken: int, at: datetime) -> Alert:
    held = verdict.kind == "hold"
    title = f"batch {verdict.evidence['batch']} is held" if held else f"{broken} rows were quarantined"
    severity = Severity.CRITICAL if held else Severity.WARNING
    return alert(at, severity, "validation", title, "; ".join(verdict.reasons))


def _judge(loop: Loop, rejected: pl.DataFrame, accepted: int, at: datetime, batch: str) -> Decision:
    counts = dict(rejected.group_by("rule").len().sort("rule").iter_rows())
    return decide_validation(counts, rejected.height + accepted, loop.project, at, batch)


def _released(loop: Loop) -> pl.DataFrame | None:
    ids = loop.store.list_releases()
    chosen = (pl.col("source") == "inputs") & pl.col("row_id").is_in(ids)
    return loop.lake.read("quarantine", chosen) if ids else None


def _taken(loop: Loop, keys: pl.Series) -> list[str]:
    """The released rows that this batch holds; one released a moment ago waits for the next."""
    rows = _released(loop)
    return [] if rows is None else rows.filter(pl.col("key").is_in(keys.implode()))["row_id"].to_list()


def _quarantined(loop: Loop, rejected: pl.DataFrame, batch: str) -> pl.DataFrame:
    """What earlier batches left; what this one left before it was killed must be judged again."""
    earlier = (pl.col("source") == "inputs") & (pl.col("batch") != batch)
    known = loop.lake.read("quarantine", earlier) if rejected.height else None
    return rejected.clear() if known is None else known
