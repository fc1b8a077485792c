"""Stage 3: take in the truths that are known by now."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from homeostat.durations import instant
from homeostat.flows.facts import CLASSES, TARGET, TargetType
from homeostat.flows.loop import Loop, alert
from homeostat.flows.posts import take_posts
from homeostat.flows.roles import AS_SCORED
from homeostat.lake import ORDER
from homeostat.pipelines.data.ahead import came_late
from homeostat.pipelines.data.deduplication import drop_overruled, select_new_labels, select_new_rejections
from homeostat.pipelines.data.posted import frame_labels
from homeostat.pipelines.data.quarantine import restore_labels, with_row_ids
from homeostat.pipelines.data.sources import date_labels, load_feedback
from homeostat.pipelines.data.validation import Validated, validate_feedback
from homeostat.project import Task
from homeostat.records import Alert, Document, Post, PostKind, Severity

OBSERVED = pl.col("provenance") == "observed"


def feedback(loop: Loop, at: datetime) -> Document:
    """Append the labels with `known_at` <= `at` that the lake does not hold; returns their counts.

    They are compared with what the source said before, so it never overrules a person by saying the same again.
    A label whose input has not come waits for one tick before it is quarantined as unknown.
    """
    batch = instant(at)
    if not loop.lake.appended("feedback", "feedback", batch):
        _append(loop, at, batch)
    labels = loop.lake.read("feedback", (pl.col("ingested_at") == at) & OBSERVED, [loop.key, "label"])
    mine = (pl.col("batch") == batch) & (pl.col("source") == "feedback")
    rejected = loop.lake.read("quarantine", mine, ["rule", "key"])
    withdrawn = 0 if labels is None else labels["label"].null_count()
    outcome = {
        "labels": 0 if labels is None else labels.height - withdrawn,
        "withdrawn": withdrawn,
        "quarantined": 0 if rejected is None else rejected.height,
    }
    if _is_belated(loop, at):
        outcome["belated"] = True
    with loop.store.write("feedback") as write:
        if rejected is not None and rejected.height:
            counts = rejected.group_by("rule").agg(pl.len(), pl.col("key").min()).sort("rule")
            body = "; ".join(f"{n} broke {rule!r}, as {key!r}" for rule, n, key in counts.iter_rows())
            title = f"{rejected.height} labels were quarantined"
            write.append_alert(alert(at, Severity.WARNING, "labels", title, body))
        if labels is not None and withdrawn:
            write.append_alert(_withdrawal(labels.filter(pl.col("label").is_null()), at))
        write.take_releases(_taken(loop, at, labels), batch)
        write.put_stage(at, "feedback", outcome)
    return outcome


def _is_belated(loop: Loop, at: datetime) -> bool:
    """Whether labels that are taken in now may have been there for long: the loop is catching up, or did not run."""
    before = loop.store.last_tick("feedback")
    if loop.replaying or before is None:
        return False
    return loop.is_past(at) or at - before > 2 * loop.project.loop.tick


def _withdrawal(withdrawn: pl.DataFrame, at: datetime) -> Alert:
    body = (
        f"the source now gives no label for them, as for {withdrawn.to_series().sort()[0]!r}; they count as rows "
        "without a label from now on. Versions that learned from them stay as they are."
    )
    return alert(at, Severity.INFO, "withdrawn", f"{withdrawn.height} labels were withdrawn", body)


def _taken(loop: Loop, at: datetime, labels: pl.DataFrame | None) -> list[str]:
    rows = _released(loop, at)
    if rows is None or labels is None:
        return []
    return rows.filter(pl.col("key").is_in(labels[loop.key].cast(pl.String).implode()))["row_id"].to_list()


def _append(loop: Loop, at: datetime, batch: str) -> None:
    rows = _known_by(loop, at)
    _note_type(loop, rows)
    inputs = loop.lake.read("inputs", pl.col("known_at") <= at, [loop.key])
    keys = None if inputs is None else inputs[loop.key]
    fact = loop.store.get_fact(CLASSES)
    classes = fact.classes if fact is not None and loop.project.task is Task.BINARY else None
    checked = validate_feedback(rows, loop.project, keys, loop.key_dtype(), classes, at)
    rejected = _overdue(checked.rejected, rows, loop, at)
    accepted = _not_overruled(loop, checked.accepted)
    posts = [] if keys is None else take_posts(loop, PostKind.FEEDBACK, at, batch, keys)
    if posts:
        posted = _posted(loop, posts, keys, classes, at)
        # Of a source there may be no row at all, and then no type by which it could be told from what was posted.
        accepted = pl.concat([accepted, posted.accepted] if accepted.height else [posted.accepted], how="diagonal")
        accepted = accepted.sort("known_at", maintain_order=True)
        rejected = pl.concat([rejected, posted.rejected])
    released = restore_labels(_released(loop, at), loop.project, loop.key_dtype(), at)
    belated = restore_labels(_belated(loop, keys), loop.project, loop.key_dtype(), at, belated=True)
    if belated is not None:
        accepted = pl.concat([accepted, belated], how="diagonal_relaxed").sort("known_at", maintain_order=True)
    if released is not None:
        # The source goes on giving what was refused, which then must not overrule what a person let pass.
        accepted = pl.concat([accepted, released.with_columns(_posted=pl.lit(True))], how="diagonal_relaxed")
    history = _history(loop, accepted[loop.key])
    fresh = select_new_labels(accepted, accepted.clear() if history is None else history)
    earlier = loop.lake.read("quarantine", pl.col("source") == "feedback") if rejected.height else None
    rejected = select_new_rejections(rejected, rejected.clear() if earlier is None else earlier)
    if rejected.height:
        named = with_row_ids(rejected.with_columns(batch=pl.lit(batch)))
        loop.lake.append("quarantine", named, "quarantine.feedback", batch)
    if keys is None and fresh.is_empty() and loop.project.data.feedback.posted:
        return  # No input has come yet by which the lake could know the type of its keys.
    loop.lake.append("feedback", fresh, "feedback", batch)


def _posted(
    loop: Loop, posts: list[Post], keys: pl.Series | None, classes: tuple[str, ...] | None, at: datetime
) -> Validated:
    """What was posted, checked as the source's own labels are."""
    rows = frame_labels(posts, loop.project)
    if loop.store.get_fact(TARGET) is None:
        _note_type(loop, rows)
    checked = validate_feedback(rows, loop.project, keys, loop.key_dtype(), classes, at)
    return Validated(checked.accepted.with_columns(_posted=pl.lit(True)), checked.rejected)


