"""Evidence as a page shows it: named values, and tables where it is a list or two things side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeostat.monitoring.report.story import METRIC_NAMES, format_text

MANY = 24
"""How many rows of a table or entries of a list are shown; how many more there are is said."""
NAMES = {
    "at": "tick",
    "caused": "share of labels that the model caused",
    "cost": "cost, M rows × rounds",
    "held_out": "held out",
    "labels_at_last_attempt": "labels at the last attempt",
    "of": "rows",
    "row_rounds": "rows × rounds",
    "full_cost_per_tick": "allowance a tick, rows × rounds",
    "full_cost": "allowance so far, rows × rounds",
    "spent": "spent of it, rows × rounds",
    "step": "kind of step",
}
"""What keys of evidence are called where their own words would not do."""
_SHARES = {"caused", "coverage", "share", "agreement"}
_SIDES = ("champion", "challenger")


@dataclass(frozen=True, slots=True)
class Block:
    """Some evidence: `rows` under `heads`, or, where there are no heads, pairs of a name and a value."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int = 0


def describe_evidence(evidence: Mapping[str, object]) -> list[Block]:
    """Evidence in blocks: first what is a single value, then its tables.

    >>> [block.rows for block in describe_evidence({"rows": 48989, "blocked": False})]
    [(('rows', '48,989'), ('blocked', 'no'))]
    """
    blocks = []
    flat = {name: value for name, value in evidence.items() if not _is_table(value)}
    nested = {name: value for name, value in evidence.items() if _is_table(value)}
    if flat:
        blocks.append(Block("", (), tuple((name_of(n), value_of(v, n)) for n, v in flat.items())))
    blocks += _sides(nested)
    for name, value in nested.items():
        blocks += _tables(name_of(name), value)
    return blocks


def _is_table(value: object) -> bool:
    return bool(value) and (
        isinstance(value, Mapping) or (isinstance(value, list | tuple) and isinstance(value[0], Mapping))
    )


def _sides(nested: dict[str, Any]) -> Iterator[Block]:
    """Champion and challenger side by side, taken out of `nested`, where both are there."""
    names = [f"{side}_metrics" for side in _SIDES]
    if not all(isinstance(nested.get(name), Mapping) for name in names):
        return
    mine, other = (nested.pop(name) for name in names)
    rows = [(_metric(m), value_of(mine.get(m), m), value_of(other.get(m), m)) for m in dict.fromkeys([*mine, *other])]
    yield Block("On the same rows", ("metric", *_SIDES), tuple(rows))


def _tables(title: str, value: Any) -> Iterator[Block]:
    if isinstance(value, Mapping):
        flat = {name: part for name, part in value.items() if not _is_table(part)}
        if flat:
            shown = list(flat.items())[:MANY]
            rows = tuple((name_of(name), value_of(part, name)) for name, part in shown)
            yield Block(title, (), rows, len(flat) - len(shown))
        for name, part in value.items():
            if _is_table(part):
                yield from _tables(f"{title}: {name_of(name)}", part)
        return
    heads = list(dict.fromkeys(name for row in value for name in row))
    rows = tuple(tuple(value_of(row.get(name), name) for name in heads) for row in value[:MANY])
    yield Block(title, tuple(map(name_of, heads)), rows, max(0, len(value) - MANY))


def name_of(key: str) -> str:
    """What a key is called.

    >>> name_of("fresh_labels"), name_of("log_loss")
    ('fresh labels', 'log loss')
    """
    return NAMES.get(key) or _metric(key)


def _metric(key: str) -> str:
    return METRIC_NAMES.get(key, key.replace("_", " "))


def value_of(value: object, key: str = "") -> str:
    """A value as a person reads it.

    >>> value_of(0.123456), value_of(48989), value_of(None), value_of([1, 2]), value_of(0.5, "coverage")
    ('0.1235', '48,989', '–', '1, 2', '50%')
    """
    if value is None or value == "" or value == [] or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and key in _SHARES and 0 <= value <= 1:
        return f"{value:.0%}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _figure(value)
    if isinstance(value, list | tuple):
        return _listed(value)
    if isinstance(value, Mapping):
        return "; ".join(f"{name_of(str(name))} {value_of(part, str(name))}" for name, part in value.items())
    return format_text(str(value))


def _figure(value: float) -> str:
    text = f"{value:,.0f}" if abs(value) >= 10_000 or (abs(value) >= 100 and value == int(value)) else f"{value:.4g}"
    return text.replace("-", "−") if "e" not in text else text


def _listed(value: Sequence[object]) -> str:
    shown = ", ".join(value_of(item) for item in value[:MANY])
    return f"{shown} and {len(value) - MANY} more" if len(value) > MANY else shown
