"""The command that checks the machine."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from homeostat.console.arguments import AsJson, now
from homeostat.console.output import progress_bar, say, say_json, say_table

Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FOLDER]...",
        help="Projects, or folders of projects; without any, the machine and the project in the current folder.",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("doctor")(doctor)


def doctor(folders: Folders = None, as_json: AsJson = False) -> None:
    """Check that this machine can run the loop, and say how to fix what is wrong. Changes nothing."""
    from homeostat.flows.health.examine import examine
    from homeostat.project import PROJECT_FILE

    places = folders or ([Path()] if Path(PROJECT_FILE).is_file() else [])
    with progress_bar("doctor"):
        findings = examine(places, os.environ, now)
    problems = [finding for finding in findings if finding.state == "problem"]
    if as_json:
        say_json({"healthy": not problems, "findings": [asdict(finding) for finding in findings]})
    else:
        rows = [
            (finding.state, finding.name, " ".join(filter(None, (_sentence(finding.message), finding.advice))))
            for finding in findings
        ]
        say_table("The machine" if not places else "The machine and its projects", ("", "check", "result"), rows)
        count = Counter(finding.state for finding in findings)
        passed = f"{count['ok']} of {len(findings)} checks passed"
        say(f"\n{count['problem']} problems, {count['warning']} warnings; {passed}.")
    if problems:
        raise typer.Exit(1)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
