"""Pages describe the code as it is: packages, the stages of a tick, and extension points."""

from __future__ import annotations

import importlib
import re

import pytest
from documents import PACKAGES, ROOT, fences, parts, read, rows, table

from homeostat.extensions import Extensions
from homeostat.flows.stages.sequence import STAGES, WORK
from homeostat.monitoring.drift import DRIFT_MEASURES

ARCHITECTURE = "docs/architecture.md"


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
