"""Commands that run services: `up`, `down`, `status`, `logs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeostat.console.arguments import HERE, AsJson, FromWhere, now
from homeostat.console.output import out, progress_bar, say, say_facts, say_json, say_table
from homeostat.errors import CheckFailed, HomeostatError

if TYPE_CHECKING:
    from homeostat.console.supervision.notes import Note
    from homeostat.console.supervision.services import Wishes
    from homeostat.console.supervision.standing import Standing
    from homeostat.installation import Installation

Folders = Annotated[
    list[Path] | None,
    typer.Argument(help="A project's folder, or a folder of projects; may be several.", show_default="the current one"),
]


class Kind(StrEnum):
    """The services that `up` runs."""

    PREFECT = "prefect"
    MLFLOW = "mlflow"
    CONSOLE = "console"
    RUNNER = "runner"


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (up, down, status, logs):
        app.command(command.__name__)(command)


def up(
    folders: Folders = None,
    host: Annotated[
        str, typer.Option(help="The address the console listens on; all other services stay on loopback.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="The console's port.", show_default="8321, or a free one where that is taken")
    ] = None,
    only: Annotated[list[Kind] | None, typer.Option(help="Run only this service; may be repeated.")] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in the background, and return once all services are healthy.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the services of projects until Ctrl-C: Prefect, MLflow, the web console, and the runner of their schedules.

    A service that dies is started again. Servers that PREFECT_API_URL and MLFLOW_TRACKING_URI name are used instead of
    its own.
    """
    from homeostat.console.supervision.services import Wishes

    installation = _begin(folders)
    kinds = tuple(dict.fromkeys(kind.value for kind in only or ()))
    if detach:
        _up_detached(installation, Wishes(host, port, kinds), as_json)
    else:
        _up_here(installation, Wishes(host, port, kinds), as_json)


def down(folders: Folders = None, as_json: AsJson = False) -> None:
    """Stop the services of these projects, and wait until all have ended."""
    from homeostat.console.supervision.detached import end

    installation, notes = _meet(folders or [HERE])
    running = [note for note in notes if note.runs]
    for note in running:
        _require_own(note, installation)
        end(note)
    for note in notes:
        note.file.unlink(missing_ok=True)
    if as_json:
        say_json({"ended": [note.content.get("pid") for note in running]})
    elif running:
        say(f"{_title(installation)} is down.")
    else:
        say(f"{_title(installation)}: nothing is running.")


def status(folders: Folders = None, as_json: AsJson = False, from_: FromWhere = None) -> None:
    """Show the status of projects: champion, newest window, waiting work, services, and whether all is healthy."""
    from homeostat.console.supervision.standing import (
        add_problems,
        list_problems,
        list_services,
        stand_of_all,
        stand_of_project,
    )
    from homeostat.project import PROJECT_FILE

    places = folders or [HERE]
    installation, notes = _meet(places)
    if len(places) == 1 and (installation.places[0] / PROJECT_FILE).is_file():
        standing = stand_of_project(places[0], from_, notes, now())
        standing = add_problems(standing, list_problems(notes)) | {"services": list_services(notes)}
    else:
        standing = stand_of_all(installation.places, from_, notes, now())
    if as_json:
        say_json(standing)
    else:
        _tell_status(standing)
    if not standing["healthy"]:
        reasons = [f"{p['project']}: {'; '.join(p['problems'])}" for p in standing.get("projects", ()) if p["problems"]]
        raise CheckFailed(f"not healthy: {'; '.join([*standing['problems'], *reasons]).rstrip('.')}.")


def logs(
    service: Annotated[str, typer.Argument(help="A service: prefect, mlflow, console, runner, ...; without it, all.",
                                           show_default=False)] = "all",
    folder: Annotated[Path, typer.Argument(help="A project's folder, or a folder of projects.",
                                           show_default="the current one")] = HERE,
    lines: Annotated[int, typer.Option(min=0, help="How many of the newest lines of each service to show.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Keep printing new lines, until Ctrl-C.")] = False,
) -> None:  # fmt: skip
    """Print the logs of the services of `up`; each line with its service where several are shown."""
    from homeostat.console.supervision.logs import follow_logs, last_lines, list_logs

    if Path(service).is_dir() and folder == HERE and service != "all":
        service, folder = "all", Path(service)
    installation, notes = _meet([folder])
    roots = {note.root for note in notes} or {installation.root}
    known = {name: file for root in sorted(roots) for name, file in list_logs(root).items()}
    if service != "all" and service not in known:
        there = f"There are: {', '.join(known)}." if known else "Run 'homeostat up' first."
        raise HomeostatError(f"{service!r}: no log of such a service.", there)
    chosen = known if service == "all" else {service: known[service]}
    width = max(map(len, chosen), default=0)
    for name, file in chosen.items():
        for line in last_lines(file, lines):
            _say_line(name if len(chosen) > 1 else "", width, line)
    if follow:
        with suppress(KeyboardInterrupt):
            for name, line in follow_logs(chosen):
                _say_line(name if len(chosen) > 1 else "", width, line)


