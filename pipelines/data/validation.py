"""Validation: stated rules take the rows that break them out, each with its rule; a pure policy holds a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from homeostat.pipelines.data.canonical import (
    canonical_columns,
    canonical_key,
    canonical_label,
    canonical_number,
    canonical_text,
    canonical_truth,
    is_missing,
)
from homeostat.pipelines.data.rules import Rule, feedback_rules, input_rules, made, shown
from homeostat.pipelines.data.times import INSTANT
from homeostat.project import Project
from homeostat.records import Decision

QUARANTINE_SCHEMA = {
    "source": pl.String,
    "rule": pl.String,
    "detail": pl.String,
    "key": pl.String,
    "row": pl.String,
    "quarantined_at": INSTANT,
}


@dataclass(frozen=True, slots=True)
class Validated:
    """What passed, in canonical form, and what did not, each row with the rule it broke."""

    accepted: pl.DataFrame
    rejected: pl.DataFrame

    @property
    def rejected_by_rule(self) -> dict[str, int]:
        """How many rows each rule took out, sorted by rule."""
        counts = self.rejected.group_by("rule").len().sort("rule")
        return dict(zip(counts["rule"], counts["len"], strict=True))


def validate_inputs(rows: pl.DataFrame, project: Project, key_dtype: pl.DataType | None, now: datetime) -> Validated:
    """Check a SOURCE frame of inputs against the stated rules.

    Accepted: an INPUTS frame without `_batch` and `_correction`, in the order of `available_at`. `known_at` is
    `now`; where a key comes more than once, earlier rows lie a microsecond each before, so the last one counts.
    Rejected: a QUARANTINE frame without `batch`. Rules: key, time, type:C, missing:C, range:C, class:C,
    duplicate_key. Exact duplicates are collapsed. Without `key_dtype` integer keys become Int64, others String.
    """
    key = project.data.key
    rows = rows.with_columns(pl.lit(None).alias(c) for c in project.data.columns if c not in rows.columns)
    columns = canonical_columns(rows.schema, project)
    canonical = rows.select("event_at", "available_at", **columns).with_columns(canonical_key(rows[key], key_dtype))
    both = _paired(rows, canonical)
    kept, bad = _split(both, input_rules(both.schema, rows.schema, project, now))
    kept, twice = _contradictions(kept, key, ["event_at", *columns])
    later = pl.int_range(pl.len()).reverse().over(made(key))
    known_at = pl.lit(now, INSTANT) - pl.duration(microseconds=later)
    accepted = kept.sort(made("available_at"), maintain_order=True).select(
        made(key).alias(key),
        made("event_at").alias("event_at"),
        known_at.cast(INSTANT).alias("known_at"),
        *(made(column).alias(column) for column in columns),
    )
    return Validated(accepted, _quarantine([bad, twice], rows, "inputs", key, now))


def validate_feedback(
    rows: pl.DataFrame,
    project: Project,
    known_keys: pl.Series | None,
    key_dtype: pl.DataType | None,
    classes: tuple[str, ...] | None,
    now: datetime,
) -> Validated:
    """Check a SOURCE frame of feedback; `known_keys` are all keys ever seen as an input, None to skip the rule.

    Accepted: a FEEDBACK frame in the order of `known_at` (`now` where the source says none), provenance
    "observed". `caused` is true where the action that the source names was taken; `propensity` is then null, and
    else what the source says, 1 where it says nothing. A missing label is a null: it takes back what was said of its
    key before, and is left out where a label stands beside it. Rules: key, unknown_key, class
    (outside the stated classes, or for a binary task outside `classes`), type (regression), action (neither true nor
    false), propensity (outside of (0, 1]), duplicate_key (two labels with one `available_at`).
    """
    key, target = project.data.key, project.data.target
    keys = canonical_key(rows[key], key_dtype)
    seen = pl.repeat(True, len(keys), eager=True)
    if known_keys is not None:
        seen = keys.is_in(canonical_key(known_keys.unique(), keys.dtype).implode())
    labels = canonical_label(rows[target], project.task)
    made_here = [keys.alias(key), labels.alias("label"), seen.alias("seen"), *_origin(rows.schema, project)]
    both = _paired(rows, rows.select("available_at", *made_here))
    both = both.with_columns(_missing=made("label").is_null() & is_missing(target, rows.schema[target]))
    kept, bad = _split(both, feedback_rules(rows.schema, project, classes))
    kept, bad = _without_idle_nulls(kept, key), bad.filter(~pl.col("_missing"))
    kept, twice = _contradictions(kept, key, ["label", "caused", "chance"])
    known_at = pl.coalesce(made("available_at"), pl.lit(now, INSTANT)).alias("known_at")
    accepted = kept.select(
        made(key).alias(key),
        made("label").alias("label"),
        known_at,
        pl.lit(now, INSTANT).alias("ingested_at"),
        pl.lit("observed").alias("provenance"),
        pl.lit(None, pl.String).alias("who"),
        pl.when(~made("caused") & made("label").is_not_null()).then(made("chance").fill_null(1.0)).alias("propensity"),
        (made("caused") & made("label").is_not_null()).alias("caused"),
    ).sort("known_at", maintain_order=True)
    return Validated(accepted, _quarantine([bad, twice], rows, "feedback", key, now))


def _without_idle_nulls(both: pl.DataFrame, key: str) -> pl.DataFrame:
    """Leave out missing labels beside a label of the same key and time, and undated ones beside any label of the key.

    They are rows that wait for their label, and take none back.
    """
    if not both["_missing"].any():
        return both
    spoken = (~pl.col("_missing")).any()
    undated = made("available_at").is_null() & spoken.over("=" + key)
    return both.filter(~pl.col("_missing") | ~(spoken.over("=" + key, "=available_at") | undated))


def _origin(schema: pl.Schema, project: Project) -> tuple[pl.Expr, pl.Expr]:
    """How a label came about: whether an action caused it, and its chance to come by itself; null where none is said.

    Rows that were kept before a column was named do not have it.
    """
    action, propensity = project.data.feedback.action, project.data.feedback.propensity
    caused, chance = pl.lit(False), pl.lit(None, pl.Float64)
    if action is not None and action in schema:
        caused = canonical_truth(action, schema[action])
    if propensity is not None and propensity in schema:
        chance = canonical_number(propensity, schema[propensity])
    return caused.alias("caused"), chance.alias("chance")


def decide_validation(
    rejected_by_rule: Mapping[str, int], rows: int, project: Project, now: datetime, batch: str
) -> Decision:
    """Decide whether a batch of `rows` rows (rejected ones included) is accepted or held."""
    broken, allowed = sum(rejected_by_rule.values()), project.data.rules.max_broken
    share = broken / rows if rows else 0.0
    evidence = {
        "batch": batch,
        "rows": rows,
        "rejected": broken,
        "share": share,
        "max_broken": allowed,
        "rules": dict(sorted(rejected_by_rule.items())),
    }
    counts = ", ".join(f"{rule}: {count}" for rule, count in sorted(rejected_by_rule.items()))
    if share > allowed:
        reason = f"{broken} of {rows} rows break a stated rule ({counts}); at most {allowed:.0%} may"
        return Decision(now, "validation", "hold", (reason,), evidence)
    reason = f"{broken} of {rows} rows break a stated rule ({counts})" if broken else f"all {rows} rows are sound"
    return Decision(now, "validation", "accept", (reason,), evidence)


def _paired(rows: pl.DataFrame, made: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(made.rename(lambda name: "=" + name)).with_row_index("_row")


def _split(both: pl.DataFrame, rules: list[Rule]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into those that break no rule, and the others with `_rule` and `_detail`."""
    masks = both.select(rule.broken.fill_null(False).alias(f"!{i}") for i, rule in enumerate(rules))
    broken = masks.select(pl.any_horizontal(pl.all())).to_series()
    bad = both.filter(broken).with_columns(masks.filter(broken))
    flags = [(rule, pl.col(f"!{i}")) for i, rule in enumerate(rules)]
    first = pl.coalesce(pl.when(flag).then(pl.lit(rule.name)) for rule, flag in flags)
    details = [pl.when(flag).then(rule.detail) for rule, flag in flags]
    detail = pl.concat_str(details, separator="; ", ignore_nulls=True)
    return both.filter(~broken), bad.with_columns(first.alias("_rule"), detail.alias("_detail"))


