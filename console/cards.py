"""A labeling task as a card on the screen: what its row shows, the classes by number, and a picture in half blocks."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from homeostat.console.output import format_cell, out

if TYPE_CHECKING:
    from homeostat.flows.labeling.backends import Item
    from homeostat.project import Project

WIDE, TALL = 60, 48


def make_card(item: Item, project: Project, place: str, at: datetime) -> RenderableType:
    """The card of a task: `place` says which of how many it is."""
    labeling = project.labeling
    parts: list[RenderableType] = []
    if labeling.text:
        parts += [Text(str(item.shown.get(labeling.text) or "")), Text()]
    if labeling.image:
        parts += [make_picture(item.shown.get(labeling.image), project.folder), Text()]
    rest = {n: value for n, value in item.shown.items() if n not in (labeling.text, labeling.image)}
    parts += [_table_of(rest), Text()] if rest else []
    if labeling.show_suggestion and item.task.suggestion is not None:
        parts.append(Text(f"the model predicts {item.task.suggestion}", style="dim"))
    parts.append(_choices(item.classes))
    left = f"due in {_left(item.task.due_at, at)}"
    title = Text(f"{project.data.key} {item.task.key}", style="bold")
    return Panel(Group(*parts), title=title, title_align="left", subtitle=f"{place}, {left}", subtitle_align="right")


def make_picture(value: object, folder: Path) -> RenderableType:
    """A picture in half blocks where the screen has colours and the file can be read; else a line that names it."""
    from PIL import Image, UnidentifiedImageError

    source = _source(value, folder)
    if source is None or not out.is_terminal:
        return Text(f"image: {str(value)[:200]}", style="dim")
    try:
        with Image.open(source) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError):
        return Text(f"image that cannot be read: {str(value)[:200]}", style="dim")
    picture.thumbnail((min(WIDE, out.width - 6), TALL))
    return _half_blocks(picture)


def _half_blocks(picture: Any) -> Text:
    wide, tall = picture.size
    text = Text(no_wrap=True)
    for y in range(0, tall - 1, 2):
        for x in range(wide):
            upper, lower = ("#{:02x}{:02x}{:02x}".format(*picture.getpixel((x, row))) for row in (y, y + 1))
            text.append("▀", style=f"{upper} on {lower}")
        text.append("\n")
    return text


def _source(value: object, folder: Path) -> Path | BytesIO | None:
    text = str(value or "")
    if text.startswith("data:") and ";base64," in text:
        try:
            return BytesIO(base64.b64decode(text.partition(";base64,")[2], validate=True))
        except ValueError:
            return None
    return folder / text if text and "://" not in text and (folder / text).is_file() else None


def _table_of(shown: Mapping[str, object]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in shown.items():
        grid.add_row(Text(name), Text(format_cell(value)))
    return grid


def are_numbered(classes: tuple[str, ...]) -> bool:
    """Whether classes go by a number as well: not where one of them is a number itself."""
    return not any(name.isdecimal() for name in classes)


def _choices(classes: tuple[str, ...]) -> Text:
    if not classes:
        return Text("a number", style="dim")
    text = Text()
    for number, name in enumerate(classes, 1):
        if are_numbered(classes):
            text.append(f" {number} ", style="reverse").append(f" {name}   ")
        else:
            text.append(f" {name} ", style="reverse").append("  ")
    return text


def _left(due_at: datetime, at: datetime) -> str:
    minutes = round((due_at - at).total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{round(minutes / 60)} h" if minutes < 2880 else f"{round(minutes / 1440)} d"