def _not_overruled(loop: Loop, labels: pl.DataFrame) -> pl.DataFrame:
    """The source's labels without those that it had said before something newer was posted of their keys.

    Nor does a row of the source that waits for its label take a posted one back.
    """
    if "_posted" not in (loop.lake.schema("feedback") or {}):
        return labels
    history = _history(loop, labels[loop.key])
    if history is None or history.is_empty():
        return labels
    last = history.sort(*ORDER["feedback"], maintain_order=True).unique(loop.key, keep="last")
    keys = last.filter(pl.col("_posted").fill_null(False))[loop.key].implode()
    said = ["label"] if loop.project.data.feedback.known_at is None else ["label", "known_at"]
    past = history.filter(pl.col(loop.key).is_in(keys)).select(loop.key, *said)
    waiting = pl.col("label").is_null() & pl.col(loop.key).is_in(keys)
    return drop_overruled(labels.filter(~waiting), past)


def _history(loop: Loop, keys: pl.Series) -> pl.DataFrame | None:
    """Every label that the source, or a post, ever gave of some keys."""
    rows = loop.lake.scan("feedback")
    if rows is None or keys.is_empty():
        return None
    first, last = (pl.lit(end, dtype=keys.dtype) for end in (keys.min(), keys.max()))
    rows = rows.filter(OBSERVED & pl.col(loop.key).is_between(first, last))
    return loop.lake.collect("feedback", rows.join(keys.unique().to_frame().lazy(), on=loop.key, how="semi"))


def _note_type(loop: Loop, rows: pl.DataFrame) -> None:
    """Remember whether classes come as text: "1" is given back as it came, though the lake holds 1 in the same way."""
    target = TargetType(rows.schema[loop.project.data.target] in (pl.String, pl.Categorical, pl.Enum))
    if rows.height and loop.store.get_fact(TARGET) != target:
        with loop.store.write("target") as write:
            write.put_fact(TARGET, target)


def _known_by(loop: Loop, at: datetime) -> pl.DataFrame:
    """Labels of the source that are known by `at`.

    Where the source does not say when a label was known, life goes by the clock, and a replay, for which every
    label of the past would be there at once, by the horizon after the event.
    """
    settings = loop.project.data.feedback
    previous = loop.previous_tick(at)
    since = previous - loop.project.loop.tick if loop.replaying and previous is not None else None
    rows = load_feedback(loop.project, loop.hooks, since if settings.known_at else None, at)
    if settings.known_at is not None:
        return rows
    inputs = loop.lake.latest("inputs", loop.key, at, AS_SCORED)
    if inputs is None:
        return rows.clear()
    inputs = inputs.with_columns(had_at=came_late(loop.project))
    dated = date_labels(rows, inputs, loop.project).filter(pl.col("available_at").is_not_null())
    if loop.replaying:
        return dated.filter(pl.col("available_at") <= at)
    return dated.with_columns(available_at=pl.lit(at, dated.schema["available_at"]))


def _overdue(rejected: pl.DataFrame, rows: pl.DataFrame, loop: Loop, at: datetime) -> pl.DataFrame:
    """Leave out labels of unknown keys that came within the last tick: their input may still be on its way."""
    if rejected.filter(pl.col("rule") == "unknown_key").is_empty():
        return rejected
    young = rows.filter(pl.col("available_at") > at - loop.project.loop.tick)[loop.key].cast(pl.String)
    return rejected.filter((pl.col("rule") != "unknown_key") | ~pl.col("key").is_in(young.implode()))


def _released(loop: Loop, at: datetime) -> pl.DataFrame | None:
    """Labels released and not taken in by an earlier tick."""
    ids = loop.store.list_releases() + loop.store.list_releases(instant(at))
    return loop.lake.read("quarantine", (pl.col("source") == "feedback") & pl.col("row_id").is_in(ids)) if ids else None


def _belated(loop: Loop, inputs: pl.Series | None) -> pl.DataFrame | None:
    """Labels that were quarantined because their input had not come, and it has since."""
    rows = loop.lake.read("quarantine", (pl.col("source") == "feedback") & (pl.col("rule") == "unknown_key"))
    if rows is None or rows.is_empty() or inputs is None:
        return None
    labelled = loop.lake.read("feedback", OBSERVED, [loop.key])
    known = inputs if labelled is None else inputs.filter(~inputs.is_in(labelled[loop.key].implode()))
    chosen = rows.filter(pl.col("key").is_in(known.cast(pl.String).implode()))
    return chosen.sort("quarantined_at", maintain_order=True)
