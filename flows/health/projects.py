"""The projects: are they sound, can their alerts reach anybody, and was work done lately.

`python -m homeostat.flows.health.projects FOLDER` prints what `homeostat check` finds, as JSON. It is a process of its
own, for a project's hooks are somebody's code and its data may be long: it can be ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from homeostat.durations import instant
from homeostat.errors import HomeostatError, StoreError
from homeostat.flows.health.findings import Clock, Finding, State
from homeostat.flows.health.memory import tell_lease
from homeostat.installation import Found
from homeostat.monitoring.alerts import can_read
from homeostat.project import Project
from homeostat.records import Scope
from homeostat.settings import find_paths

if TYPE_CHECKING:
    from homeostat.flows.health.problems import Problem
    from homeostat.store import Store

MOST_SHOWN = 3
STATES: dict[str, State] = {"error": "problem", "warning": "warning"}


def check_soundness(listed: Found, seconds: float) -> list[Finding]:
    """Whether a project is sound, its data and hooks included where that can be said within so many seconds."""
    name = f"project {listed.project.name if listed.project else listed.folder.name}"
    if listed.project is None:
        return [Finding(name, "problem", str(listed.problem), "Fix that file; then 'homeostat check' says more.")]
    advice = f"See 'homeostat check {listed.folder}'."
    command = [sys.executable, "-m", "homeostat.flows.health.projects", str(listed.folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        findings = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return [Finding(name, "ok", f"its file is sound; its data take longer than {seconds:.0f} s to read", advice)]
    except (ValueError, IndexError):
        return [Finding(name, "problem", "its check broke down", advice)]
    for level, state in STATES.items():
        if texts := [f"{where}: {message}" for severity, where, message in findings if severity == level]:
            more = f"; and {len(texts) - MOST_SHOWN} more" if len(texts) > MOST_SHOWN else ""
            return [Finding(name, state, "; ".join(texts[:MOST_SHOWN]) + more, advice)]
    return [Finding(name, "ok", "; ".join(message for _, _, message in findings))]


def check_routes(project: Project, environ: Mapping[str, str]) -> list[Finding]:
    """Whether each variable that `[notify]` names holds an address that Apprise can read; addresses are never shown."""
    name = f"alerts of {project.name}"
    wanted = sorted({variable for variables in project.notify.routes.values() for variable in variables})
    if not wanted:
        return [Finding(name, "ok", "they go to the inbox and the log alone")]
    unset = [variable for variable in wanted if not environ.get(variable, "").strip()]
    if unset:
        advice = f"Put an Apprise address in each, where the loop runs, or take them out of {project.file}."
        return [Finding(name, "problem", f"{', '.join(unset)}: not set, so alerts reach nobody", advice)]
    wrong = [variable for variable in wanted if not can_read(environ[variable])]
    if wrong:
        advice = "See https://github.com/caronc/apprise/wiki for the form of addresses."
        return [Finding(name, "problem", f"{', '.join(wrong)}: not an address that Apprise can read", advice)]
    return [Finding(name, "ok", f"by {', '.join(wanted)}")]


def check_work(project: Project, clock: Clock) -> list[Finding]:
    """Who works on a live project, and what is wrong with its loop. Opens a store that is up to date alone."""
    from homeostat.store import Store
    from homeostat.store.engine import look_at

    paths, name = find_paths(project, Scope.LIVE), f"work of {project.name}"
    try:
        standing = look_at(paths.store_url)
    except StoreError:
        return [Finding(name, "ok", "not looked at: the store cannot be reached")]
    if not standing.exists or standing.revision is None:
        return [Finding(name, "ok", "it has not begun to live")]
    if standing.revision != standing.wanted:
        return [Finding(name, "ok", "not looked at: the store is at another migration")]
    store = Store(paths.store_url, paths.model_name)
    lease = tell_lease(project.name, store.get_lease("work"), clock)
    return [*_of_loop(name, project, store, clock()), *lease]


def _of_loop(name: str, project: Project, store: Store, now: datetime) -> list[Finding]:
    """What is wrong with the loop, as `homeostat status` says it; how its work goes where nothing is."""
    from homeostat.flows.health.problems import find_problems

    last = store.last_tick("notify")
    if last is None:
        return [Finding(name, "ok", "it has not ticked yet")]
    found = find_problems(project, store, now, replaying=False)
    if not found:
        return [Finding(name, "ok", f"the newest tick is of {instant(last)}")]
    return [Finding(name, "problem", _with_since(problem), problem.advice) for problem in found]


def _with_since(problem: Problem) -> str:
    return problem.message if problem.since is None else f"{problem.message} (since {problem.since:%Y-%m-%d %H:%M} UTC)"


def main() -> None:
    """Print what the soundness check finds of the project in the folder that is named."""
    from homeostat.flows.loop import require_known_names
    from homeostat.hooks import load_hooks
    from homeostat.pipelines.setup.soundness import check_project
    from homeostat.project import load_project

    try:
        project = load_project(Path(sys.argv[1]))
        require_known_names(project)
        findings = [[f.level, f.where, f.message] for f in check_project(project, load_hooks(project.folder))]
    except HomeostatError as fault:
        findings = [["error", "project", str(fault)]]
    print(json.dumps(findings))


if __name__ == "__main__":
    main()
