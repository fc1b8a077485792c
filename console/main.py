"""The entry point of the command line: every command, and how errors are reported."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

# Before any library starts OpenMP: its threads would spin while they wait, and on a busy machine starve each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import typer

from homeostat.console.arguments import now
from homeostat.console.commands import (
    access,
    backtest,
    deploy,
    doctor,
    inspect,
    loop,
    person,
    project,
    replay,
    services,
)
from homeostat.console.commands import alerts as commands_alerts
from homeostat.console.commands import label as commands_label
from homeostat.console.faults import keep_native_noise, record_fault
from homeostat.console.output import say_error
from homeostat.errors import HomeostatError, is_disk_full

STOPPED = 130

app = typer.Typer(
    name="homeostat",
    help="Keep a tabular model accurate in production: score, join labels, detect decay, retrain when it pays.",
    epilog="Exit codes: 0 done; 1 a check or a gate failed, or an internal error, whose traceback is in "
    "faults.log in the project's state folder; 2 a mistake that you can fix; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for module in (
    project, replay, backtest, loop, person, commands_label,
    inspect, commands_alerts, services, deploy, access, doctor,
):  # fmt: skip
    module.add_to(app)


def main() -> None:
    """Run the command line; a mistake is one line on standard error and an exit code, never a traceback."""
    keep_native_noise()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as end:
        # The library turns a closed pipe into a failure.
        code = _tell(end.__context__) if isinstance(end.__context__, BrokenPipeError) else end.code
    except BaseException as fault:
        code = _tell(fault)
    if code == STOPPED:
        say_error("interrupted. Nothing is lost; run the same command to continue.")
    sys.exit(code if isinstance(code, int) else 0)


def _tell(fault: BaseException) -> int:
    if isinstance(fault, HomeostatError):
        say_error(str(fault))
        return fault.exit_code
    if isinstance(fault, KeyboardInterrupt):
        return STOPPED
    if isinstance(fault, BrokenPipeError):
        # The reader of our output is gone; the interpreter must not fail once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if hasattr(fault, "format_message"):
        return _tell_usage(fault)
    if is_disk_full(fault):
        say_error("no space is left on the disk. Make room, then run the same command to continue.")
        return 2
    if isinstance(fault, OSError) and fault.filename:
        say_error(f"{fault.filename}: {fault.strerror or fault}.")
        return 2
    return _tell_unexpected(fault)


def _tell_usage(fault: Any) -> int:
    command = fault.ctx.command_path if fault.ctx is not None else "homeostat"
    message = fault.format_message().replace("Value error, ", "").rstrip(".")
    if message:
        say_error(f"{message}. See '{command} --help'.")
    return fault.exit_code


def _tell_unexpected(fault: BaseException) -> int:
    log = record_fault(fault, sys.argv[1:], now())
    reason = (str(fault).strip().splitlines() or ["no reason given"])[0][:300].rstrip(".")
    where = f"Its traceback is in {log}; please report it." if log else "Its traceback could not be saved."
    say_error(f"internal error: {type(fault).__name__}: {reason}. {where}")
    return 1


if __name__ == "__main__":
    main()
