"""Does a change leave every prediction and every decision as it was? Export both, before and after, and compare them.

    python benchmarks/same_decisions.py run --out before PROJECT ...
    python benchmarks/same_decisions.py compare before after [--renamed old=new ...]

`run` replays each project afresh, with whatever release of Homeostat is installed beside the interpreter, and exports
its predictions and decisions into the folder of `--out`. `compare` sets the exports of two folders against each other:
predictions by key and role, their scores to the last bit, and the kinds of decisions by tick and stage. It
prints how many differ and the first of them, and exits with 1 where any does. `--renamed` names a kind of decision that
was renamed on purpose.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

PREDICTIONS, DECISIONS = ".predictions.parquet", ".decisions.jsonl"
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one pair of files says: `rows` on both sides together, and the rows that only one has or that differ."""

    name: str
    rows: int
    missing: pl.DataFrame
    added: pl.DataFrame
    changed: pl.DataFrame

    @property
    def differences(self) -> int:
        """How many rows are not the same."""
        return self.missing.height + self.added.height + self.changed.height


def compare_rows(name: str, before: pl.DataFrame, after: pl.DataFrame, key: Sequence[str]) -> Comparison:
    """Compare two frames of the same columns by `key`, unique in each; values must be equal, NaN equals NaN."""
    for side, frame in (("before", before), ("after", after)):
        if frame.select(pl.struct(key).is_duplicated().any()).item():
            raise SystemExit(f"{name}: {side}: {', '.join(key)} name a row twice.")
    if before.schema != after.schema:
        raise SystemExit(f"{name}: the columns differ: {dict(before.schema)} and {dict(after.schema)}.")
    both = before.join(after, on=key, how="inner", suffix=" after", nulls_equal=True)
    values = [column for column in before.columns if column not in key]
    differs = [~pl.col(column).eq_missing(pl.col(f"{column} after")) for column in values]
    return Comparison(
        name,
        before.height + after.height - both.height,
        missing=before.join(after, on=key, how="anti", nulls_equal=True).sort(key),
        added=after.join(before, on=key, how="anti", nulls_equal=True).sort(key),
        changed=both.filter(pl.any_horizontal(differs)).sort(key) if values else both.clear(),
    )


def compare_predictions(name: str, before: pl.DataFrame, after: pl.DataFrame) -> Comparison:
    """Compare exported predictions by the project's key, which is the first column, and by role."""
    given = ["role", "event_at", "batch", "model_version", "prediction"]

    def chosen(frame: pl.DataFrame) -> pl.DataFrame:
        scores = sorted(column for column in frame.columns if column == "score" or column.startswith("score_"))
        return frame.select(frame.columns[0], *given, *scores)

    return compare_rows(name, chosen(before), chosen(after), [before.columns[0], "role"])


def compare_decisions(
    name: str, before: pl.DataFrame, after: pl.DataFrame, renamed: Mapping[str, str] | None = None
) -> Comparison:
    """Compare exported decisions by tick and stage; `renamed` says which kinds have another name after."""
    columns = ["tick", "stage", "kind", "model_version"]
    mapped = before.select(columns).with_columns(pl.col("kind").replace(dict(renamed or {})))
    return compare_rows(name, mapped, after.select(columns), ["tick", "stage"])


def compare_folders(before: Path, after: Path, renamed: Mapping[str, str]) -> list[Comparison]:
    """Compare every export of one folder with that of the same name in the other."""
    names = [{path.name for path in folder.iterdir()} for folder in (before, after)]
    both = sorted(name for name in names[0] | names[1] if name.endswith((PREDICTIONS, DECISIONS)))
    if not both:
        raise SystemExit(f"{before}: no *{PREDICTIONS} and no *{DECISIONS} to compare.")
    if lone := [name for name in both if not all(name in side for side in names)]:
        raise SystemExit(f"{', '.join(lone)}: only in one of {before} and {after}.")
    return [compare_files(before / name, after / name, renamed) for name in both]


def compare_files(before: Path, after: Path, renamed: Mapping[str, str]) -> Comparison:
    """Compare two exports of the same kind, told by how their names end."""
    if before.name.endswith(DECISIONS):
        read = [pl.read_ndjson(path, infer_schema_length=None) for path in (before, after)]
        return compare_decisions(before.name, *read, renamed)
    return compare_predictions(before.name, pl.read_parquet(before), pl.read_parquet(after))


def report(found: Iterable[Comparison]) -> Iterable[str]:
    """A line for each pair of files, and the first rows that are not the same."""
    for each in found:
        counts = f"{len(each.missing)} missing, {len(each.added)} added, {len(each.changed)} changed"
        yield f"{each.name}: {each.rows:,} rows, {counts if each.differences else 'all the same'}"
        for what in ("missing", "added", "changed"):
            for row in getattr(each, what).head(SHOWN).to_dicts():
                yield f"  {what}: {row}"


def run(projects: Iterable[Path], out: Path, program: Path = Path(sys.executable).with_name("homeostat")) -> None:
    """Replay each project afresh, and export what came of it."""
    out.mkdir(parents=True, exist_ok=True)
    for project in projects:
        subprocess.run([program, "replay", project, "--fresh", "--no-prefect"], check=True)
        for what, ending in (("predictions", PREDICTIONS), ("decisions", DECISIONS)):
            file = out / f"{project.resolve().name}{ending}"
            subprocess.run([program, "export", what, project, "--from", "replay", "--out", file], check=True)


def read_words(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    replaying = commands.add_parser("run", help="replay projects and export what came of it")
    replaying.add_argument("projects", nargs="+", type=Path)
    replaying.add_argument("--out", type=Path, required=True)
    comparing = commands.add_parser("compare", help="compare the exports of two folders")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    comparing.add_argument("--renamed", action="append", default=[], metavar="OLD=NEW")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 where something is not the same."""
    asked = read_words(words)
    if asked.command == "run":
        run(asked.projects, asked.out)
        return 0
    renamed = dict(pair.split("=", 1) for pair in asked.renamed)
    found = compare_folders(asked.before, asked.after, renamed)
    print("\n".join(report(found)))
    return 1 if any(each.differences for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
