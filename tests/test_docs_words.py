"""Pages use the field's words, in short sentences, and no private vocabulary."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import FENCE, PAGES, ROOT, every_page

PRIVATE = re.compile(
    r"\b(wagers?|purses?|founders?|committees?|yardsticks?|yard a tick|put before a person)\b"
    r"|never saw|so manieth",
    re.IGNORECASE,
)


PACKAGES = ("homeostat", "pipelines", "monitoring", "registry", "flows", "console")
SPOKEN = {".py", ".html", ".js", ".css"}


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@every_page
def test_a_page_uses_no_private_word(page: Path) -> None:
    assert [word[0] for word in PRIVATE.finditer(page.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("text", ["the Wager", "a line's founder", "a committee", "was put before a person"])
def test_a_private_word_is_found(text: str) -> None:
    assert PRIVATE.search(text)


def test_no_private_word_stands_in_code_or_on_pages() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.suffix in SPOKEN]
    found = {
        str(file.relative_to(ROOT)): word[0]
        for file in files
        if "migrations" not in file.parts  # what they rename has the earlier names
        for word in PRIVATE.finditer(file.read_text(encoding="utf-8"))
    }
    assert len(files) > 300 and found == {}


def sentences(text: str) -> list[str]:
    """The sentences of a page's paragraphs and lists, without tables, headings and code."""
    lines = [re.sub(r"^\s*[-*\d.]+ ", "", line) for line in text.splitlines() if not re.match(r"\||#|    |!", line)]
    flowing = re.sub(r"\n{2,}", ". ", "\n".join(lines))
    return [s for s in re.split(r"(?<=[.?!])\s+", flowing) if len(s.split()) > 2]


def test_sentences_are_short() -> None:
    lengths = sorted(len(s.split()) for page in PAGES for s in sentences(prose(page)))
    assert lengths[len(lengths) // 2] < 18
