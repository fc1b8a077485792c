"""Probation: are the versions that came after a line's founder really no worse than it, on the same rows?

Every batch is judged twice with its labels: by what stood when it was scored, and by the founder. A wager that what was
served is worse (see `homeostat.sequential`; the limit is an even game) must be won before a rollback, which happens at
any look with a chance of at most alpha where nothing was worse. One bad week wins such a wager too, in a world that
comes and goes; so what was served must also have been worse over all batches, by two standard errors from batch to
batch.

Where labels come so late that harm would be long in being seen, trust must be earned first: in shadow, on batches
scored as the loop would have scored them, both loss and errors must have been lower by two standard errors from batch
to batch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from homeostat.sequential import Wager

EVEN = 0.5
# From so many ticks of lag on, and after a rollback, trust is earned before it is given.
LATE_TICKS, PROOF_BATCHES, PROOF_ERRORS = 4, 6, 2.0


@dataclass(frozen=True, slots=True)
class Probation:
    """What is remembered of a line, in plain values of constant size. `until` is the end of the last batch taken.

    `wager` is on (1 + served - founder) / 2 row by row, `worse` the mean of served - founder over `served` batches.
    `count` batches gave gains of the newest version over the founder, of the mean loss and of the errors: `means`. The
    squares are sums of squared deviations (Welford). After a rollback it is `wary`.
    """

    line: int
    until: str
    wary: bool = False
    wager: Wager = dataclasses.field(default_factory=lambda: Wager(EVEN))
    count: int = 0
    means: tuple[float, float] = (0.0, 0.0)
    squares: tuple[float, float] = (0.0, 0.0)
    served: int = 0
    worse: float = 0.0
    worse_squares: float = 0.0

    def take(self, served_less_founder: np.ndarray, gains: tuple[float, float] | None, end: str) -> Probation:
        """The state after one batch: row by row differences (rows,) in [-1, 1], and the newest version's gains."""
        if len(served_less_founder):
            return self._served(served_less_founder).take(np.empty(0), gains, end)
        if gains is None:
            return dataclasses.replace(self, until=end)
        count = self.count + 1
        old, new = self.means, tuple(m + (g - m) / count for m, g in zip(self.means, gains, strict=True))
        squares = tuple(s + (g - a) * (g - b) for s, g, a, b in zip(self.squares, gains, old, new, strict=True))
        return dataclasses.replace(
            self, until=end, count=count, means=(new[0], new[1]), squares=(squares[0], squares[1])
        )

    def _served(self, differences: np.ndarray) -> Probation:
        served, mean = self.served + 1, float(differences.mean())
        worse = self.worse + (mean - self.worse) / served
        squares = self.worse_squares + (mean - self.worse) * (mean - worse)
        wager = self.wager.bet((1 + differences) / 2)
        return dataclasses.replace(self, wager=wager, served=served, worse=worse, worse_squares=squares)

    def harm(self, alpha: float) -> str | None:
        """Why to roll back; None while nothing shows that what was served is worse than the founder."""
        if self.wager.peak < math.log(1 / alpha) or self.served < PROOF_BATCHES:
            return None
        error = math.sqrt(self.worse_squares / (self.served - 1) / self.served)
        if self.worse <= PROOF_ERRORS * error:
            return None
        return (
            f"since version {self.line}, the founder, was replaced, what was served lost {self.worse:.4f} ± "
            f"{error:.4f} a row more than it over the same {self.served} batches, {self.wager.rows} rows; such a "
            f"finding is false with a chance of at most {alpha:g}"
        )

    def doubt(self, late_ticks: int) -> str | None:
        """Why a newer version may not serve yet; None where trust is given or earned."""
        if late_ticks < LATE_TICKS and not self.wary:
            return None
        why = "after a rollback" if self.wary else f"where labels come {late_ticks} ticks late"
        if self.count < PROOF_BATCHES:
            return f"{why} a version must prove itself in shadow: {self.count} of {PROOF_BATCHES} batches are known"
        errors = [math.sqrt(s / (self.count - 1) / self.count) for s in self.squares]
        if self.means[0] > PROOF_ERRORS * errors[0] and self.means[1] >= PROOF_ERRORS * errors[1]:
            return None
        return (
            f"{why} a version must prove itself in shadow: over {self.count} batches it saved {self.means[0]:.4f} ± "
            f"{errors[0]:.4f} in loss and {self.means[1]:.4f} ± {errors[1]:.4f} in errors; both must be "
            f"{PROOF_ERRORS:g} standard errors above 0"
        )


def to_plain(probation: Probation) -> dict[str, Any]:
    """A probation as JSON can hold it."""
    return dataclasses.asdict(probation)


def from_plain(raw: Mapping[str, Any]) -> Probation:
    """The probation that `to_plain` made plain; equal to it, bit for bit."""
    bet = raw["wager"]
    wager = Wager(**{**bet, "growth": tuple(bet["growth"]), "stakes": tuple(bet["stakes"])})
    return Probation(**{**raw, "wager": wager, "means": tuple(raw["means"]), "squares": tuple(raw["squares"])})
