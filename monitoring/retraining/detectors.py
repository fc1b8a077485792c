"""Drift detectors over a stream of errors, from river."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class ErrorDetector:
    """A detector that takes one loss after the other and says when they changed.

    `adwin`: Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007; losses in [0, 1].
    `ddm`: Gama et al., "Learning with drift detection", SBIA 2004; losses are 0 or 1. Both with river's own settings.

    >>> ErrorDetector("ddm").update([0.0] * 100), ErrorDetector("ddm").update([0.0, 1.0] * 100 + [1.0] * 200)
    (False, True)
    """

    def __init__(self, method: str) -> None:
        self.method = method
        self._detector = _make(method)

    def update(self, losses: Iterable[float]) -> bool:
        """Take in losses in their order; says whether a change was found at any of them."""
        changed = False
        for loss in losses:
            self._detector.update(bool(loss) if self.method == "ddm" else float(loss))
            changed = changed or self._detector.drift_detected
        return changed

    def reset(self) -> None:
        """Begin anew, as for a new model. ADWIN goes on: it has let go of what was before the change already."""
        if self.method == "ddm":
            self._detector = _make(self.method)


def _make(method: str) -> Any:
    from river import drift

    return drift.ADWIN() if method == "adwin" else drift.binary.DDM()