def _contradictions(both: pl.DataFrame, key: str, contents: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Collapse exact duplicates, and take out rows that say different things of one key at one time."""
    same = ["=" + key, "=available_at"]
    repeated = both.select(pl.struct(same).is_duplicated()).to_series()
    if not repeated.any():
        return both, both.clear()
    several = both.filter(repeated).unique(
        [*same, *("=" + column for column in contents)], keep="first", maintain_order=True
    )
    differ = several.select((pl.len() > 1).over(same)).to_series()
    kept = pl.concat([both.filter(~repeated), several.filter(~differ)]).sort("_row")
    detail = shown(key, "comes more than once with different contents").alias("_detail")
    return kept, several.filter(differ).with_columns(pl.lit("duplicate_key").alias("_rule"), detail)


def _quarantine(parts: list[pl.DataFrame], rows: pl.DataFrame, source: str, key: str, now: datetime) -> pl.DataFrame:
    bad = pl.concat([part for part in parts if part.height], how="diagonal") if any(map(len, parts)) else None
    if bad is None:
        return pl.DataFrame(schema=QUARANTINE_SCHEMA)
    plain = [
        pl.col(name).bin.encode("hex") if dtype == pl.Binary else pl.col(name) for name, dtype in rows.schema.items()
    ]
    return bad.sort("_row").select(
        pl.lit(source).alias("source"),
        pl.col("_rule").alias("rule"),
        pl.col("_detail").alias("detail"),
        canonical_text(key, rows.schema[key]).alias("key"),
        pl.struct(plain).struct.json_encode().alias("row"),
        pl.lit(now, INSTANT).alias("quarantined_at"),
    )


__all__ = [
    "QUARANTINE_SCHEMA", "Validated", "canonical_label", "decide_validation", "validate_feedback", "validate_inputs",
]  # fmt: skip
