"""docker/compose.yaml as Compose reads it: variables put in their places, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker" / "compose.yaml"
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?:(:[-?])((?:[^{}$]|\$\{[^{}]*\})*))?\}")
GIVEN = {"POSTGRES_PASSWORD": "secret", "PROJECTS": "/projects-here"}


def services(given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Every service by its name, with these variables (or some that will do) in their places."""
    read = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return _filled(read["services"], GIVEN if given is None else given)


def fill(text: str, given: Mapping[str, str]) -> str:
    """A text with its variables in their places. Raises KeyError with what Compose would say where one must be set.

    >>> fill("${A:-x${B:-1}}/${C}", {"B": "2", "C": "3"})
    'x2/3'
    """

    def value(match: re.Match[str]) -> str:
        name, how, rest = match.groups()
        if given.get(name):
            return given[name]
        if how == ":?":
            raise KeyError(f"{name}: {rest}")
        return fill(rest, given) if how else given.get(name, "")

    return VARIABLE.sub(value, text)


def _filled(value: Any, given: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return fill(value, given)
    if isinstance(value, list):
        return [_filled(part, given) for part in value]
    return {name: _filled(part, given) for name, part in value.items()} if isinstance(value, dict) else value


def variables(text: str) -> Iterator[tuple[str, str | None]]:
    """Every variable a text asks for, with `:-` where it has a default, `:?` where it must be set."""
    for name, how, rest in VARIABLE.findall(text):
        yield name, how or None
        yield from variables(rest)


def command(service: Mapping[str, Any]) -> list[str]:
    """What a service runs: its entrypoint, by default the image's, and its command."""
    return [*service.get("entrypoint", ["homeostat"]), *service.get("command", [])]
