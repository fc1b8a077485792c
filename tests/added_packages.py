"""Packages of others that add to Homeostat, installed for one test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homeostat.extensions import load_extensions


@contextmanager
def installed_package(site: Path, source: str) -> Iterator[None]:
    """A distribution with one module, which the entry point group `homeostat` names, on the path of this process."""
    facts = site / "our_additions-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "our_additions.py").write_text(source, encoding="utf-8")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: our-additions\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text("[homeostat]\nours = our_additions\n", encoding="utf-8")
    sys.path.insert(0, str(site))
    load_extensions.cache_clear()
    try:
        yield
    finally:
        sys.path.remove(str(site))
        sys.modules.pop("our_additions", None)
        load_extensions.cache_clear()
