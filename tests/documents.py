"""The pages of the documentation, and what can be read out of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("homeostat", "pipelines", "monitoring", "registry", "flows", "console")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_page(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_page)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def fences(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [body for kind, body in FENCE.findall(text) if kind == language]


def parts(text: str, level: int) -> dict[str, str]:
    """What stands under each heading of a level, up to the next heading of any level that is not deeper."""
    text = FENCE.sub(lambda block: block[0].replace("\n#", "\n\0"), text)
    pieces = re.split(rf"^(#{{1,{level}}}) (.*)$", text, flags=re.MULTILINE)[1:]
    marks, titles, bodies = pieces[0::3], pieces[1::3], pieces[2::3]
    return {t: b.replace("\0", "#") for m, t, b in zip(marks, titles, bodies, strict=True) if len(m) == level}


def table(text: str) -> list[list[str]]:
    """The cells of each row of the first table in a text, without its header."""
    lines = re.search(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    return [] if lines is None else [_cells(line) for line in lines[0].splitlines()[2:]]


def rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables in a text that begin with a name in backticks, by that name."""
    found = (_cells(line) for line in text.splitlines() if line.startswith("| `"))
    return {cells[0].strip("`"): cells for cells in found}


def _cells(line: str) -> list[str]:
    return re.split(r"\s*(?<!\\)\|\s*", line.removeprefix("|").removesuffix("|").strip())


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text))
