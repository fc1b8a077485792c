"""A step of learning: the newest version's members are reweighed and refitted, and what comes of it is compared.

Of the rows of the batches that have become mature since the last step a share, drawn by their keys, is kept from
learning: it is what champion and challenger are compared on now. The next step learns from it too. The live loop and a
backtest take the same step, each over its own `LearningPort`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from homeostat.decisions import PromotionEvidence, PromotionKind, RetrainingFacts
from homeostat.errors import DataError, RegistryError
from homeostat.flows.learning.consent import heed
from homeostat.flows.learning.port import Attempt, LearningPort, Progress, Rows, Scoring, Span
from homeostat.flows.learning.probation import get_probation
from homeostat.flows.learning.rules import (
    compare_scores,
    count_labels,
    groups_of,
    kept_apart,
    mean_losses,
    newest,
    rows_to_compare,
    share_apart,
)
from homeostat.flows.loop import tick_index
from homeostat.metrics import stand_for
from homeostat.monitoring.retraining.forecast import RETRAIN
from homeostat.pipelines.inference import MEMBERS
from homeostat.pipelines.models.ensemble import Ensemble, refit_heard, weights_of
from homeostat.pipelines.models.features import raw_view
from homeostat.pipelines.models.members import BOOSTED, FIRST, MemberSpec, Window, follow, list_specs
from homeostat.project import Project
from homeostat.records import Decision, ModelRecord
from homeostat.registry.comparison import Comparison, Gain, track_record
from homeostat.registry.promotion import decide_promotion

MOST_EARLIER = 10
MOST_ROWS, MOST_TICKS = 20_000, 500
"""A step looks at about so many of the newest labelled rows: with more it would only become slower."""


@dataclass(frozen=True, slots=True)
class Base:
    """What the next step starts from: a version, the end of the last batch it knows, the labels it knew whole.

    Of the rows that came after `since` it has not learned from the `share` that was kept apart. `anew` says that
    everything was learned anew because of an alarm, and that nothing of it has been promoted yet.
    """

    version: int
    manifest: Mapping[str, Any]
    until: datetime
    labels: int
    since: datetime
    share: float = 1.0
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Fresh:
    """What is new since a base was made, and what a step is compared on: a share of the rows, drawn by their keys.

    `compared` ends with what is `new`, and begins earlier where that alone would be too little.
    """

    new: Sequence[Span]
    compared: Sequence[Span]
    share: float

    @property
    def rows(self) -> int:
        """About how many rows a comparison has."""
        return int(count_labels(self.compared) * self.share)


@dataclass(frozen=True, slots=True)
class Step:
    """What was made and compared: the version, the verdict on it, how far learning has come, what to wait for.

    Without members nothing is learned in steps, and there is neither `progress` nor `attempt`.
    """

    record: ModelRecord
    verdict: Decision
    progress: Progress | None = None
    attempt: Attempt | None = None


def find_base(port: LearningPort) -> Base | None:
    """The version to go on from: the newest one made, or the champion.

    None where the policy does not learn in steps, or the version has no members of ours.
    """
    progress, champion = port.progress(), port.champion()
    if champion is None or port.project.retraining.policy != "forecast":
        return None
    if progress is None or champion.version not in (progress.version, progress.champion):
        version, since = champion.version, champion.promoted_at or champion.as_of
        progress = Progress(version=version, until=since, labels=champion.rows, champion=version)
    try:
        manifest = port.manifest(progress.version)
    except RegistryError:
        return None
    since = progress.until if progress.since is None else progress.since
    base = Base(progress.version, manifest, progress.until, progress.labels, since, progress.share, progress.anew)
    return base if _usable(port, manifest) else None


def _usable(port: LearningPort, manifest: Mapping[str, Any]) -> bool:
    made_of = {feature["name"] for feature in manifest["features"]}
    plain = port.hooks.build_features is None
    same = made_of == set(port.project.data.features) if plain else manifest["hooks"] == port.hooks.digest
    return same and "hook" not in {member["family"] for member in manifest.get("members", ())} | {manifest["family"]}


def find_fresh(port: LearningPort, base: Base, at: datetime) -> Fresh:
    """What became mature since a base was made, and what a step is compared on at `at`; nothing that is broken.

    Where the new rows are too few to compare on, those that earlier steps kept apart are compared on again: no version
    of this lineage has learned from them.
    """
    broken = port.broken_batches()
    spans = [s for s in port.spans(at, min(base.since, base.until)) if s.mature and not broken.intersection(s.batches)]
    new = newest([span for span in spans if span.end_at > base.until], MOST_ROWS)
    wanted = rows_to_compare(port.project)
    if (labels := count_labels(new)) >= wanted:
        return Fresh(new, new, share_apart(port.project, labels))
    compared = newest(spans, wanted)
    return Fresh(new, compared, min(base.share, share_apart(port.project, count_labels(compared))))


def take_step(port: LearningPort, at: datetime, decision: Decision) -> Step:
    """Take the step that was decided at `at`: make a challenger and compare it.

    The challenger belongs to the champion's lineage, unless everything was learned anew because of an alarm. A model
    that has no members of ours is trained again as a whole. Raises DataError where too few rows are labelled.
    """
    base, champion = find_base(port), port.champion()
    assert champion is not None
    if base is None:
        return _train_anew(port, at, champion, decision)
    fresh = find_fresh(port, base, at)
    spans, batches = fresh.new, _batches(fresh.compared)
    rows = port.labelled_rows(batches, at, weighed=True) if spans else None
    if rows is None or rows.is_empty():
        raise DataError("no labelled rows came after the last training.", "Wait for labels, then try again.")
    kept = kept_apart(rows[port.project.data.key], fresh.share)
    apart = rows.filter(kept)
    later = _apart_later(port, fresh, apart, at)
    without = pl.concat([apart[port.project.data.key], later])
    draft = _draft(port, at, base, spans, rows.filter(~kept), without, decision)
    comparison = compare_draft(port, champion.version, draft, apart, batches)
    comparison = dataclasses.replace(comparison, earlier=_ahead(port, comparison, base, rows.filter(~kept), spans))
    verdict = _judge(port, at, comparison, champion, spans, decision, draft.rows / max(champion.rows, 1))
    verdict = _heed(port, at, verdict, decision, draft, apart)
    facts = RetrainingFacts.of(decision.evidence)
    promoted = verdict.kind == PromotionKind.PROMOTE
    # Where a tick brings few rows, those compared on now are compared on again, and must stay unknown.
    plenty = labels_a_tick(port.project, spans) >= rows_to_compare(port.project)
    refitted = promoted and facts.free and plenty and _is_earned(port)
    if refitted:
        rows_too = _rows_until(port, at, spans[-1].end_at, later)
        draft = refit_heard(draft, _specs(port, base, decision, refit=True), rows_too, port.project)
    record = port.keep(at, draft, spans[-1].end_at)
    known = {"challenger": record.version, "step": decision.kind, "share": fresh.share}
    verdict = dataclasses.replace(
        verdict,
        model_version=record.version,
        evidence={**verdict.evidence, **known, **({"refitted": True} if refitted else {})},
    )
    anew = base.anew or (decision.kind == RETRAIN and facts.alarm.stands)
    reference = dict(comparison.challenger_metrics) or record.reference
    record = dataclasses.replace(record, lineage=None if anew else champion.root_version, reference=reference)
    progress = Progress(
        version=record.version,
        until=spans[-1].end_at,
        labels=facts.labels if decision.kind == RETRAIN else base.labels,
        champion=record.version if promoted else champion.version,
        anew=anew and not promoted,
        since=spans[-1].end_at if refitted else fresh.compared[0].end_at - port.project.loop.tick,
        share=1.0 if refitted else fresh.share,
    )
    promised = PromotionEvidence.of(verdict.evidence).promised if promoted else None
    attempt = Attempt(
        at=at,
        kind=decision.kind,
        forecast=facts.gain,
        before=champion.version,
        after=record.version,
        promised=promised,
    )
    return Step(record, verdict, progress, attempt)


def _train_anew(port: LearningPort, at: datetime, champion: ModelRecord, decision: Decision) -> Step:
    """Train every candidate again on all but the newest labelled batches, and compare the best on those.

    Raises DataError where there are too few labelled rows to learn from.
    """
    spans = _newest_fresh(port, champion, at)
    if not spans:
        raise DataError("no labelled rows came after the champion was made.", "Wait for labels, then try again.")
    batches = _batches(spans)
    record = port.train(at, batches)
    rows = port.labelled_rows(batches, at, weighed=True)
    rows = pl.DataFrame() if rows is None else rows
    comparison = compare_rows(port, champion.version, record.version, rows, batches)
    verdict = _judge(port, at, comparison, champion, spans, decision)
    verdict = _heed(port, at, verdict, decision, port.model(record.version), rows)
    lineage = None if RetrainingFacts.of(decision.evidence).alarm.stands else champion.root_version
    reference = dict(comparison.challenger_metrics) or record.reference
    return Step(dataclasses.replace(record, lineage=lineage, reference=reference), verdict)


def fresh_spans(port: LearningPort, champion: ModelRecord | None, at: datetime) -> list[Span]:
    """The mature batches that came after the champion was made, so that it learned from none; oldest first.

    None in which a column has gone.
    """
    if champion is None:
        return []
    broken = port.broken_batches()
    return [span for span in port.spans(at, champion.as_of) if span.mature and not broken.intersection(span.batches)]


def _newest_fresh(port: LearningPort, champion: ModelRecord, at: datetime) -> list[Span]:
    """The newest batches with enough labels to compare on, at most half of what is fresh: the rest is to learn from."""
    spans, gates = fresh_spans(port, champion, at), port.project.gates
    wanted = min(gates.fresh_rows, max(sum(span.labels for span in spans) // 2, gates.min_rows))
    chosen: list[Span] = []
    labels = 0
    for span in reversed(spans):
        if labels >= wanted:
            break
        chosen.append(span)
        labels += span.labels
    return chosen[::-1]


def _batches(spans: Sequence[Span]) -> tuple[str, ...]:
    return tuple(batch for span in spans for batch in span.batches)


def _judge(
    port: LearningPort,
    at: datetime,
    comparison: Comparison,
    champion: ModelRecord,
    spans: Sequence[Span],
    decision: Decision,
    growth: float = 1.0,
) -> Decision:
    """The verdict on a challenger that knows `growth` times the rows; refused too where trust must be earned first."""
    comparison = dataclasses.replace(
        comparison,
        growth=growth,
        record=track_record([outcome.gained for outcome in port.outcomes()]),
        alarmed=RetrainingFacts.of(decision.evidence).alarm.stands,
        rows_a_tick=labels_a_tick(port.project, spans),
    )
    verdict = decide_promotion(comparison, port.project, at)
    late = tick_index(port.project, at) - tick_index(port.project, spans[-1].end_at)
    doubt = get_probation(port, champion).doubt(late)
    if doubt is None or verdict.kind == PromotionKind.REFUSE:
        return verdict
    return dataclasses.replace(verdict, kind=PromotionKind.REFUSE, reasons=(*verdict.reasons, doubt))


def _ahead(
    port: LearningPort, comparison: Comparison, base: Base, learn: pl.DataFrame, spans: Sequence[Span]
) -> tuple[Gain, ...]:
    """What versions on the way to the challenger saved over the champion, on rows other than those compared on now.

    Of earlier steps, what came of them; of the newest version before it, on the rows that the challenger learned from
    now, which were new to that version.
    """
    champion, batches = comparison.champion, _batches(spans)
    earlier = [
        Gain(outcome.gained, outcome.error)
        for outcome in port.outcomes()
        if outcome.before == champion and outcome.error and outcome.batch not in (*comparison.batches, *batches)
    ]
    fresh = learn.filter(pl.col("_batch").is_in(batches))
    if base.version != champion and comparison.problem is None and fresh.height > 1:
        newest = compare_rows(port, champion, base.version, fresh, batches)
        if newest.gain is not None and newest.gain_error:
            earlier.append(Gain(newest.gain, newest.gain_error))
    return tuple(earlier[-MOST_EARLIER:])


def labels_a_tick(project: Project, spans: Sequence[Span]) -> float:
    """How many labelled rows a tick brings, by batches without a gap between them."""
    if not spans:
        return 0.0
    ticks = tick_index(project, spans[-1].end_at) - tick_index(project, spans[0].end_at) + 1
    return count_labels(spans) / max(ticks, 1)


def _heed(
    port: LearningPort,
    at: datetime,
    verdict: Decision,
    decision: Decision,
    challenger: Ensemble | Scoring,
    rows: pl.DataFrame,
) -> Decision:
    """The verdict after what people have said; compared with what waits for them on rows that neither learned from."""

    def against(version: int) -> Comparison:
        other = port.record(version)
        known = None if other is None else other.trained_until or other.as_of
        fresh = rows if rows.is_empty() or known is None else rows.filter(pl.col("event_at") > known)
        return compare_draft(port, version, challenger, fresh, ())

    alarmed = RetrainingFacts.of(decision.evidence).alarm.stands
    return heed(verdict, port.word(at), port.project, alarmed=alarmed, against=against)


def _is_earned(port: LearningPort) -> bool:
    """Whether the last steps have not been seen to harm: a refit on the rows compared on too is trusted until then."""
    record = track_record([outcome.gained for outcome in port.outcomes()])
    return record is None or record.mean > 0


def _specs(port: LearningPort, base: Base, decision: Decision, *, refit: bool = False) -> tuple[MemberSpec, ...]:
    """The members that a step fits; of a `refit` those that take few rounds, and lose most where rows are missing."""
    names, specs = RetrainingFacts.of(decision.evidence).members, list_specs(port.project, base.manifest)
    chosen = (spec for spec in specs if names is None or spec.name in names)
    return tuple(spec for spec in chosen if not refit or (spec.family == BOOSTED and spec.short))


def _draft(
    port: LearningPort,
    at: datetime,
    base: Base,
    spans: Sequence[Span],
    learn: pl.DataFrame,
    without: pl.Series,
    decision: Decision,
) -> Ensemble:
    """Make the challenger: its weights follow the new batches, its members learn from all but the rows kept apart."""
    weights = _followed(port, weights_of(base.manifest), spans, learn)
    rows = _rows_until(port, at, spans[-1].end_at, without)
    return port.draft(base.version, _specs(port, base, decision), weights, rows)


def _apart_later(port: LearningPort, fresh: Fresh, apart: pl.DataFrame, at: datetime) -> pl.Series:
    """The keys of rows that will be kept apart once their batches are mature, which is not yet."""
    key, since = port.project.data.key, fresh.compared[0].end_at - port.project.loop.tick
    young = [span for span in port.spans(at, since) if not span.mature and span.labels]
    rows = port.labelled_rows(_batches(young), at) if young else None
    if rows is None or rows.is_empty():
        return apart[key].clear()
    return rows.filter(kept_apart(rows[key], fresh.share))[key]


def _rows_until(port: LearningPort, at: datetime, end: datetime, without: pl.Series) -> Rows:
    """What may be learned from: labelled rows of a window up to `end`, but for those of some keys."""

    def rows(window: Window | None) -> pl.DataFrame:
        ticks = None if window is None else window.ticks
        while window is not None and ticks is not None:
            found = port.training_rows(at, end, end - ticks * port.project.loop.tick, without)
            if found.height >= window.rows:
                return found if ticks == window.ticks else found.tail(window.rows)
            ticks = 4 * ticks if ticks < MOST_TICKS else None
        found = port.training_rows(at, end, None, without)
        return found if window is None else found.tail(window.rows)

    return rows


def _followed(
    port: LearningPort, weights: dict[str, float], spans: Sequence[Span], rows: pl.DataFrame
) -> dict[str, float]:
    """The weights after the new batches, each member's loss as of the version that stood when a batch was scored."""
    for span in spans:
        mine, standing = rows.filter(pl.col("_batch").is_in(span.batches)), port.standing_version(span.end_at)
        if not mine.is_empty() and standing is not None:
            weights = follow(weights, _member_losses(port, standing, mine))
    return weights


