"""Commands for a person's decisions: approval, promotion, rollback, quarantine; journaled with the person's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from homeostat.console.arguments import (
    HERE,
    AsJson,
    Folder,
    FromWhere,
    Why,
    now,
    open_for_changing,
    open_for_reading,
    person,
    split_action,
)
from homeostat.console.output import say, say_json, say_table
from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (approve, reject, promote, rollback, quarantine):
        app.command(command.__name__)(command)


Version = Annotated[int | None, typer.Option(help="The version.", show_default="the one that waits")]


def approve(
    folder: Folder = HERE,
    version: Version = None,
    why: Why = "",
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Approve the challenger that waits: it becomes champion, exactly as compared; journaled with your name."""
    from homeostat.flows.learning import approvals

    loop = open_for_reading(folder, from_)
    verdict = approvals.approve(loop, now(), person(), why, version)
    _tell_champion(loop, verdict.model_version, as_json)


def reject(
    folder: Folder = HERE,
    version: Version = None,
    why: Why = "",
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Reject the challenger that waits for approval, with a reason; journaled with your name."""
    from homeostat.flows.learning import approvals

    loop = open_for_reading(folder, from_)
    closed = approvals.reject(loop, now(), person(), why, version)
    if as_json:
        say_json({"model": loop.paths.model_name, "rejected": closed.version, "champion": loop.version_of("champion")})
    else:
        say(f"Version {closed.version} is rejected; version {loop.version_of('champion')} stays champion.")


def promote(
    folder: Folder = HERE,
    version: Version = None,
    why: Why = "",
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Make a version champion, whatever its comparison showed; journaled with your name."""
    from homeostat.flows.operations import manual

    loop = open_for_reading(folder, from_)
    verdict = manual.promote_version(loop, now(), version, person(), why)
    _tell_champion(loop, verdict.model_version, as_json)


def rollback(
    folder: Folder = HERE,
    to: Annotated[int | None, typer.Option(help="The version.", show_default="the previous champion")] = None,
    why: Why = "",
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Roll back to an earlier version at once; journaled with your name."""
    from homeostat.flows.operations import manual

    loop = open_for_reading(folder, from_)
    verdict = manual.rollback(loop, now(), to, person(), why)
    _tell_champion(loop, verdict.model_version, as_json, " again")


def quarantine(
    action: Annotated[str, typer.Argument(help="list or release")] = "list",
    folder: Folder = HERE,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Only this row; may be repeated.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only rows of this batch.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only rows that broke this rule.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Release all rows that match.")] = False,
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """List rows that broke a stated rule, or release some: they are ingested again with the next batch."""
    from homeostat.flows.operations import manual

    action, folder = split_action(action, folder, ("list", "release"))
    if action == "list":
        _tell_rows(manual.list_quarantine(open_for_reading(folder, from_), ids, batch, rule), as_json)
        return
    if not (ids or batch or rule or everything):
        raise HomeostatError("quarantine release: nothing selected.", "Give --id, --batch, --rule or --all.")
    with open_for_changing(folder, from_) as loop:
        released = manual.release(loop, now(), person(), ids, batch, rule)
    if as_json:
        say_json({"released": released})
    else:
        say(f"Released {released} rows; they are ingested again with the next batch.")


def _tell_champion(loop: Loop, version: int | None, as_json: bool, again: str = "") -> None:
    name = loop.paths.model_name
    if as_json:
        say_json({"model": name, "champion": version})
    else:
        say(f"Version {version} is champion of {name}{again}.")


def _tell_rows(rows: list[dict[str, object]], as_json: bool) -> None:
    if as_json:
        columns = ("row_id", "source", "batch", "rule", "key", "detail", "released", "row")
        say_json([{column: row[column] for column in columns} for row in rows])
        return
    shown = ("row_id", "source", "key", "rule", "released", "detail")
    say_table("Quarantine", ["id", "source", "key", "rule", "released", "detail"],
              [[row[column] for column in shown] for row in rows])  # fmt: skip
