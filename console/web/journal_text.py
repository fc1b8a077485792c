"""The journal as a story: its links in words, grouped by their tick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from homeostat.console.web.pages.evidence import Block, describe_evidence
from homeostat.monitoring.report.decisions import Meaning, Sign, meaning_of
from homeostat.monitoring.report.story import format_text
from homeostat.records import JournalEntry
from homeostat.store.narrow import DECIDED

ACTS = {
    "act_failed": Meaning("Training failed", Sign.ALARM),
    "alert_acknowledged": Meaning("{who} acknowledged an alert", Sign.PERSON),
    "alert_reopened": Meaning("{who} reopened an alert", Sign.PERSON),
    "alert_snoozed": Meaning("{who} snoozed an alert", Sign.PERSON),
    "alert_woke": Meaning("A snoozed alert was sent again", Sign.ALARM),
    "answer": Meaning("{who} labelled a row", Sign.PERSON, quiet=True),
    "answer_refused": Meaning("Refused an answer from {who}", Sign.REFUSAL),
    "answer_undone": Meaning("{who} took a label back", Sign.PERSON, quiet=True),
    "approval_approved": Meaning("{who} approved version {version}", Sign.PERSON),
    "approval_expired": Meaning("The approval of version {version} expired", Sign.REFUSAL),
    "approval_rejected": Meaning("{who} rejected version {version}", Sign.PERSON),
    "approval_superseded": Meaning("Version {version} no longer waits for approval", Sign.STEP),
    "champion_moved": Meaning("Adopted the champion that was set in MLflow", Sign.PROMOTION),
    "champion_refused": Meaning("The champion could not be loaded", Sign.ALARM),
    "labelers": Meaning("Measured the labeling functions", Sign.STEP),
    "labels_settled": Meaning("Took in labels from people", Sign.STEP),
    "outcome": Meaning("Measured what an earlier step was worth", Sign.STEP),
    "release": Meaning("Released rows from quarantine", Sign.PERSON),
    "rescore": Meaning("Scored corrected rows again", Sign.PERSON),
    "rollback_ended": Meaning("The rollback to version {version} no longer holds", Sign.STEP),
    "rollback_lifted": Meaning("{who} lifted the rollback to version {version}", Sign.PERSON),
    "train": Meaning("Trained by hand", Sign.RETRAINING),
}
"""What each act means, by the kind of its entry."""
QUIET_ACTS = tuple(kind for kind, meaning in ACTS.items() if meaning.quiet)
"""Acts of people one by one; a later entry says what came of them together."""
_SENTENCES = ("message", "told", "why", "detail", "problem", "note")
_PEOPLE = ("by", "who")
_VERSIONS = ("version", "challenger", "after")


@dataclass(frozen=True, slots=True)
class Entry:
    """One link of the journal in words: `sign` names its icon, `reasons` are sentences, `blocks` its evidence."""

    seq: int
    hash: str
    sign: Sign
    title: str
    reasons: tuple[str, ...]
    blocks: tuple[Block, ...]
    quiet: bool
    who: str | None
    version: int | None
    decided: bool


@dataclass(frozen=True, slots=True)
class Chapter:
    """What was decided and done at one time, in order; `quiet` counts the entries that were left out."""

    at: datetime
    entries: tuple[Entry, ...]
    quiet: int


def tell_story(links: Sequence[JournalEntry], *, everything: bool, only: str | None = None) -> list[Chapter]:
    """Chapters, newest first; entries that changed nothing are left out unless `everything` is set.

    With `only`, just the links of that kind.
    """
    newest = sorted(links, key=lambda link: (-link.at.timestamp(), link.seq))
    chapters = []
    for at, group in groupby(newest, key=lambda link: link.at):
        entries = [describe_link(link) for link in group if only is None or link.kind == only]
        shown = tuple(entry for entry in entries if everything or not entry.quiet)
        chapters.append(Chapter(at, shown, len(entries) - len(shown)))
    return chapters


def describe_link(link: JournalEntry) -> Entry:
    """One link of the journal in words."""
    body, decided = link.body, link.kind.startswith(DECIDED)
    version, who = _version(body), next((str(body[name]) for name in _PEOPLE if body.get(name)), None)
    meaning = meaning_of(link.kind.removeprefix(DECIDED), str(body.get("decision"))) if decided else _act(link)
    reasons = body.get("reasons") or _sentences(body)
    return Entry(
        seq=link.seq,
        hash=link.hash,
        sign=meaning.sign,
        title=meaning.title.format(version=version or "?", who=body.get("who") or body.get("by") or "Somebody"),
        reasons=tuple(format_text(reason) for reason in reasons),
        blocks=tuple(describe_evidence(body.get("evidence", {}) if decided else _rest(body))),
        quiet=meaning.quiet,
        who=who,
        version=version,
        decided=decided,
    )


def name_kind(kind: str) -> str:
    """What a kind of link is called in a list of them.

    >>> name_kind("decide_retraining"), name_kind("labels_settled")
    ('decisions on retraining', 'labels settled')
    """
    decided = kind.removeprefix(DECIDED)
    return f"decisions on {decided}" if decided != kind else kind.replace("_", " ")


def _act(link: JournalEntry) -> Meaning:
    sign = Sign.PERSON if link.body.get("by") else Sign.STEP
    return ACTS.get(link.kind) or Meaning(name_kind(link.kind).capitalize(), sign)


def _sentences(body: Mapping[str, Any]) -> list[str]:
    """What an act's body says in words; a sentence that another one holds already is left out."""
    texts = [str(body[name]) for name in _SENTENCES if body.get(name)]
    return [text for at, text in enumerate(texts) if not any(text in earlier for earlier in texts[:at])]


def _version(body: Mapping[str, Any]) -> int | None:
    if body.get("model_version") is not None:
        return int(body["model_version"])
    return next((body[name] for name in _VERSIONS if isinstance(body.get(name), int)), None)


def _rest(body: Mapping[str, Any]) -> dict[str, Any]:
    """What of an act's body its sentences do not say."""
    return {name: value for name, value in body.items() if name not in {*_SENTENCES, *_PEOPLE, "reasons"}}


def list_versions(chapters: Iterable[Chapter]) -> set[int]:
    """The versions that a story names."""
    return {entry.version for chapter in chapters for entry in chapter.entries if entry.version is not None}
