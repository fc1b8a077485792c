"""Pages describe the code as it is, in the field's words: packages, stages of a tick, and no private vocabulary."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from documents import FENCE, PACKAGES, PAGES, ROOT, every_page, fences, parts, read, rows, table

from homeostat.extensions import Extensions
from homeostat.flows.stages.sequence import STAGES, WORK
from homeostat.monitoring.drift import DRIFT_MEASURES

ARCHITECTURE = "docs/explanation/architecture.md"
PRIVATE = re.compile(
    r"\b(wagers?|purses?|founders?|committees?|yardsticks?|yard a tick|put before a person)\b"
    r"|never saw|so manieth",
    re.IGNORECASE,
)


# Packages


def folders() -> set[str]:
    """Our packages, as folders of the repository; what a migration is made of is one thing."""
    found = {str(init.parent.relative_to(ROOT)) for name in PACKAGES for init in (ROOT / name).rglob("__init__.py")}
    return {folder for folder in found if "/migrations" not in folder}


def test_every_package_is_described_and_no_other() -> None:
    described = rows(parts(read(ARCHITECTURE), 2)["Packages"])
    assert {name.rstrip("/") for name in described if name.endswith("/")} == folders()


# The stages of a tick


def stage_table() -> list[list[str]]:
    return table(parts(read(ARCHITECTURE), 2)["The way of a batch"])


def installed_name(path: str) -> str:
    """The dotted name of a module by its path in the repository."""
    dotted = path.removesuffix(".py").strip("/").replace("/", ".")
    return dotted if dotted.startswith("homeostat.") else f"homeostat.{dotted}"


def test_the_stages_are_nine_and_stand_in_their_order() -> None:
    assert len(STAGES) == 9
    assert [row[0] for row in stage_table()] == list(STAGES)
    assert "nine stages run" in " ".join(parts(read(ARCHITECTURE), 2)["The way of a batch"].split())


@pytest.mark.parametrize("row", stage_table(), ids=lambda row: row[0])
def test_a_stage_is_found_where_its_row_says(row: list[str]) -> None:
    stage, folder, function, _ = row
    module, _, name = function.strip("`").partition(".")
    assert (ROOT / folder.strip("`") / f"{module}.py").is_file()
    assert getattr(importlib.import_module(f"{installed_name(folder.strip('`'))}.{module}"), name) is WORK[stage]


@pytest.mark.parametrize("row", stage_table(), ids=lambda row: row[0])
def test_what_to_read_after_a_stage_exists(row: list[str]) -> None:
    for path, functions in re.findall(r"`([\w/]+\.py)`(?: \(([^)]*)\))?", row[3]):
        module = importlib.import_module(installed_name(path))
        assert [name for name in re.findall(r"`(\w+)`", functions) if not hasattr(module, name)] == []


# Words


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@every_page
def test_a_page_uses_no_private_word(page: Path) -> None:
    assert [word[0] for word in PRIVATE.finditer(page.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("text", ["the Wager", "a line's founder", "a committee", "was put before a person"])
def test_a_private_word_is_found(text: str) -> None:
    assert PRIVATE.search(text)


def sentences(text: str) -> list[str]:
    """The sentences of a page's paragraphs and lists, without tables, headings and code."""
    lines = [re.sub(r"^\s*[-*\d.]+ ", "", line) for line in text.splitlines() if not re.match(r"\||#|    |!", line)]
    flowing = re.sub(r"\n{2,}", ". ", "\n".join(lines))
    return [s for s in re.split(r"(?<=[.?!])\s+", flowing) if len(s.split()) > 2]


def test_sentences_are_short() -> None:
    lengths = sorted(len(s.split()) for page in PAGES for s in sentences(prose(page)))
    assert lengths[len(lengths) // 2] < 18


# Extension points


def test_the_registries_of_the_extension_guide_exist() -> None:
    named = re.findall(r"`(homeostat[\w.]+)\.([A-Z_]+)`", read("docs/guides/extend.md"))
    registries = [getattr(importlib.import_module(module), name) for module, name in named]
    assert len(registries) >= 6 and all(isinstance(registry, Extensions) for registry in registries)


def test_the_example_of_the_extension_guide_registers_what_its_project_selects() -> None:
    guide = read("docs/guides/extend.md")
    exec(fences(guide, "python")[0], {})
    try:
        assert "median" in DRIFT_MEASURES.names() and 'numeric_drift = "median"' in guide
    finally:
        DRIFT_MEASURES.remove("median")
