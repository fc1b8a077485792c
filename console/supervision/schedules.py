"""Whether a project's schedule can be read, asked in a process of its own: what reads cron lines is large."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from homeostat.errors import ProjectError
from homeostat.project import load_project

ASK = """
import sys
from homeostat.flows.orchestration.deployments import find_schedule
from homeostat.errors import HomeostatError
from homeostat.project import load_project
try:
    find_schedule(load_project(sys.argv[1]))
except HomeostatError as fault:
    print(fault)
    sys.exit(3)
"""


def require_schedule(folder: Path) -> None:
    """See that the cron line of a project is one. Raises ProjectError."""
    if load_project(folder).schedule.cron is None:
        return
    done = subprocess.run([sys.executable, "-P", "-c", ASK, str(folder)], capture_output=True, text=True)
    if done.returncode == 3:
        raise ProjectError(done.stdout.strip())
