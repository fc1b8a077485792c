"""The servers and `homeostat up`: do they answer, do they fit, and does the scheduler do its work."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from homeostat.flows.health.findings import Clock, Finding, State
from homeostat.flows.health.machine import is_alive, tell_skew

ANSWER_SECONDS = 3
BEAT_SECONDS = 60
GRACE = timedelta(minutes=3)
STATES: dict[str, State] = {"healthy": "ok", "adopted": "ok", "starting": "warning"}


def shown(url: str) -> str:
    """A URL without user, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def check_mlflow(uri: str, clock: Clock) -> list[Finding]:
    """Whether an MLflow server answers, by health and by a question of the kind the loop asks."""
    base = uri.rstrip("/")
    try:
        version, theirs = _ask(f"{base}/version")
        _ask(f"{base}/api/2.0/mlflow/experiments/search", {"max_results": 1})
    except urllib.error.HTTPError as fault:
        return [_refused("mlflow", "MLFLOW_TRACKING_URI", uri, fault)]
    except (OSError, ValueError) as fault:
        return [_silent("mlflow", "MLFLOW_TRACKING_URI", uri, fault)]
    findings = [Finding("mlflow", "ok", f"{shown(uri)} answers, version {version}"), _skew("mlflow", theirs, clock)]
    ours = metadata.version("mlflow")
    if str(version).split(".")[0] != ours.split(".")[0]:
        advice = f"Run the server of mlflow {ours}."
        findings[0] = Finding("mlflow", "warning", f"{shown(uri)} is {version}, ours is {ours}", advice)
    return findings


def check_prefect(url: str, clock: Clock) -> list[Finding]:
    """Whether a Prefect server answers, fits our client, and its scheduler plans the runs of its deployments."""
    base, ours = url.rstrip("/"), metadata.version("prefect")
    try:
        _, theirs = _ask(f"{base}/health")
        version, _ = _ask(f"{base}/admin/version")
        scheduler = _of_scheduler(base, clock())
    except urllib.error.HTTPError as fault:
        return [_refused("prefect", "PREFECT_API_URL", url, fault)]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        return [_silent("prefect", "PREFECT_API_URL", url, fault)]
    fits = str(version).split(".")[:2] == ours.split(".")[:2]
    answer = f"{shown(url)} answers, version {version}"
    first = Finding("prefect", "ok", answer) if fits else _other_release(answer, ours)
    return [first, _skew("prefect", theirs, clock), scheduler]


def _other_release(answer: str, ours: str) -> Finding:
    advice = "Run the server of the same release as the client; the first two numbers must agree."
    return Finding("prefect", "problem", f"{answer}, and our client is {ours}", advice)


def _of_scheduler(base: str, now: datetime) -> Finding:
    """/health stays 200 when the scheduler is dead; but then nothing is planned for a deployment with a schedule."""
    asked = {"limit": 200, "deployments": {"paused": {"eq_": False}}}
    deployments, _ = _ask(f"{base}/deployments/filter", asked)
    scheduled = [d for d in deployments if any(s["active"] for s in d["schedules"]) and _age(d, now) > GRACE]
    if not scheduled:
        return Finding("scheduler", "ok", "no deployment with a schedule is old enough to tell whether it works")
    ids = {"any_": [d["id"] for d in scheduled]}
    planned = {"type": {"any_": ["SCHEDULED"]}}
    runs, _ = _ask(f"{base}/flow_runs/filter", {"limit": 200, "flow_runs": {"deployment_id": ids, "state": planned}})
    idle = sorted({d["name"] for d in scheduled} - {d["name"] for d in scheduled if d["id"] in _planned(runs)})
    if idle:
        advice = "Start the Prefect server again; where it comes back, see that sqlalchemy is below 2.1 there."
        return Finding("scheduler", "problem", f"it plans no run for {', '.join(idle)}: it is dead", advice)
    late = [run for run in runs if now - datetime.fromisoformat(run["expected_start_time"]) > GRACE]
    if late:
        advice = "Run 'homeostat up', or look at its runner in 'homeostat logs'."
        return Finding("scheduler", "warning", f"it lives, but {len(late)} runs wait and nobody takes them", advice)
    return Finding("scheduler", "ok", f"it has planned runs of {len(scheduled)} deployments")


def _planned(runs: list[dict[str, Any]]) -> set[str]:
    return {run["deployment_id"] for run in runs}


def _age(deployment: dict[str, Any], now: datetime) -> timedelta:
    return now - datetime.fromisoformat(deployment["updated"])


