"""Commands about a project itself: write one, check one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from homeostat.console.arguments import HERE, AsJson, Folder, now
from homeostat.console.output import say, say_json, say_table
from homeostat.errors import CheckFailed, HomeostatError

GUESS = ("what", "guess", "why")


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("init")(init)
    app.command("check")(check)


def init(
    data: Annotated[Path, typer.Argument(help="A CSV or Parquet file with inputs and their target.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Where to write homeostat.toml.", show_default="the data's folder")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a project file from a data file; shows what it guessed, never overwrites."""
    from homeostat.pipelines.setup.guess import guess_project
    from homeostat.project import PROJECT_FILE

    if not data.exists():
        raise HomeostatError(f"{data}: no such file.", "Give a CSV or Parquet file with inputs and their target.")
    target = (folder or data.parent) / PROJECT_FILE
    if target.exists():
        raise HomeostatError(
            f"{target}: there is already a project here.", "Give another folder, or move that project away first."
        )
    guess = guess_project(data, target.parent, now())
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(guess.toml, encoding="utf-8")
    if as_json:
        say_json({"file": str(target), "guesses": [dict(zip(GUESS, g, strict=True)) for g in guess.guesses]})
        return
    say_table(f"Guessed from {data}", GUESS, guess.guesses, room=0)
    say(f"\nWrote {target}. Read it, fix what is wrong, then run:")
    place = shlex.quote(str(target.parent))
    say(f"  homeostat check {place}\n  homeostat replay {place}")


def check(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """Check a project: its file, its data and its hooks."""
    from homeostat.flows.loop import require_known_names
    from homeostat.hooks import load_hooks
    from homeostat.pipelines.setup.soundness import check_project
    from homeostat.project import load_project

    project = load_project(folder)
    require_known_names(project)
    findings = check_project(project, load_hooks(project.folder), trial=True)
    errors = [f for f in findings if f.level == "error"]
    if as_json:
        say_json({"sound": not errors, "findings": [[f.level, f.where, f.message] for f in findings]})
    else:
        say_table(
            f"Project {project.name}", ["", "where", "finding"], [(f.level, f.where, f.message) for f in findings]
        )
    if errors:
        fault = CheckFailed("\n".join(f"{project.file}: {f.where}: {f.message}" for f in errors))
        fault.exit_code = 2
        raise fault
