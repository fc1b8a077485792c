"""The manifest: what a model is, as the JSON in its folder says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NotRequired, TypedDict

FORMAT = 1
ENSEMBLE, MEMBERS = "ensemble", "members"


class RawColumn(TypedDict):
    """A column that a model is given: its `kind` is "number", "boolean", "datetime" or "text"."""

    name: str
    kind: str


class Feature(TypedDict):
    """A column that a model learns from, "numeric" or "categorical" with its sorted `vocabulary`."""

    name: str
    kind: str
    vocabulary: list[str] | None


class MemberManifest(TypedDict):
    """What an ensemble says of one of its members; `rounds` is None where it was not boosted by rounds."""

    name: str
    family: str
    rounds: int | None
    classes: list[str] | None
    features: list[Feature]
    weight: NotRequired[float]
    trust: NotRequired[float]


class Manifest(TypedDict):
    """What goes into a model and what comes out, and how it was made.

    `hooks` is the digest of the hook file that it needs, `trusted` the modules whose types its file may hold besides
    those that are always trusted. An ensemble has `members`, and no rounds of its own.
    """

    format: int
    project: str
    task: str
    target: str
    classes: list[str] | None
    positive: str | None
    key: str
    key_kind: str
    event_time: str
    timezone: str | None
    raw: list[RawColumn]
    features: list[Feature]
    hooks: str | None
    threads: int
    family: str
    rounds: int | None
    trusted: NotRequired[list[str]]
    members: NotRequired[list[MemberManifest]]


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a model's folder, of whatever release. Raises OSError or ValueError."""
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def manifest_of(manifest: Manifest, member: MemberManifest) -> Manifest:
    """The manifest of a member of an ensemble, as if it stood alone."""
    alone: Any = {name: value for name, value in manifest.items() if name != MEMBERS}
    return alone | member


def hooks_module(digest: str) -> str:
    """Name the module that a hook file of this digest is imported as."""
    return f"homeostat_hooks_{digest}"