def check_up(root: Path, clock: Clock) -> list[Finding]:
    """Whether `homeostat up` runs on a state, and how its services are."""
    notes = read_notes(root)
    if not notes:
        return [Finding("up", "ok", f"'homeostat up' does not run on {root}")]
    dead = [file.name for file, note in notes.items() if not is_alive(int(note.get("pid", 0)))]
    findings = [
        Finding("up", "warning", f"{root / name} is of a process that is dead", "Run 'homeostat up' again.")
        for name in dead
    ]
    living = {name: service for name, service, _ in _services(notes)}
    findings += [_of_service(name, service) for name, service in living.items()]
    if "runner" in living:
        findings += _of_runner(root / "runner.json", clock())
    return findings


def _of_service(name: str, service: dict[str, Any]) -> Finding:
    state = STATES.get(service.get("state", ""), "problem")
    restarts = f", started {service['restarts']} times again" if service.get("restarts") else ""
    state_text = f"{service.get('state')}{restarts}" + (f": {service['problem']}" if service.get("problem") else "")
    advice = "" if state == "ok" else f"See {service.get('log') or 'its log'}."
    return Finding(f"up: {name}", state, state_text, advice)


def _of_runner(file: Path, now: datetime) -> list[Finding]:
    try:
        beat = json.loads(file.read_text(encoding="utf-8"))
        age = (now - datetime.fromisoformat(beat["at"])).total_seconds()
    except (OSError, ValueError, KeyError):
        return [Finding("up: heartbeat", "warning", f"{file} cannot be read", "See the runner's log.")]
    if age > BEAT_SECONDS:
        return [Finding("up: heartbeat", "problem", f"the runner was last heard of {age:.0f} s ago", "See its log.")]
    return [Finding("up: heartbeat", "ok", f"the runner was heard of {age:.0f} s ago")]


def read_notes(root: Path) -> dict[Path, dict[str, Any]]:
    """The status that every `homeostat up` on a state keeps of its services, by its file."""
    notes: dict[Path, dict[str, Any]] = {}
    for file in sorted(root.glob("services*.json")):
        with suppress(OSError, ValueError):
            notes[file] = json.loads(file.read_text(encoding="utf-8"))
    return notes


def list_addresses(root: Path) -> dict[str, str]:
    """Where the services answer that a living `homeostat up` runs or has adopted."""
    return {name: service["url"] for name, service, _ in _services(read_notes(root)) if service.get("url")}


def _services(notes: dict[Path, dict[str, Any]]) -> list[tuple[str, dict[str, Any], Path]]:
    return [
        (name, service, file)
        for file, note in notes.items()
        if is_alive(int(note.get("pid", 0)))
        for name, service in note.get("services", {}).items()
    ]


def _ask(url: str, body: dict[str, Any] | None = None) -> tuple[Any, datetime | None]:
    """A server's answer, and the time by its clock; a user and a password in the address go into a header."""
    parts = urlsplit(url)
    request = urllib.request.Request(shown(url), None if body is None else json.dumps(body).encode())
    if body is not None:
        request.add_header("Content-Type", "application/json")
    if parts.username:
        pair = f"{parts.username}:{parts.password or ''}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    local = parts.hostname in ("127.0.0.1", "localhost")
    opener = urllib.request.build_opener(*[urllib.request.ProxyHandler({})] if local else [])
    with opener.open(request, timeout=ANSWER_SECONDS) as answer:
        text, date = answer.read().decode("utf-8", "replace"), answer.headers.get("Date")
    at = parsedate_to_datetime(date) if date else None
    try:
        return json.loads(text), at
    except ValueError:
        return text.strip(), at


def _skew(name: str, theirs: datetime | None, clock: Clock) -> Finding:
    if theirs is None:
        return Finding(f"clock of {name}", "ok", "it does not say")
    return tell_skew(name, theirs, clock())


def _refused(name: str, variable: str, url: str, fault: urllib.error.HTTPError) -> Finding:
    answer = f"{shown(url)} answers with {fault.code}"
    if fault.code in (401, 403):
        hosts = " and to MLFLOW_SERVER_ALLOWED_HOSTS of the server" if name == "mlflow" else ""
        return Finding(name, "problem", answer, f"Look at the credentials in {variable}{hosts}.")
    return Finding(name, "problem", answer, f"Look at that server's log, or mend {variable}.")


def _silent(name: str, variable: str, url: str, fault: Exception) -> Finding:
    reason = str(getattr(fault, "reason", fault)) or type(fault).__name__
    advice = f"Start that server, or unset {variable} to run on one that 'homeostat up' starts."
    return Finding(name, "problem", f"no server answers at {shown(url)}: {reason}", advice)
