"""Probation: are the versions that came after a lineage's root version really no worse than it, on the same rows?

Every batch is judged twice with its labels: by what stood when it was scored, and by the root version. An e-process
tests whether what was served is worse (see `homeostat.sequential`; the limit is an even game). It must reach 1/alpha
before a rollback, which happens at any look with a chance of at most alpha where nothing was worse. One bad week can
do that too, in a world that comes and goes; so what was served must also have been worse over all batches, by two
standard errors from batch to batch.

Where labels come so late that harm would be long in being seen, trust must be earned first: in shadow, on batches
scored as the loop would have scored them, both loss and errors must have been lower by two standard errors from batch
to batch. Trust is given for as long as the labels are late, so it must rest on as many batches at least; and since
batches of one spell of the world are alike, the standard error counts how they hang together (Newey and West, 1987).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from homeostat.sequential import EProcess

EVEN = 0.5
# From so many ticks of lag on, and after a rollback, trust is earned before it is given.
LATE_TICKS, PROOF_BATCHES, PROOF_ERRORS = 4, 6, 2.0
MOST_BATCHES = 60


@dataclass(frozen=True, slots=True)
class Probation:
    """What is remembered of a lineage, in plain values of constant size. `until` is the end of the last batch taken.

    `e_process` is on (1 + served - root) / 2 row by row, `worse` the mean of served - root over `served` batches, with
    the sum of squared deviations (Welford). `gains` are those of the newest version over the root in the newest
    `MOST_BATCHES` batches, of the mean loss and of the errors. After a rollback it is `wary`.
    """

    lineage: int
    until: str
    wary: bool = False
    e_process: EProcess = dataclasses.field(default_factory=lambda: EProcess(EVEN))
    gains: tuple[tuple[float, float], ...] = ()
    served: int = 0
    worse: float = 0.0
    worse_squares: float = 0.0

    def take(self, served_less_root: np.ndarray, gains: tuple[float, float] | None, end: str) -> Probation:
        """The state after one batch: row by row differences (rows,) in [-1, 1], and the newest version's gains."""
        if len(served_less_root):
            return self._served(served_less_root).take(np.empty(0), gains, end)
        if gains is None:
            return dataclasses.replace(self, until=end)
        return dataclasses.replace(self, until=end, gains=(*self.gains, gains)[-MOST_BATCHES:])

    def _served(self, differences: np.ndarray) -> Probation:
        served, mean = self.served + 1, float(differences.mean())
        worse = self.worse + (mean - self.worse) / served
        squares = self.worse_squares + (mean - self.worse) * (mean - worse)
        e_process = self.e_process.bet((1 + differences) / 2)
        return dataclasses.replace(self, e_process=e_process, served=served, worse=worse, worse_squares=squares)

    def harm(self, alpha: float) -> str | None:
        """Why to roll back; None while nothing shows that what was served is worse than the root version."""
        if self.e_process.peak < math.log(1 / alpha) or self.served < PROOF_BATCHES:
            return None
        error = math.sqrt(self.worse_squares / (self.served - 1) / self.served)
        if self.worse <= PROOF_ERRORS * error:
            return None
        return (
            f"since version {self.lineage}, the root version, was replaced, what was served lost {self.worse:.4f} ± "
            f"{error:.4f} a row more than it over the same {self.served} batches, {self.e_process.rows} rows; such a "
            f"finding is false with a chance of at most {alpha:g}"
        )

    def doubt(self, late_ticks: int) -> str | None:
        """Why a newer version may not serve yet; None where trust is given or earned."""
        if late_ticks < LATE_TICKS and not self.wary:
            return None
        why = "after a rollback" if self.wary else f"where labels come {late_ticks} ticks late"
        count, wanted = len(self.gains), min(max(PROOF_BATCHES, late_ticks), MOST_BATCHES)
        if count < wanted:
            return f"{why} a version must prove itself in shadow: {count} of {wanted} batches are known"
        (loss, loss_error), (wrong, wrong_error) = (
            _mean_and_error(np.array(column)) for column in zip(*self.gains, strict=True)
        )
        if loss > PROOF_ERRORS * loss_error and wrong >= PROOF_ERRORS * wrong_error:
            return None
        return (
            f"{why} a version must prove itself in shadow: over {count} batches it saved {loss:.4f} ± {loss_error:.4f} "
            f"in loss and {wrong:.4f} ± {wrong_error:.4f} in errors; both must be {PROOF_ERRORS:g} standard errors "
            "above 0"
        )


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """A mean and its standard error where values (batches,) in a row are alike; never below that of unrelated ones."""
    off, count = values - values.mean(), len(values)
    lags = count // 3
    variance = float(off @ off)
    related = sum((1 - lag / (lags + 1)) * float(off[lag:] @ off[:-lag]) for lag in range(1, lags + 1))
    return float(values.mean()), math.sqrt((variance + 2 * max(related, 0.0)) / (count - 1) / count)
