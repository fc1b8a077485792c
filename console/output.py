"""Output of the command line: tables for people, JSON for programs, one line for an error, a bar for a long job."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from homeostat.durations import instant

GAP, SHORT, ROOM = 2, 24, 36
QUIET_SECONDS = 10.0
"""How long a job without a bar may say nothing."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """Print a line of plain text, however long."""
    out.print(line, markup=False, soft_wrap=True)


def say_json(value: object) -> None:
    """Print a value as JSON on standard output; NaN and infinity are null."""
    sys.stdout.write(json.dumps(_plain(value), indent=1, allow_nan=False) + "\n")


def say_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], room: int = ROOM) -> None:
    """Print rows as a table; an empty one says so. The last column holds the longest text.

    Where it would get less `room` than that in characters, it goes beneath the others.
    """
    listed = [[format_cell(value) for value in row] for row in rows]
    if not listed:
        say(f"{title}: none")
        return
    out.print(Text(title, style="bold"))
    widths = [max(len(row[at]) for row in [list(columns), *listed]) for at in range(len(columns))]
    left = out.width - sum(width + GAP for width in widths[:-1])
    if left >= min(widths[-1], room) or not room:
        _print_grid(columns, listed, widths)
    else:
        _print_beneath(columns, listed, widths)


def say_facts(title: str, facts: Mapping[str, object]) -> None:
    """Print named values, one a line; a long one is folded under its own beginning."""
    out.print(Text(title, style="bold"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(Text(f"  {name}"), Text(_fact(value)))
    out.print(grid)


def say_note(line: str) -> None:
    """Print a line on standard error that is no error: what a long job is about to do."""
    err.print(line, markup=False, soft_wrap=True)


def say_error(message: str) -> None:
    """Print an error message on standard error, without markup."""
    for line in message.splitlines():
        err.print(f"homeostat: {line}", markup=False, soft_wrap=True, style="red")


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on standard error; the callback takes what is done, the total and what is next.

    Where that is no screen, a line every QUIET_SECONDS.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        job, said = bar.add_task(escape(title), total=None), [time.monotonic()]

        def tell(done: int, total: int, text: str) -> None:
            if bar.disable and time.monotonic() - said[0] >= QUIET_SECONDS:
                said[0] = time.monotonic()
                say_note(f"{title}: {done} of {total}, {text}")
            bar.update(job, completed=done, total=total, description=f"{escape(title)} [dim]{escape(text)}[/dim]")

        yield tell


def _print_grid(columns: Sequence[str], rows: list[list[str]], widths: list[int]) -> None:
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, overflow="fold", no_wrap=width <= SHORT)
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table)


def _print_beneath(columns: Sequence[str], rows: list[list[str]], widths: list[int]) -> None:
    for number, row in enumerate([list(columns), *rows]):
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        out.print(Text((" " * GAP).join(cells).rstrip(), style="" if number else "bold"))
        if number:
            out.print(Padding(Text(row[-1]), (0, 0, 0, 4), expand=False))


def format_cell(value: object) -> str:
    """A value as tables show it."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return str(value)


def _fact(value: object) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(map(format_cell, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {format_cell(part)}" for name, part in value.items()) or "none"
    return f"{format_cell(value)} UTC" if isinstance(value, datetime) else format_cell(value)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return instant(value)
    return value if value is None or isinstance(value, str | int | bool) else str(value)
