"""Which scores are those of a role, and which version of an input row was scored.

Rescored corrections are told apart, also where an earlier release kept them under the role of the champion.
"""

from __future__ import annotations

import polars as pl

from homeostat.records import Role

RESCORED = "/corrections"
"""How the name of a batch of rescored corrections ends."""

AS_SCORED = ~pl.col("_correction")
"""Of the versions of an input row the one that was scored or is to be scored; before the loop's start the first one.

A table that is changed after the outcome says what nobody knew when the row was scored.
"""


def scored_as(role: Role | str) -> pl.Expr:
    """The rows of the predictions table that were scored in a role.

    A correction that is scored again counts for nothing but `Role.CORRECTION`, for the model may have learned from its
    label by then. Earlier releases kept it under the role of the champion.
    """
    rescored = pl.col("batch").str.ends_with(RESCORED)
    if role == Role.CORRECTION:
        return rescored
    return (pl.col("role") == str(role)) & ~rescored
