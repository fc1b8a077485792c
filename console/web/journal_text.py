"""The journal as a story: its links in words, grouped by the tick at which they were said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from homeostat.console.web.pages.evidence import Block, describe_evidence
from homeostat.monitoring.report.story import told_text
from homeostat.records import JournalEntry
from homeostat.store.narrow import DECIDED

QUIET_DECISIONS = ("accept", "quiet", "standing", "wait")
"""Answers of policies that change nothing."""
QUIET_ACTS = ("answer", "answer_undone")
"""Acts of people one by one, of which a later link tells what came of them together."""
DECISIONS = {
    ("alarm", "alarm"): ("alarm", "Alarm: the model is getting worse"),
    ("alarm", "quiet"): ("", "No alarm"),
    ("alarm", "standing"): ("alarm", "The alarm stands"),
    ("labeling", "ask"): ("person", "Asked people for labels"),
    ("labeling", "wait"): ("", "Asked nobody for labels"),
    ("promotion", "ask"): ("person", "Put version {version} before a person"),
    ("promotion", "promote"): ("promotion", "Promoted version {version}"),
    ("promotion", "refuse"): ("refusal", "Refused version {version}"),
    ("retraining", "adopt"): ("retraining", "Decided to start with the given model"),
    ("retraining", "fix_data"): ("alarm", "Decided not to train: the data need mending"),
    ("retraining", "label"): ("person", "Decided to wait for labels"),
    ("retraining", "recalibrate"): ("step", "Decided to recalibrate the champion"),
    ("retraining", "refresh"): ("step", "Decided to refresh the champion"),
    ("retraining", "rollback"): ("rollback", "Decided to roll back"),
    ("retraining", "retrain"): ("retraining", "Decided to retrain"),
    ("retraining", "train_first"): ("retraining", "Decided to train the first model"),
    ("retraining", "wait"): ("", "Decided not to train"),
    ("rollback", "rollback"): ("rollback", "Rolled back to version {version}"),
    ("validation", "accept"): ("", "Took the batch in"),
    ("validation", "hold"): ("alarm", "Held the batch in quarantine"),
}
"""What a decision is called, and its sign, by its question and answer."""
ACTS = {
    "act_failed": ("alarm", "Training failed"),
    "alert_acknowledged": ("person", "{who} sees to an alert"),
    "alert_reopened": ("person", "{who} opened an alert again"),
    "alert_snoozed": ("person", "{who} put an alert off"),
    "alert_woke": ("alarm", "An alert that was put off was told again"),
    "answer": ("person", "{who} labelled a row"),
    "answer_refused": ("refusal", "Did not count an answer of {who}"),
    "answer_undone": ("person", "{who} took a label back"),
    "approval_approved": ("person", "{who} approved version {version}"),
    "approval_expired": ("refusal", "Nobody decided on version {version} in time"),
    "approval_rejected": ("refusal", "{who} rejected version {version}"),
    "approval_superseded": ("step", "Version {version} no longer waits for approval"),
    "champion_moved": ("promotion", "Followed MLflow to another champion"),
    "champion_refused": ("alarm", "The champion could not be loaded"),
    "labelers": ("step", "Measured the labeling functions"),
    "labels_settled": ("step", "Took labels in from people"),
    "outcome": ("step", "Measured what an earlier step was worth"),
    "release": ("person", "Released rows from quarantine"),
    "rescore": ("person", "Scored corrected rows again"),
    "train": ("retraining", "Trained by hand"),
}
"""What an act is called, and its sign, by the kind of its link."""
_SENTENCES = ("told", "why", "detail", "problem", "note")
_PEOPLE = ("by", "who")
_VERSIONS = ("version", "challenger", "after")


@dataclass(frozen=True, slots=True)
class Telling:
    """One link as it is told: `sign` names its icon, `reasons` are sentences, `blocks` its evidence."""

    seq: int
    hash: str
    kind: str
    sign: str
    title: str
    reasons: tuple[str, ...]
    blocks: tuple[Block, ...]
    quiet: bool
    who: str | None
    version: int | None
    decided: bool


@dataclass(frozen=True, slots=True)
class Chapter:
    """What was said at one time, in the order in which it was said; `quiet` counts what was left out."""

    at: datetime
    tellings: tuple[Telling, ...]
    quiet: int


def tell_story(links: Sequence[JournalEntry], *, everything: bool, only: str | None = None) -> list[Chapter]:
    """Chapters, newest first; what changed nothing is left out unless `everything` is asked for.

    With `only`, none but the links of that kind are told.
    """
    newest = sorted(links, key=lambda link: (-link.at.timestamp(), link.seq))
    chapters = []
    for at, together in groupby(newest, key=lambda link: link.at):
        told = [tell(link) for link in together if only is None or link.kind == only]
        shown = tuple(each for each in told if everything or not each.quiet)
        chapters.append(Chapter(at, shown, len(told) - len(shown)))
    return chapters


def tell(link: JournalEntry) -> Telling:
    """One link of the journal in words."""
    body = link.body
    decided = link.kind.startswith(DECIDED)
    sign, title = _name(link.kind, body, decided)
    reasons = body.get("reasons") or [str(body[name]) for name in _SENTENCES if body.get(name)]
    evidence = body.get("evidence", {}) if decided else _rest(body)
    quiet = body.get("decision") in QUIET_DECISIONS if decided else link.kind in QUIET_ACTS
    who = next((str(body[name]) for name in _PEOPLE if body.get(name)), None)
    return Telling(
        link.seq,
        link.hash,
        link.kind,
        sign,
        title,
        tuple(told_text(each) for each in reasons),
        tuple(describe_evidence(evidence)),
        bool(quiet),
        who,
        _version(body),
        decided,
    )


def name_kind(kind: str) -> str:
    """What a kind of link is called in a list of them.

    >>> name_kind("decide_retraining"), name_kind("labels_settled")
    ('decisions on retraining', 'labels settled')
    """
    decided = kind.removeprefix(DECIDED)
    return f"decisions on {decided}" if decided != kind else kind.replace("_", " ")


def _name(kind: str, body: Mapping[str, Any], decided: bool) -> tuple[str, str]:
    words = {"version": _version(body) or "?", "who": body.get("who") or body.get("by") or "somebody"}
    if not decided:
        sign, title = ACTS.get(kind, ("person" if body.get("by") else "step", name_kind(kind).capitalize()))
        return sign, title.format(**words)
    stage, answer = kind.removeprefix(DECIDED), str(body.get("decision"))
    fallback = ("step", f"{stage.capitalize()}: {answer.replace('_', ' ')}")
    sign, title = DECISIONS.get((stage, answer), fallback)
    return sign, title.format(**words)


def _version(body: Mapping[str, Any]) -> int | None:
    if body.get("model_version") is not None:
        return int(body["model_version"])
    return next((body[name] for name in _VERSIONS if isinstance(body.get(name), int)), None)


def _rest(body: Mapping[str, Any]) -> dict[str, Any]:
    """What of an act's body its sentences do not say."""
    return {name: value for name, value in body.items() if name not in {*_SENTENCES, *_PEOPLE, "reasons"}}


def list_versions(chapters: Iterable[Chapter]) -> set[int]:
    """The versions that a story names."""
    return {t.version for chapter in chapters for t in chapter.tellings if t.version is not None}
