"""Odd labels: does a batch's labels, given its scores, look as if something went wrong where they come from?

A join that failed gives every row the same label, a recoding swaps the classes, a filter drops one of them. Such labels
would be learned as if the world had changed. A batch is compared with those before it, which differ from day to day
too, and only what is gross is called odd. A real change can look the same, so the next batch decides: if its labels
show the same, it is taken for the world.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import polars as pl

from homeostat.metrics import class_chances, class_lists, order_classes
from homeostat.project import Task

LEAST_LABELS, LEAST_BATCHES, MOST_BATCHES = 3, 3, 30
LEAST_PAIRS = 10
CERTAIN, LIKELY = 1e-5, 0.05
"""By chance alone a batch is called odd with about the first probability; with the second where its labels are all the
same, as were those of a batch that is held."""
DOUBT = 0.2
"""By how much the mean of the scores may be too low, while no batch has shown how good they are."""
STEADY = 20
"""The share of a class in a batch is taken for that of all batches as if so many labels more had come."""
ODDS, DAY_SPREAD, DAY_BATCHES = 4.0, 0.05, 3.0
"""A share of a class has jumped where its odds are so many times what they were. Until so many batches are known, days
are taken to differ by this standard deviation."""


class Oddity(StrEnum):
    """What is odd about the labels of a batch."""

    CONSTANT = "constant"
    TURNED = "turned"
    BALANCE = "balance"


@dataclass(frozen=True, slots=True)
class LabelSums:
    """The labels of a batch given its scores: shares of classes, the shares that its scores expected, and how labels
    and scores go together, as a correlation; `end` is the instant at which the batch ended."""

    batch: str
    end: str
    labels: int
    shares: dict[str, float]
    expected: dict[str, float]
    correlation: float | None


@dataclass(frozen=True, slots=True)
class OddLabels:
    """A batch whose labels are odd: what is, the evidence as a p-value, in words, and the alert that told of it."""

    batch: str
    end: str
    oddity: Oddity
    p_value: float
    detail: str
    alert: str = ""
    sums: LabelSums | None = None


@dataclass(frozen=True, slots=True)
class LabelMemory:
    """What is usual, newest last, what is held back, and what a person or the next batch said is right."""

    usual: tuple[LabelSums, ...] = ()
    held: tuple[OddLabels, ...] = ()
    accepted: tuple[str, ...] = ()

    @property
    def held_batches(self) -> set[str]:
        """The batches that are held back."""
        return {odd.batch for odd in self.held}

    def accept(self, batches: Sequence[str]) -> LabelMemory:
        """With batches that are held back no more; what was usual before them is no standard any longer."""
        kept = tuple(odd for odd in self.held if odd.batch not in batches)
        return replace(self, usual=(), held=kept, accepted=(*self.accepted, *batches)[-MOST_BATCHES:])


@dataclass(frozen=True, slots=True)
class LabelNews:
    """What one batch changed: it is odd, or it shows the same as those before it, or its labels are right now."""

    odd: OddLabels | None = None
    confirmed: tuple[OddLabels, ...] = ()
    mended: OddLabels | None = None


def sum_labels(batch: str, end: str, scored: pl.DataFrame, task: Task, positive: str | None) -> LabelSums | None:
    """The sums of a batch's labelled rows (`label`, and its predictions); None where they are too few to judge."""
    known = scored.filter(pl.col("label").is_not_null())
    if known.height < LEAST_LABELS:
        return None
    if task is Task.REGRESSION:
        truth, values = (known[name].cast(float).to_numpy() for name in ("label", "prediction"))
        same = {"": 1.0} if float(np.ptp(truth)) == 0 else {}
        return LabelSums(batch, end, known.height, same, {}, _correlation(truth[:, None], values[:, None]))
    classes, given = _chances(known, task, positive)
    truth = np.array([[label == name for name in classes] for label in known["label"]], dtype=float)
    shares, expected = (dict(zip(classes, part.mean(axis=0).tolist(), strict=True)) for part in (truth, given))
    return LabelSums(batch, end, known.height, shares, expected, _correlation(truth, given))


def judge_labels(memory: LabelMemory, sums: LabelSums) -> tuple[LabelMemory, LabelNews]:
    """The memory after one batch, and what is new about it; pure. A batch whose labels changed may come again."""
    held = next((odd for odd in memory.held if odd.batch == sums.batch), None)
    if held is not None and held.sums == sums:
        return memory, LabelNews()
    usual = tuple(known for known in memory.usual if known.batch != sums.batch)
    earlier = [known for known in usual if known.end < sums.end]
    others = tuple(other for other in memory.held if other.batch != sums.batch)
    if held is not None and len(earlier) < LEAST_BATCHES and held.oddity is not Oddity.CONSTANT:
        return memory, LabelNews()
    stuck = any(other.oddity is Oddity.CONSTANT and other.end < sums.end for other in others)
    odd = None if sums.batch in memory.accepted else find_oddity(sums, earlier, stuck=stuck)
    if odd is None:
        usual = tuple(sorted((*usual, sums), key=lambda known: known.end))[-MOST_BATCHES:]
        return replace(memory, usual=usual, held=others), LabelNews(mended=held)
    same = tuple(other for other in others if other.oddity is odd.oddity and other.end < odd.end)
    if same and odd.oddity is not Oddity.CONSTANT:
        accepted = memory.accept([*(other.batch for other in same), sums.batch])
        return replace(accepted, usual=(sums,)), LabelNews(confirmed=(*same, odd))
    odd = replace(odd, alert=held.alert if held else "", sums=sums)
    news = LabelNews(odd=odd) if held is None and not same else LabelNews()
    return replace(memory, usual=usual, held=(*others, odd)), news


