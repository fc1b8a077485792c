"""The command line's door: every command, and what happens to a mistake."""

from __future__ import annotations

import os
import sys

# Before any library starts OpenMP: its threads would spin while they wait, and on a busy machine starve each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import typer

from console import commands_inspect, commands_loop, commands_project, commands_replay
from console.output import say_error
from homeostat.errors import HomeostatError

app = typer.Typer(
    name="homeostat",
    help="Keep a tabular model good in production: score, join the truth, notice decay, retrain when it pays.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for module in (commands_project, commands_loop, commands_replay, commands_inspect):
    module.add_to(app)


def main() -> None:
    """Run the command line; a mistake is one line on standard error and an exit code, never a traceback."""
    try:
        app()
    except HomeostatError as fault:
        say_error(str(fault))
        sys.exit(fault.exit_code)
    except KeyboardInterrupt:
        say_error("stopped; nothing is lost, the same command goes on from here.")
        sys.exit(130)
    except OSError as fault:
        say_error(f"{fault.filename or 'the disk'}: {fault.strerror or fault}.")
        sys.exit(2)
