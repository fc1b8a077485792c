"""Python and the packages, against what this release needs."""

from __future__ import annotations

import platform
from importlib import metadata

from homeostat.flows.health.findings import Finding

DISTRIBUTION = "homeostat"
# What a wrong version breaks without a word of its own.
WHY = {
    "sqlalchemy": "2.1 stops the scheduler of Prefect 3.8 silently",
    "pandas": "Evidently 0.7 does not import with pandas 3",
    "fastapi": "Prefect 3.8 fails at its first call with a newer one",
}


def check_versions(store_url: str = "") -> list[Finding]:
    """Python and each package that this release requires, and the driver that the store's URL needs."""
    findings = [_of_python()]
    wrong = [problem for text in metadata.requires(DISTRIBUTION) or [] if (problem := _wrong(text, store_url))]
    advice = "Install what this release was made with: pip install -c constraints.txt -e . (see README.md)."
    if wrong:
        return [*findings, Finding("packages", "problem", "; ".join(wrong), advice)]
    return [*findings, Finding("packages", "ok", f"homeostat {metadata.version(DISTRIBUTION)} has all that it needs")]


def _of_python() -> Finding:
    from packaging.specifiers import SpecifierSet

    wanted = metadata.metadata(DISTRIBUTION)["Requires-Python"]
    version = platform.python_version()
    if version in SpecifierSet(wanted):
        return Finding("python", "ok", version)
    return Finding(
        "python", "problem", f"{version}, but this release needs {wanted}", "Install it with Python 3.11 or newer."
    )


def _wrong(text: str, store_url: str) -> str | None:
    from packaging.requirements import Requirement

    wanted = Requirement(text)
    extras = ["", *(["postgresql"] if store_url.startswith("postgres") else [])]
    if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
        return None
    try:
        installed = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return f"{wanted.name} is not installed"
    if wanted.specifier.contains(installed, prereleases=True):
        return None
    why = f" ({WHY[wanted.name]})" if wanted.name in WHY else ""
    return f"{wanted.name} is {installed}, but {wanted.specifier} is needed{why}"