def find_oddity(sums: LabelSums, usual: Sequence[LabelSums], *, stuck: bool = False) -> OddLabels | None:
    """What is odd about a batch's labels beside those before it; None where nothing is.

    While too little is known of what is usual, only labels that are all the same are judged, and by the scores. Where
    those of an earlier batch were, and are `stuck`, fewer are enough.
    """
    usual = usual[-MOST_BATCHES:]
    judges = ((Oddity.CONSTANT, _constant), (Oddity.TURNED, _turned), (Oddity.BALANCE, _balance))
    for oddity, found in judges if len(usual) >= LEAST_BATCHES else judges[:1]:
        told = found(sums, usual)
        if told is not None and told[0] < (LIKELY if stuck and oddity is Oddity.CONSTANT else CERTAIN):
            return OddLabels(sums.batch, sums.end, oddity, told[0], told[1])
    return None


def _constant(sums: LabelSums, usual: Sequence[LabelSums]) -> tuple[float, str] | None:
    name, share = max(sums.shares.items(), key=lambda item: item[1], default=("", 0.0))
    if share < 1:
        return None
    what = f"all {sums.labels} labels are {name!r}" if name else f"all {sums.labels} labels are the same number"
    expected = sums.expected.get(name, 0.0)
    if len(usual) < LEAST_BATCHES:
        most = min(expected + DOUBT, 1.0) if name else 1.0
        return most**sums.labels, f"{what}; by the scores {expected:.0%} were to be expected"
    counts = [(known.labels, known.labels * known.shares.get(name, 0.0)) for known in usual]
    pooled = sum(hits for _, hits in counts) / sum(labels for labels, _ in counts)
    before = [(hits + STEADY * pooled) / (labels + STEADY) for labels, hits in counts]
    most = min(max(expected, *before), 1.0)
    return most**sums.labels, f"{what}; by those before, at most {most:.0%} were to be expected"


def _turned(sums: LabelSums, usual: Sequence[LabelSums]) -> tuple[float, str] | None:
    """Labels that go against the scores about as far as they went with them, as turned classes do; by Fisher's z."""
    before = np.arctanh([k.correlation for k in usual if k.correlation is not None and k.labels >= LEAST_PAIRS])
    if sums.correlation is None or sums.labels < LEAST_PAIRS or len(before) < LEAST_BATCHES:
        return None
    mean, now = float(before.mean()), math.atanh(sums.correlation)
    if mean <= 0 or now > -mean / (2 * max(len(sums.shares) - 1, 1)):
        return None
    deviation = math.sqrt(1 / (sums.labels - 3) + float(before.var(ddof=1)))
    told = f"labels go against the scores (a correlation of {sums.correlation:.2f}; it was {math.tanh(mean):.2f})"
    return _tail((mean - now) / deviation), told


def _balance(sums: LabelSums, usual: Sequence[LabelSums]) -> tuple[float, str] | None:
    """The class whose share has jumped the most against what the scores expect; corrected for the number of classes."""
    found = [_jump(name, sums, usual) for name in sums.shares]
    known = [jump for jump in found if jump is not None]
    if not known or sums.labels < LEAST_PAIRS:
        return None
    p_value, told = min(known)
    return p_value * len(found), told


def _jump(name: str, sums: LabelSums, usual: Sequence[LabelSums]) -> tuple[float, str] | None:
    gaps = np.array([known.shares.get(name, 0.0) - known.expected.get(name, 0.0) for known in usual])
    share, off = sums.shares[name], float(gaps.mean())
    least = 1 / sums.labels
    wanted = min(max(sums.expected.get(name, 0.0) + off, least), 1 - least)
    ratio = (share * sums.labels + 0.5) / ((1 - share) * sums.labels + 0.5) * (1 - wanted) / wanted
    if max(ratio, 1 / ratio) < ODDS:
        return None
    spread = float(((gaps - off) ** 2).sum()) + DAY_BATCHES * (DAY_SPREAD * min(1.0, 4 * wanted * (1 - wanted))) ** 2
    variance = spread / (len(gaps) - 1 + DAY_BATCHES) + wanted * (1 - wanted) / sums.labels
    told = f"{share:.0%} of the labels are {name!r}, where {wanted:.0%} were to be expected by the scores"
    return 2 * _tail(abs(share - wanted) / math.sqrt(variance)), told


def _tail(normal: float) -> float:
    return math.erfc(normal / math.sqrt(2)) / 2


def _chances(known: pl.DataFrame, task: Task, positive: str | None) -> tuple[list[str], np.ndarray]:
    """The classes, and what each row's scores (or its prediction) gave them, (rows, classes)."""
    labels = known["label"].cast(pl.String)
    if task is Task.BINARY and positive is not None and known["score"].null_count() == 0:
        negative = next((name for name in labels.unique().sort() if name != positive), f"not {positive}")
        score = known["score"].cast(float).to_numpy()
        return [negative, positive], np.stack([1 - score, score], axis=1)
    if task is Task.MULTICLASS and known["scores"].null_count() == 0:
        names = list(order_classes([*class_lists(known), *labels.unique()]))
        return names, class_chances(known, tuple(names))
    said = known["prediction"].cast(pl.String)
    names = sorted({*labels.unique(), *said.drop_nulls().unique()})
    return names, np.array([[value == name for name in names] for value in said], dtype=float)


def _correlation(truth: np.ndarray, given: np.ndarray) -> float | None:
    """The correlation of two tables (rows, columns) over all of their columns; None where one does not vary."""
    truth, given = truth - truth.mean(axis=0), given - given.mean(axis=0)
    size = math.sqrt(float((truth**2).sum()) * float((given**2).sum()))
    return max(-0.999, min(0.999, float((truth * given).sum()) / size)) if size > 0 else None
