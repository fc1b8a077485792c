"""Pages lead somewhere: links, files and modules that they name, and the site that MkDocs builds from them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from documents import FENCE, PACKAGES, PAGES, ROOT, every_page, links, name_page, read

LARGEST_IMAGE = 400_000
NAMED = re.compile(rf"`((?:{'|'.join(PACKAGES)}|examples|benchmarks|docker|docs|tests)/[\w./-]*)`")


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def link_fault(page: Path, link: str) -> str | None:
    """Why a link leads nowhere; None where it leads somewhere, or outside of the project."""
    if "://" in link:
        return None
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return "no such file"
    return None if not anchor or anchor in anchors(target) else "no such heading"


@every_page
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [(link, why) for link in links(text) if (why := link_fault(page, link))] == []


@pytest.mark.parametrize("link", ["docs/nothing.md", "docs/architecture.md#nothing", "../outside.md"])
def test_a_link_that_leads_nowhere_is_found(link: str) -> None:
    assert link_fault(ROOT / "README.md", link)
    assert links(f"see [this]({link})") == [link]


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        found = (link.partition("#")[0] for link in links(page.read_text(encoding="utf-8")) if "://" not in link)
        waiting += [(page.parent / name).resolve() for name in found if name]
    assert [name_page(page) for page in PAGES if page not in seen] == []


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures and all(picture.stat().st_size < LARGEST_IMAGE for picture in pictures)


# Files


def test_a_page_names_only_files_that_exist() -> None:
    named = {(name_page(page), name) for page in PAGES for name in NAMED.findall(page.read_text(encoding="utf-8"))}
    made = {"docker/.env", "docker/projects.env"}
    assert {(page, name) for page, name in named if name not in made and not (ROOT / name).exists()} == set()
    assert len(named) > 50


# The site


class Loaded(HTMLParser):
    """What a page of the site makes a browser load by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "link" and given.get("rel") not in {"canonical", "next", "prev"}:
            self.addresses.append(given.get("href", ""))
        if tag in {"script", "img", "iframe", "source", "video", "audio"} and "src" in given:
            self.addresses.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement of what comes after MkDocs
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr
    return folder


def test_the_site_has_every_page_of_the_docs(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not (site / page).is_file()} == set()


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = {
        address for page in site.rglob("*.html") for address in Loaded(page.read_text(encoding="utf-8")).addresses
    }
    assert {address for address in loaded if re.match(r"(\w+:)?//", address)} == set()
    styles = "".join(sheet.read_text(encoding="utf-8") for sheet in site.rglob("*.css"))
    assert not re.search(r"url\([\"']?(https?:)?//|@import", styles)
    assert "```mermaid" not in "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize(
    "tag", ['<script src="//x.org/a.js"></script>', '<link rel="stylesheet" href="https://x.org">']
)
def test_what_would_be_loaded_from_elsewhere_is_found(tag: str) -> None:
    assert re.match(r"(\w+:)?//", Loaded(tag).addresses[0])


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) < 150
