"""What each decision means for whoever looks at the loop: its title, and how charts and the story show it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from homeostat.records import Decision

SMALL_STEPS = ("recalibrate", "refresh")
"""Small steps: what promotes them is not marked again, because the decision to take them is."""


class Sign(StrEnum):
    """What kind of event something in the loop's history is. Charts list them in this order."""

    ALARM = "alarm"
    RETRAINING = "retraining"
    STEP = "step"
    PROMOTION = "promotion"
    REFUSAL = "refusal"
    ROLLBACK = "rollback"
    PERSON = "person"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Look:
    """How a sign looks on a chart: the name of its lane, a marker of Plotly's, and a colour of the style sheet."""

    label: str
    symbol: str
    colour: str


LOOKS = {
    Sign.ALARM: Look("alarm", "diamond", "alarm"),
    Sign.RETRAINING: Look("retrained", "circle", "retraining"),
    Sign.STEP: Look("small step", "circle-dot", "retraining"),
    Sign.PROMOTION: Look("promoted", "triangle-up", "promotion"),
    Sign.REFUSAL: Look("refused", "x", "refusal"),
    Sign.ROLLBACK: Look("rolled back", "triangle-down", "rollback"),
    Sign.PERSON: Look("by a person", "square", "loop"),
}
"""How charts show each sign."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one decision means.

    `title` is its headline, in which `{version}` stands for the model version. Charts mark it with its `sign` where
    `marked`. Where `quiet` it changed nothing: the story and the report leave it out unless asked for everything.
    """

    title: str
    sign: Sign = Sign.NONE
    marked: bool = False
    quiet: bool = False


MEANINGS = {
    ("alarm", "alarm"): Meaning("Alarm: the model is getting worse", Sign.ALARM, marked=True),
    ("alarm", "ended"): Meaning("The alarm is over: the model is well again", Sign.ALARM, marked=True),
    ("alarm", "quiet"): Meaning("No alarm", quiet=True),
    ("alarm", "standing"): Meaning("The alarm stands", Sign.ALARM, quiet=True),
    ("alarm", "withdrawn"): Meaning("The alarm is withdrawn: labels were corrected", Sign.ALARM, marked=True),
    ("labeling", "ask"): Meaning("Asked people for labels", Sign.PERSON),
    ("labeling", "wait"): Meaning("Asked nobody for labels", quiet=True),
    ("promotion", "ask"): Meaning("Asked for approval of version {version}", Sign.PERSON),
    ("promotion", "promote"): Meaning("Promoted version {version}", Sign.PROMOTION, marked=True),
    ("promotion", "wait"): Meaning("Asked nobody for approval of version {version}", quiet=True),
    ("promotion", "refuse"): Meaning("Refused version {version}", Sign.REFUSAL, marked=True),
    ("retraining", "adopt"): Meaning("Decided to start with the given model", Sign.RETRAINING),
    ("retraining", "fix_data"): Meaning("Decided not to train: fix the data first", Sign.ALARM),
    ("retraining", "label"): Meaning("Decided to wait for labels", Sign.PERSON),
    ("retraining", "recalibrate"): Meaning("Decided to recalibrate the champion", Sign.STEP, marked=True),
    ("retraining", "refresh"): Meaning("Decided to refresh the champion", Sign.STEP, marked=True),
    ("retraining", "rollback"): Meaning("Decided to roll back", Sign.ROLLBACK),
    ("retraining", "retrain"): Meaning("Decided to retrain", Sign.RETRAINING, marked=True),
    ("retraining", "train_first"): Meaning("Decided to train the first model", Sign.RETRAINING, marked=True),
    ("retraining", "wait"): Meaning("Decided not to train", quiet=True),
    ("rollback", "rollback"): Meaning("Rolled back to version {version}", Sign.ROLLBACK, marked=True),
    ("validation", "accept"): Meaning("Accepted the batch", quiet=True),
    ("validation", "hold"): Meaning("Held the batch in quarantine", Sign.ALARM),
}
"""What each decision means, by its question (`stage`) and answer (`kind`)."""
QUIET_KINDS = tuple(sorted({kind for (_, kind), meaning in MEANINGS.items() if meaning.quiet}))
"""Answers that change nothing, whatever the question."""
MARKED_KINDS = tuple(sorted({kind for (_, kind), meaning in MEANINGS.items() if meaning.marked}))
"""Answers that a chart may mark."""


def meaning_of(stage: str, kind: str) -> Meaning:
    """What a decision means; one that is not in the table is a small step under its own name.

    >>> meaning_of("promotion", "refuse").sign, meaning_of("pruning", "cut_back").title
    (<Sign.REFUSAL: 'refusal'>, 'Pruning: cut back')
    """
    named = Meaning(f"{stage.capitalize()}: {kind.replace('_', ' ')}", Sign.STEP, quiet=kind in QUIET_KINDS)
    return MEANINGS.get((stage, kind), named)


def mark_of(stage: str, kind: str, step: str | None) -> Sign | None:
    """The sign with which charts mark a decision; None where they do not.

    `step` is the small step that a promotion or refusal was about; the decision to take it is marked already.
    """
    meaning = meaning_of(stage, kind)
    return meaning.sign if meaning.marked and step not in SMALL_STEPS else None


def mark_in_report(decision: Decision) -> Sign | None:
    """The sign with which the report's chart marks a decision; small steps, of which there are many, are left out."""
    sign = mark_of(decision.stage, decision.kind, decision.evidence.get("step"))
    return None if sign is Sign.STEP else sign
