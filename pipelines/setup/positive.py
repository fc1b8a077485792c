"""The positive class of a binary target, where nobody named it: by the words of the field, else the rarer class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from homeostat.pipelines.data.canonical import canonical_text

_EVENTS = (
    "abnormal abuse accident alarm alert anomalous anomaly arrears attack attrited attrition bad breach broken bug "
    "cancel canceled cancelled cancels charged chargeback churn churned churner complaint converted crash critical "
    "damaged dead death deceased declined default defaulted defaulter defaults defect defective delayed delinquent "
    "died disease diseased dropout dropped error escalated event exited expired fail failed failing fails failure "
    "fault faulty fraud fraudulent hit ill infected infringing insolvent invalid late left lost malicious malignant "
    "missed noshow outage outlier overdue phishing poor readmitted recidivist refunded reject rejected resigned "
    "returned risk risky scam sepsis sick sold spam stolen suspicious terminated threat toxic unpaid unsafe "
    "violation"
)
"""Words for what a model is made to find."""
_REST = (
    "active alive benign clean current existing fine genuine good ham healthy intact kept legit legitimate negative "
    "none normal ok okay ontime paid pass passed prompt punctual regular repaid retained safe sound stayed success "
    "successful survived trusted valid well"
)
"""Words for what is left where nothing happened."""
EVENTS, REST = frozenset(_EVENTS.split()), frozenset(_REST.split())
YES = frozenset({"1", "y", "yes", "t", "true", "positive", "pos"})
NO = frozenset({"0", "-1", "n", "no", "f", "false", "negative", "neg"})
NOT = frozenset({"no", "non", "not", "never", "without"})
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Positive:
    """The class that was taken as the positive one, and why."""

    name: str
    why: str


def count_classes(labels: pl.Series) -> dict[str, int]:
    """How often each class occurs, by its canonical name."""
    texts = labels.to_frame("label").select(canonical_text("label", labels.dtype)).to_series().drop_nulls()
    return dict(texts.value_counts().sort("label").iter_rows())


def choose_positive(counts: Mapping[str, int]) -> Positive | None:
    """The class to take as positive, of two and how often each occurs; None where there are not two.

    A word of the field decides ("fraud", "default", "late"), then yes against no, then which is rarer.

    >>> choose_positive({"Bad": 300, "Good": 700}).name, choose_positive({"no": 30, "yes": 70}).name
    ('Bad', 'yes')
    >>> choose_positive({"<=50K": 76, ">50K": 24})
    Positive(name='>50K', why="the rarer of '<=50K' and '>50K': 24 of 100 labels")
    """
    if len(counts) != 2:
        return None
    return _by_event(*counts) or _by_yes(*counts) or _rarer(counts)


def _by_event(one: str, other: str) -> Positive | None:
    happened = {name: _happened(name) for name in (one, other)}
    for name, rest in ((one, other), (other, one)):
        if happened[name] is True and happened[rest] is not True:
            return Positive(name, f"{name!r} names what happens, {rest!r} the rest")
    for name, rest in ((one, other), (other, one)):
        if happened[rest] is False and happened[name] is None:
            return Positive(name, f"{rest!r} names the usual case, so {name!r} is what happens")
    return None


def _happened(name: str) -> bool | None:
    """Whether a class says that something happened (True) or did not (False); None where its words do not tell."""
    words = _WORDS.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    told = [word in EVENTS for word in words if word in EVENTS or word in REST]
    if not told:
        return None
    negated = any(word in NOT for word in words)
    return any(told) != negated


def _by_yes(one: str, other: str) -> Positive | None:
    for name, rest in ((one, other), (other, one)):
        if name.strip().lower() in YES and rest.strip().lower() in NO:
            return Positive(name, f"{name!r} says yes, {rest!r} no")
    return None


def _rarer(counts: Mapping[str, int]) -> Positive:
    (one, few), (_, many) = sorted(counts.items(), key=lambda item: item[1])
    named = " and ".join(repr(name) for name in counts)
    if few == many:
        last = list(counts)[-1]
        return Positive(last, f"a guess: {named} are equally frequent, and it is the last in order")
    return Positive(one, f"the rarer of {named}: {few} of {few + many} labels")
