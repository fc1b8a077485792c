"""What people have said about challengers, heeded: nobody is overruled, and nobody is asked the same thing twice.

A rollback that holds turns a promotion into a proposal. A proposal that waits stays, and a rejection is respected for a
while, unless the new challenger is clearly better on rows that neither has learned from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from homeostat.decisions import PromotionKind
from homeostat.flows.learning.port import Word
from homeostat.project import Project
from homeostat.records import Decision
from homeostat.registry.comparison import Comparison

CLEAR_ERRORS = 2.0


def heed(
    verdict: Decision, word: Word, project: Project, *, alarmed: bool, against: Callable[[int], Comparison]
) -> Decision:
    """The verdict on a challenger after what people have said; pure but for `against`.

    `against` compares the challenger with another version. While an alarm stands a rejection keeps nobody from being
    asked.
    """
    if verdict.kind == PromotionKind.PROMOTE and word.held is not None:
        verdict = _with(verdict, PromotionKind.ASK, f"{word.held}; a person must approve")
    if verdict.kind != PromotionKind.ASK or word.waiting == verdict.model_version:
        return verdict
    if word.waiting is not None:
        clear, words = _clearly_better(against(word.waiting), project)
        if not clear:
            stays = f"version {word.waiting} goes on waiting for approval: this one is not clearly better ({words})"
            return _with(verdict, PromotionKind.WAIT, stays)
        verdict = _with(verdict, PromotionKind.ASK, f"it is clearly better than version {word.waiting} ({words})")
    if word.declined is None or word.cooling is None or alarmed:
        return verdict
    clear, words = _clearly_better(against(word.declined), project)
    if not clear:
        cools = f"{word.cooling}, and this one is not clearly better ({words})"
        return _with(verdict, PromotionKind.WAIT, cools)
    return _with(verdict, PromotionKind.ASK, f"it is clearly better than version {word.declined} ({words})")


def _with(verdict: Decision, kind: PromotionKind, reason: str) -> Decision:
    return dataclasses.replace(verdict, kind=kind, reasons=(*verdict.reasons, reason))


def _clearly_better(comparison: Comparison, project: Project) -> tuple[bool, str]:
    """Whether a challenger loses less than another version by more than `CLEAR_ERRORS` standard errors; in words too.

    On fewer rows than `gates.min_rows` nothing is clear. Where no loss is known row by row, neither is.
    """
    if comparison.problem is not None or comparison.gain is None or comparison.gain_error is None:
        return False, "they could not be compared"
    side = "lower" if comparison.gain >= 0 else "higher"
    found = f"a loss {side} by {abs(comparison.gain):.4f} ± {comparison.gain_error:.4f} a row"
    words = f"{found} on the same {comparison.rows} fresh rows"
    clear = comparison.gain > CLEAR_ERRORS * comparison.gain_error
    return clear and comparison.rows >= project.gates.min_rows, words
