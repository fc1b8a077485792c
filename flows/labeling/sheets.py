"""Answers by spreadsheet: open tasks written to a file, and what people filled in read back."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from pathlib import Path

import polars as pl

from homeostat.errors import DataError
from homeostat.flows.exports import write_table
from homeostat.flows.labeling.exchange import Item
from homeostat.flows.labeling.people import give_answers
from homeostat.flows.loop import Loop
from homeostat.pipelines.data.canonical import canonical_text
from homeostat.records import Answer

PASS = "-"
OWN = ("task", "suggestion", "label", "who")
LONGEST_CELL = 2**30
ENDINGS = (".csv", ".parquet", ".jsonl")


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a sheet's filled rows: how many count, how many did before, and which line was refused why."""

    counted: int
    known: int
    refused: tuple[tuple[int, str], ...]


def write_sheet(loop: Loop, items: Sequence[Item], file: Path) -> int:
    """Write tasks as .csv, .parquet or .jsonl: key, task, shown columns, suggestion if shown, and room for answers."""
    _check_ending(file)
    suggested = loop.project.labeling.show_suggestion
    rows = [_row(loop.key, item, suggested) for item in items]
    empty = dict.fromkeys([_heading(loop.key), "task", "label", "who"], pl.String)
    write_table(pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame(schema=empty), file)
    return len(rows)


def import_sheet(loop: Loop, file: Path, who: str, at: datetime, by: str) -> Imported:
    """Take a sheet's filled rows in as answers; `who` is the name where a row gives none. Raises DataError."""
    refused: list[tuple[int, str]] = []
    answers: list[Answer] = []
    lines: dict[int, int] = {}
    for line, row in _read_rows(file):
        task, label, name = (_cell(row.get(column)) for column in ("task", "label", "who"))
        if not label:
            continue
        if not task:
            refused.append((line, f"{label!r} stands in a row without a task"))
            continue
        answers.append(Answer(task, name or who, None if label == PASS else label, at))
        lines[id(answers[-1])] = line
    checked = give_answers(loop, answers, at, by, f"sheet {file.name}")
    refused += [(lines[id(refusal.answer)], refusal.detail) for refusal in checked.refused]
    known = len(answers) - len(checked.accepted) - len(checked.refused)
    return Imported(len(checked.accepted), known, tuple(sorted(refused)))


def _row(key: str, item: Item, suggested: bool) -> dict[str, object]:
    about = {_heading(name): value for name, value in item.shown.items()} | {_heading(key): item.task.key}
    suggestion = {"suggestion": item.task.suggestion} if suggested else {}
    return {_heading(key): item.task.key, "task": item.task.id, **about, **suggestion, "label": "", "who": ""}


def _heading(column: str) -> str:
    """What a column of the row is called in a sheet, which has some names of its own."""
    return f"row.{column}" if column in OWN else column


def _read_rows(file: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """The rows of a sheet, each with its line; of a Parquet file, with its number."""
    _check_ending(file)
    if not file.is_file():
        raise DataError(f"{file}: no such file.", "Give one that 'homeostat label export' wrote, filled in.")
    return _read_csv(file) if file.suffix == ".csv" else _read_frame(file)


def _read_csv(file: Path) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{file}: not UTF-8 text.", "Save it as CSV in UTF-8.") from None
    header = text.partition("\n")[0]
    csv.field_size_limit(LONGEST_CELL)
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.DictReader(StringIO(text, newline=""), delimiter=delimiter)
    _check_columns(file, reader.fieldnames or [])
    at = reader.line_num
    for row in reader:
        yield at + 1, dict(row)
        at = reader.line_num


def _read_frame(file: Path) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        frame = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_ndjson(file, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as fault:
        why = str(fault).splitlines()[0]
        raise DataError(f"{file}: cannot be read: {why}.", "Write it again as it was exported.") from None
    _check_columns(file, frame.columns)
    made = [canonical_text(name, frame.schema[name]) for name in ("task", "label", "who") if name in frame.columns]
    yield from enumerate(frame.select(made).iter_rows(named=True), 1)


def _check_ending(file: Path) -> None:
    if file.suffix not in ENDINGS:
        raise DataError(f"{file}: cannot tell the format.", "Name a .csv, .parquet or .jsonl file.")


def _check_columns(file: Path, columns: Sequence[str]) -> None:
    for column in ("task", "label"):
        if column not in columns:
            hint = "Fill in a sheet that 'homeostat label export' wrote, and keep its columns."
            raise DataError(f"{file}: no column {column!r}; expected task, label and, if you like, who.", hint)


def _cell(value: object) -> str:
    return "" if value is None or isinstance(value, list) else str(value).strip()
