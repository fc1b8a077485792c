"""Commands that run a loop over history: replay, and the demonstration on a year of flights."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from homeostat.console.arguments import HERE, AsJson, Folder, instant_option
from homeostat.console.output import progress_bar, say, say_facts, say_json
from homeostat.errors import HomeostatError

Fresh = Annotated[bool, typer.Option("--fresh", help="Discard the last replay and start over.")]
NoPrefect = Annotated[
    bool, typer.Option("--no-prefect", help="Run the same stages without recording flow runs in Prefect.")
]
FLIGHTS = Path(__file__).resolve().parents[2] / "examples" / "flights"


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
        return
    _tell(folder, summary)
    if adopt:
        say("The end of the replay is now the live state.")


def demo(fresh: Fresh = False, no_prefect: NoPrefect = False, as_json: AsJson = False) -> None:
    """A year of real flights through the whole loop: will a flight arrive more than 15 minutes late?"""
    if not FLIGHTS.is_dir():
        raise HomeostatError(f"{FLIGHTS}: the example is not there.", "Run from a checkout of the project.")
    summary = _replay(FLIGHTS, fresh, None, not no_prefect)
    say_json(summary) if as_json else _tell(FLIGHTS, summary)


def _replay(folder: Path, fresh: bool, until: datetime | None, with_prefect: bool) -> dict[str, Any]:
    from homeostat.flows.orchestration.replay_runs import orchestrated_replay
    from homeostat.project import load_project

    with progress_bar(f"replay {load_project(folder).name}") as tell:
        return orchestrated_replay(folder, fresh=fresh, until=until, progress=tell, with_prefect=with_prefect)


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
    say_facts(f"Replay of {summary['project']}", facts)
    paths = find_paths(load_project(folder), Scope.REPLAY)
    say(f"\nReport   {paths.root / 'report.html'}")
    say(f"MLflow   mlflow ui --backend-store-uri {shlex.quote(paths.tracking_uri)}")
    if paths.prefect_home.exists():
        say(f"Prefect  PREFECT_HOME={shlex.quote(str(paths.prefect_home))} prefect server start")