def _member_losses(port: LearningPort, version: int, rows: pl.DataFrame) -> dict[str, float]:
    model, raw = port.model(version), raw_view(rows, port.project)
    together = model.score(raw)
    alone = model.score_members(raw) if MEMBERS in model.manifest else {FIRST: together}
    return mean_losses(port.project.task, rows["label"], together, alone, model.positive, stand_for(rows))


def compare(port: LearningPort, champion: int, challenger: int, batches: tuple[str, ...], at: datetime) -> Comparison:
    """Score both versions, now, on the labelled rows of `batches`."""
    rows = port.labelled_rows(batches, at, weighed=True)
    return compare_rows(port, champion, challenger, pl.DataFrame() if rows is None else rows, batches)


def compare_rows(
    port: LearningPort, champion: int, challenger: int, rows: pl.DataFrame, batches: tuple[str, ...]
) -> Comparison:
    """Score both versions, now, on labelled rows that neither learned from; see `compare_draft`."""
    try:
        challenging = port.model(challenger)
    except RegistryError as fault:
        return Comparison(champion, challenger, 0, batches, {}, {}, str(fault))
    return compare_draft(port, champion, challenging, rows, batches, challenger)


def compare_draft(
    port: LearningPort,
    champion: int,
    draft: Ensemble | Scoring,
    rows: pl.DataFrame,
    batches: tuple[str, ...],
    challenger: int = 0,
) -> Comparison:
    """Score a version and a draft, now, on labelled rows that neither learned from, and compare losses row by row.

    Where the rows have a `propensity`, each counts for as many as it stands for. `challenger` is the draft's version,
    where it has one already.
    """
    challenging = draft.predictor if isinstance(draft, Ensemble) else draft
    try:
        standing = port.model(champion)
    except RegistryError as fault:
        return Comparison(champion, challenger, 0, batches, {}, {}, str(fault))
    if rows.is_empty():
        return Comparison(champion, challenger, 0, batches, {}, {}, "no labelled rows came after the champion was made")
    raw, labels = raw_view(rows, port.project), rows["label"]
    mine, other = challenging.score(raw), standing.score(raw)
    return compare_scores(
        port.project.task,
        labels,
        champion=(champion, other),
        challenger=(challenger, mine),
        batches=batches,
        positive=challenging.positive,
        weights=stand_for(rows),
        groups=groups_of(port.project, rows),
    )
