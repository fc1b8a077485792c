"""How the command line speaks: tables for people, JSON for programs, one line for a mistake, a bar for a long job."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

out = Console()
err = Console(stderr=True)


def say_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=1, default=_plain) + "\n")


def say_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as a table; an empty one says so."""
    listed = [[_cell(value) for value in row] for row in rows]
    if not listed:
        out.print(f"{title}: none")
        return
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in listed:
        table.add_row(*row)
    out.print(table)


def say_facts(title: str, facts: dict[str, Any]) -> None:
    """Print named values, one a line."""
    out.print(f"[bold]{title}[/bold]")
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        out.print(f"  {name:<{width}}  {_cell(value)}", highlight=False)


def say_error(message: str) -> None:
    """Print a mistake on standard error, a line each, without markup."""
    for line in message.splitlines():
        err.print(f"homeostat: {line}", markup=False, highlight=False, soft_wrap=True, style="red")


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on standard error; the callback takes what is done, the total and what is being worked on."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=False) as bar:
        job = bar.add_task(title, total=None)

        def tell(done: int, total: int, text: str) -> None:
            bar.update(job, completed=done, total=total, description=f"{title} [dim]{text}[/dim]")

        yield tell


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return str(value)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
