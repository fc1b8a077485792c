"""The command that compares retraining policies on a project's own history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from homeostat.console.arguments import HERE, AsJson, Folder, instant_option
from homeostat.console.output import progress_bar, say, say_json, say_table

COLUMNS = ("Policy", "Metric", "Gain", "±95%", "Fits", "Cost", "Row-rounds", "CPU", "Alarms")


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("backtest")(backtest)


def backtest(
    folder: Folder = HERE,
    until: Annotated[str | None, typer.Option(help="Stop at the last tick not after this time (ISO, UTC).")] = None,
    policy: Annotated[list[str] | None, typer.Option("--policy", help="A policy to run; may be repeated.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the recommended settings into the project file.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare retraining policies on history, with labels at their true lag and the same learner, and recommend one."""
    from homeostat.flows.backtest.run import backtest as run
    from homeostat.project import load_project

    with progress_bar(f"backtest {load_project(folder).name}") as tell:
        summary = run(folder, until=instant_option("--until", until), policies=policy or (), progress=tell)
    written = _write(folder, summary) if write else None
    if as_json:
        say_json(summary | ({"written": written} if write else {}))
        return
    _tell(folder, summary)
    if write:
        _tell_written(folder, summary, bool(written))


def _write(folder: Path, summary: dict[str, Any]) -> bool:
    from homeostat.editing import write_setting

    return write_setting(folder, "retraining", summary["recommended"]["setting"])


def _tell(folder: Path, summary: dict[str, Any]) -> None:
    from homeostat.project import load_project
    from homeostat.settings import state_folder

    chosen = summary["recommended"]
    learner = f"{summary['learner']['family']}, {summary['learner']['rounds']} rounds"
    title = f"Policies on {summary['project']}: {summary['metric']}, {len(summary['ticks'])} ticks, {learner}"
    say_table(title, COLUMNS, [_cells(policy) for policy in summary["policies"]], room=0)
    if any(policy["setting"] is None for policy in summary["policies"]):
        say("* only for comparison: it cannot be set in a project file")
    say(f"\nRecommended  {chosen['policy']}")
    for reason in chosen["reasons"]:
        say(f"  {reason}")
    say(f"\nReport   {state_folder(load_project(folder)) / 'backtest' / 'report.html'}")


def _cells(policy: dict[str, Any]) -> list[Any]:
    from homeostat.monitoring.report.story import count

    around, relative, seconds = policy["gain_a_tick"], policy["relative_cost"], policy["training_cpu_seconds"]
    return [
        policy["policy"] + ("" if policy["setting"] is not None else "*"),
        None if policy["metric"] is None else f"{policy['metric']:.4f}",
        None if policy["gain"] is None else f"{policy['gain']:+.4f}",
        None if around is None else f"{(around[2] - around[1]) / 2:.4f}",
        policy["fits"],
        None if relative is None else f"{relative:.3f}",
        count(policy["row_rounds"]),
        f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.1f} s",
        policy["triggers"],
    ]


def _tell_written(folder: Path, summary: dict[str, Any], changed: bool) -> None:
    from homeostat.project import load_project

    setting = ", ".join(f"{key} = {value!r}" for key, value in summary["recommended"]["setting"].items())
    file = load_project(folder).file
    say(f"{file}: [retraining] {'is now' if changed else 'is already'} {setting}")
    if changed:
        say("An existing replay has to be started over with 'replay --fresh'.")
