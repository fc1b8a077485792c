"""Who may use the pages and the API: people, roles and tokens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homeostat.console.arguments import AsJson, now
from homeostat.console.output import say, say_json, say_table
from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from homeostat.console.web.security.users import Entry

Name = Annotated[str, typer.Argument(help="The name of the person, as in the journal.")]
Folders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FOLDER]...", help="The projects, as for 'homeostat up'.", show_default="the current one"),
]

access = typer.Typer(help="Who may use the pages and the API: people, roles and tokens.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(access, name="access")


@access.command()
def add(
    name: Name,
    folders: Folders = None,
    role: Annotated[str, typer.Option(help="viewer, annotator, approver or admin")] = "viewer",
    no_token: Annotated[bool, typer.Option("--no-token", help="Without a token: a proxy says who they are.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a person and print their token, once: only its digest is kept."""
    from homeostat.console.web.security.roles import parse_role
    from homeostat.console.web.security.users import make_token, new_entry

    token, digest = (None, None) if no_token else make_token()
    entry = new_entry(name, parse_role(role, "--role"), digest, now())
    with _changing(folders) as (file, people):
        if name in people:
            raise HomeostatError(f"{name} is already in {file}.", "'homeostat access renew' gives a new token.")
        people[name] = entry
    _tell_token(entry, token, as_json)


@access.command()
def renew(name: Name, folders: Folders = None, as_json: AsJson = False) -> None:
    """Give a person a new token; the old one and all sessions made with it end at once."""
    from homeostat.console.web.security.users import make_token, new_entry

    token, digest = make_token()
    with _changing(folders, name) as (_, people):
        people[name] = new_entry(name, people[name].person.role, digest, now())
    _tell_token(people[name], token, as_json)


@access.command()
def remove(name: Name, folders: Folders = None, as_json: AsJson = False) -> None:
    """Remove a person; their access ends at once."""
    with _changing(folders, name) as (_, people):
        del people[name]
    say_json({"removed": name}) if as_json else say(f"{name} is removed.")


@access.command("role")
def change_role(
    name: Name,
    role: Annotated[str, typer.Argument(help="viewer, annotator, approver or admin")],
    folders: Folders = None,
    as_json: AsJson = False,
) -> None:
    """Change the role of a person, at once; their token stays."""
    from dataclasses import replace

    from homeostat.console.web.security.roles import Person, parse_role

    person = Person(name, parse_role(role, "ROLE"))
    with _changing(folders, name) as (_, people):
        people[name] = replace(people[name], person=person)
    say_json(_facts(people[name])) if as_json else say(f"{name} is {role}.")


@access.command("list")
def list_people(folders: Folders = None, as_json: AsJson = False) -> None:
    """List everybody who may use the pages and the API."""
    from homeostat.console.web.security.users import read_people

    file = _find(folders)
    rows = [_facts(entry) for entry in read_people(file).values()]
    if as_json:
        say_json({"file": str(file), "people": rows})
        return
    say_table("Access", ["name", "role", "token", "created"], [list(row.values()) for row in rows])


def _find(folders: list[Path] | None) -> Path:
    from homeostat.console.web.security.settings import access_file
    from homeostat.installation import find_installation

    # A file that is named needs no installation around it.
    named = os.environ.get("HOMEOSTAT_ACCESS")
    return access_file(Path() if named else find_installation(folders or [Path()]).root, os.environ)


@contextmanager
def _changing(folders: list[Path] | None, name: str | None = None) -> Iterator[tuple[Path, dict[str, Entry]]]:
    """The access file and its people, who are written back; one process at a time. `name` must be one of them."""
    from filelock import FileLock

    from homeostat.console.web.security.users import read_people, write_people

    file = _find(folders)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        people = read_people(file)
        if name is not None and name not in people:
            raise HomeostatError(f"{file}: there is no {name!r}.", "'homeostat access list' shows everybody.")
        yield file, people
        write_people(file, people)


def _facts(entry: Entry) -> dict[str, object]:
    role = entry.person.role.name.lower()
    return {"name": entry.person.name, "role": role, "token": entry.digest is not None, "created": entry.created}


def _tell_token(entry: Entry, token: str | None, as_json: bool) -> None:
    if as_json:
        say_json({**_facts(entry), "token": token})
    elif token is None:
        say(f"{entry.person.name} is {entry.person.role.name.lower()}, without a token.")
    else:
        say(f"{entry.person.name} is {entry.person.role.name.lower()}. Their token, which is shown only once:")
        say(token)
