"""Take the pictures of the page that the docs show: `make screenshots PLACES=FOLDER`.

Serves what is in the folder as it stands and writes `docs/images/console-PAGE[-dark|-narrow].png`, each below 200 KB.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from browser import serve
from installed import find_chromium
from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
MOST = 200_000
COLORS = (256, 128, 64, 32)
TALLEST = 1500
LOOKS = {"": ("light", 1280), "-dark": ("dark", 1280), "-narrow": ("light", 390)}
PAGES = {
    "overview": ("/", ("", "-dark")),
    "project": ("/projects/{project}/overview", ("", "-dark", "-narrow")),
    "decisions": ("/projects/{project}/decisions", ("",)),
    "ask": ("/projects/{project}/ask?key={key}", ("",)),
    "label": ("/projects/{labels}/label", ("", "-narrow")),
    "approve": ("/projects/{approvals}/approve", ("",)),
    "alerts": ("/projects/{project}/alerts", ("",)),
}


def main() -> None:
    """Take every picture; a page that is not there is told and left out."""
    read = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    read.add_argument("places", type=Path, nargs="+", help="projects, or folders of projects")
    read.add_argument("--root", type=Path, help="the installation's folder; by default .homeostat in the first place")
    read.add_argument("--project", default="flights")
    read.add_argument("--labels", default="digits", help="the project whose labeling page is shown")
    read.add_argument("--approvals", default="flights", help="the project whose approvals are shown")
    read.add_argument("--key", default="", help="a key that was scored")
    read.add_argument("--pages", nargs="+", choices=PAGES, default=list(PAGES), help="only these")
    read.add_argument("--at", type=datetime.fromisoformat, help="the time of looking, with its zone; by default now")
    read.add_argument("--out", type=Path, default=IMAGES)
    given = read.parse_args()
    root = given.root or given.places[0] / ".homeostat"
    named = {"project": given.project, "labels": given.labels, "approvals": given.approvals, "key": given.key}
    given.out.mkdir(parents=True, exist_ok=True)
    clock = None if given.at is None else (lambda: given.at)
    with serve(root, given.places, clock) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        for name in given.pages:
            path, looks = PAGES[name]
            for look in looks:
                scheme, width = LOOKS[look]
                page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 820})  # type: ignore[arg-type]
                take(page, base + path.format(**named), given.out / f"console-{name}{look}.png")
                page.close()


def take(page: Page, address: str, file: Path) -> None:
    """Take one picture, from the top down to where it gets too tall."""
    answer = page.goto(address)
    if answer is None or not answer.ok:
        print(f"left out {file.name}: {address} answers {answer.status if answer else 'nothing'}")
        return
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(400)
    picture = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, TALLEST)))
    for colors in COLORS:
        picture.quantize(colors, dither=Image.Dither.NONE).save(file, optimize=True)
        if file.stat().st_size < MOST:
            break
    print(f"{file.name}: {file.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
