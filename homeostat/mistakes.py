"""How a mistake in a project file is told: one line with the file, the key, what came and what was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

Location = tuple[int | str, ...]

_MAY_HOLD_SECRETS = {"notify"}  # where an address is written by mistake instead of the variable that holds it
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_EXPECTED = {
    "string_type": "text in quotes",
    "list_type": 'a list, as in ["..."]',
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
}


def describe_mistakes(file: Path, errors: Sequence[Any], model: type[BaseModel], hidden: set[str]) -> str:
    """Tell pydantic's errors about `model` in a line each; keys in `hidden` are never offered.

    A key that is missing because it was misspelt is told once, as the misspelt one.
    """
    unknown = {error["loc"]: _meant(error["loc"], model, hidden) for error in errors if _is(error, "extra_forbidden")}
    meant = {(*loc[:-1], name) for loc, name in unknown.items() if name is not None}
    lines = []
    for error in errors:
        if _is(error, "extra_forbidden"):
            lines.append(f"{_shown(error['loc'])}: unknown key.{_hint(error['loc'], unknown, model, hidden)}")
        elif not (_is(error, "missing") and error["loc"] in meant):
            lines.append(_line(error, model))
    return "\n".join(f"{file}: {line.rstrip('.?')}{'?' if line.endswith('?') else '.'}" for line in lines)


def _line(error: Any, model: type[BaseModel]) -> str:
    loc, kind, came = error["loc"], error["type"], error["input"]
    if kind == "value_error":
        return _joined(loc, str(error["ctx"]["error"]), model)
    return f"{_shown(loc)}: {_words(kind, error, came, loc)}"


def _joined(loc: Location, message: str, model: type[BaseModel]) -> str:
    """A section's own check begins its message with the key inside of it."""
    if not loc:
        return message
    return f"{_shown(loc)}{'.' if _section_at(model, loc) is not None else ': '}{message}"


def _words(kind: str, error: Any, came: Any, loc: Location) -> str:
    got = "" if loc[0] in _MAY_HOLD_SECRETS else f", got {came!r}"
    if kind == "missing":
        return "missing; it must be set."
    if kind in {"enum", "literal_error"}:
        return _choice(came, re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    if kind in {"model_type", "dict_type"}:
        return f"expected a section, as in [{_shown(loc)}]{got}."
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"must be {words} {error['ctx'][limit]:g}{got}."
    if kind == "too_short":
        return "must name at least one."
    expected = _EXPECTED.get(kind)
    return f"expected {expected}{got}." if expected else f"{error['msg']}{got}."


def _choice(came: Any, known: list[str]) -> str:
    close = difflib.get_close_matches(str(came), known, n=1, cutoff=0.6)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    return f"expected one of {', '.join(map(repr, known))}, got {came!r}.{meant}"


def _hint(loc: Location, unknown: dict[Location, str | None], model: type[BaseModel], hidden: set[str]) -> str:
    if (name := unknown[loc]) is not None:
        return f" Did you mean {name!r}?"
    if places := [place for place, names in _sections(model) if loc[-1] in names]:
        return f" It belongs under [{places[0]}]."
    if sections := [place for place, _ in _sections(model) if place.split(".")[-1] == loc[-1]]:
        return f" Did you mean [{sections[0]}]?"
    known = sorted(_keys(_section_at(model, loc[:-1])) - hidden)
    return f" Known here: {', '.join(known)}."


def _meant(loc: Location, model: type[BaseModel], hidden: set[str]) -> str | None:
    known = sorted(_keys(_section_at(model, loc[:-1])) - hidden)
    close = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.6)
    return close[0] if close else None


def _section_at(model: type[BaseModel], loc: Location) -> type[BaseModel] | None:
    """The section a location leads to; None where it is a plain setting."""
    current: Any = model
    for part in loc:
        if isinstance(current, type) and issubclass(current, BaseModel):
            info = current.model_fields.get(str(part))
            current = None if info is None else info.annotation
        else:
            current = next((a for a in reversed(get_args(current)) if _is_section(a)), None)
    return current if _is_section(current) else None


def _sections(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every section that is written as a table of its own, with the settings in it."""
    for name, info in model.model_fields.items():
        if _is_section(info.annotation):
            inner: Any = info.annotation
            nested = {key for key, value in inner.model_fields.items() if _is_section(value.annotation)}
            yield f"{place}{name}", set(inner.model_fields) - nested
            yield from _sections(inner, f"{place}{name}.")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _keys(section: type[BaseModel] | None) -> set[str]:
    return set() if section is None else set(section.model_fields)


def _is(error: Any, kind: str) -> bool:
    return error["type"] == kind


def _shown(loc: Location) -> str:
    """A key as a person writes it; entries of a list are counted from one."""
    keys = ".".join(str(part) for part in loc if isinstance(part, str) and part != "[key]")
    entries = "".join(f", entry {part + 1}" for part in loc if isinstance(part, int))
    return keys + entries
