"""What is wrong with a model's folder, or with the rows it is given."""

from __future__ import annotations


class BrokenModel(RuntimeError):
    """A model's folder lacks a part, or a part is not what the manifest says."""


class GoldenMismatch(BrokenModel):
    """A model does not reproduce the predictions that were written down when it was made."""


class BadRows(ValueError):
    """The rows to score lack something that this model cannot do without."""