def _begin(folders: list[Path] | None) -> Installation:
    """The installation that is to run; one without a project yet only where a person named its folder."""
    from homeostat.installation import find_installation, list_projects
    from homeostat.project import load_project

    installation = find_installation(folders or [HERE])
    if not folders and not list_projects(installation.places):
        load_project(HERE)
    return installation


def _meet(folders: list[Path]) -> tuple[Installation, list[Note]]:
    """An installation and what runs of it. Raises HomeostatError where there is neither a project nor a service."""
    from homeostat.console.supervision.notes import find_notes, locate
    from homeostat.installation import list_projects
    from homeostat.project import load_project

    installation, notes = locate(folders), find_notes(folders)
    if not notes and not list_projects(installation.places):
        load_project(folders[0])
    return installation, notes


def _title(installation: Installation) -> str:
    from homeostat.console.supervision.board import name_projects
    from homeostat.installation import list_projects

    return name_projects(installation, list_projects(installation.places))


def _up_here(installation: Installation, wishes: Wishes, as_json: bool) -> None:
    from homeostat.console.supervision import notes
    from homeostat.console.supervision.board import Board, name_projects
    from homeostat.console.supervision.schedules import require_schedule
    from homeostat.console.supervision.screen import LiveScreen, PlainScreen, live_on
    from homeostat.console.supervision.services import plan_late_services, plan_services
    from homeostat.console.supervision.supervisor import Supervisor
    from homeostat.installation import list_projects, write_mark
    from homeostat.project import PROJECT_FILE

    single = len(installation.places) == 1 and (installation.places[0] / PROJECT_FILE).is_file()
    title = name_projects(installation, list_projects(installation.places))
    with ExitStack() as held:
        notes.hold(installation.root, wishes.only, title, held)
        if single:
            require_schedule(installation.places[0])
        else:
            write_mark(installation)
        services, key = plan_services(installation, list_projects(installation.places), wishes, held)
        late = partial(plan_late_services, installation, held)
        supervisor = Supervisor(installation, services, notes.note_file(installation.root, wishes.only), late)
        live = out.is_terminal and not as_json
        console = next((service.url for service in services if service.name == "console"), None)
        board = Board(installation, console if live else None, key)
        if live:
            with live_on(out) as place:
                supervisor.run(LiveScreen(title, supervisor.keepers, board, place), board)
        else:
            supervisor.run(PlainScreen(title, supervisor.keepers, board, supervisor.describe, as_json), board)
    if not as_json:
        say(f"{title} is down.")


def _up_detached(installation: Installation, wishes: Wishes, as_json: bool) -> None:
    from homeostat.console.supervision.detached import start_detached
    from homeostat.console.supervision.notes import note_file
    from homeostat.console.titles import title_of

    arguments = ["--host", wishes.host, *(["--port", str(wishes.port)] if wishes.port is not None else [])]
    arguments += [word for kind in wishes.only for word in ("--only", kind)]
    title = _title(installation)
    with progress_bar(f"up {title}") as tell:
        note = start_detached(
            [*arguments, "--", *map(str, installation.places)], note_file(installation.root, wishes.only), tell
        )
    if as_json:
        say_json(note.content)
        return
    urls = {title_of(name): service["url"] for name, service in note.services.items() if service["url"]}
    say_facts(f"{title} is up in the background; 'homeostat down' stops it", urls)


def _require_own(note: Note, installation: Installation) -> None:
    if note.root != installation.root:
        places = " ".join(map(str, note.places))
        raise HomeostatError(
            f"{_title(installation)} runs together with other projects.", f"'homeostat down {places}' stops them."
        )


def _tell_status(standing: Standing) -> None:
    projects = standing.get("projects")
    if projects is None:
        hidden = {"project", "scope", "services", "problems", "problem_details"}
        scope = f" ({standing['scope']})" if "scope" in standing else ""
        say_facts(f"{standing['project']}{scope}", {k: v for k, v in standing.items() if k not in hidden})
        _tell_problems(standing["problem_details"])
    else:
        say_table("Projects", ["project", "healthy", "champion", "last tick (UTC)", "problems"],
                  [(p["project"], p["healthy"], p.get("champion"), p.get("last_tick"), len(p["problems"]))
                   for p in projects])  # fmt: skip
        _tell_problems([{"of": p["project"], **item} for p in projects for item in p["problem_details"]])
    if standing["services"]:
        say_table("Services", ["service", "state", "restarts", "address", "problem"],
                  [(name, *map(s.get, ("state", "restarts", "url", "problem")))
                   for name, s in standing["services"].items()],
                  room=0)  # fmt: skip


def _tell_problems(problems: Sequence[Mapping[str, Any]]) -> None:
    """Each problem with since when and what to do."""
    if not problems:
        return
    say("\nProblems")
    for item in problems:
        of = f"{item['of']}: " if "of" in item else ""
        since = f" (since {item['since']:%Y-%m-%d %H:%M} UTC)" if item["since"] else ""
        say(f"  {of}{item['message']}{since}")
        if item["advice"]:
            say(f"      {item['advice']}")


def _say_line(name: str, width: int, line: str) -> None:
    say(f"{name:<{width}}  {line}" if name else line)
