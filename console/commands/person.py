"""Commands for a person's decisions: approval, promotion, rollback, quarantine; journaled with the person's name."""

from __future__ import annotations

import sys
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
from homeostat.durations import instant
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
    lift: Annotated[bool, typer.Option("--lift", help="Let the loop promote by itself again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    why: Why = "",
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Roll back to an earlier version at once and hold it there, or lift that; journaled with your name."""
    from homeostat.flows.operations import manual

    loop = open_for_reading(folder, from_)
    if lift:
        _lift(loop, to, why, as_json)
        return
    champion, target = manual.plan_rollback(loop, to)
    if not as_json:
        _confirm(loop, champion, target, sure=yes)
    verdict = manual.rollback(loop, now(), target, person(), why)
    _tell_champion(loop, verdict.model_version, as_json, " again")
    if not as_json:
        say(f"{verdict.reasons[-1].capitalize()}.")


def _lift(loop: Loop, to: int | None, why: str, as_json: bool) -> None:
    from homeostat.flows.learning import holds

    if to is not None:
        raise HomeostatError("rollback: --lift and --to exclude each other.", "Give one of them.")
    hold = holds.lift(loop, now(), person(), why)
    if as_json:
        say_json({"model": loop.paths.model_name, "lifted": hold.version, "champion": loop.version_of("champion")})
    else:
        say(f"The rollback to version {hold.version} no longer holds: the loop promotes by the project's gates again.")


def _confirm(loop: Loop, champion: int, target: int, *, sure: bool) -> None:
    """Name what goes and what comes back; at a terminal, ask first. Raises HomeostatError where the answer is no."""
    say(f"Version {_with_time(loop, champion)} goes; version {_with_time(loop, target)} comes back.")
    if sys.stdin.isatty() and not sure and not typer.confirm("Roll back?"):
        raise HomeostatError("rollback: nothing was changed.", "Name another version with --to.")


def _with_time(loop: Loop, version: int) -> str:
    record = loop.store.get_model(version)
    if record is None:
        return str(version)
    since = "never champion" if record.promoted_at is None else f"champion since {instant(record.promoted_at)}"
    return f"{version} (trained {instant(record.as_of)}, {since})"


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
