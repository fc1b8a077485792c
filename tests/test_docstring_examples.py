"""Every example in a docstring runs and gives what it says."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("homeostat", "pipelines", "monitoring", "registry", "flows", "console")


def modules_with_examples() -> list[str]:
    """Dotted names of our modules whose source holds a `>>>`."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    shown = [file.relative_to(ROOT).with_suffix("") for file in files if ">>> " in file.read_text(encoding="utf-8")]
    names = [".".join(part for part in path.parts if part != "__init__") for path in shown]
    return [name if name.startswith("homeostat") else f"homeostat.{name}" for name in names]


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_hold(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
