"""What a live tick leaves in the Prefect UI: a table of what each stage did, and links to what it looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from homeostat.errors import HomeostatError
from homeostat.flows.loop import Loop
from homeostat.installation import find_mlflow_url, find_service_url
from homeostat.monitoring.report.decisions import meaning_of
from homeostat.registry.pages import version_page


def leave_artifacts(loop: Loop, at: str, outcomes: Mapping[str, Mapping[str, Any]]) -> None:
    """Leave the artifacts `NAME-tick` (a table) and `NAME-links` (Markdown), newer versions of the earlier ones.

    Call it inside of a flow run.
    """
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    key = artifact_key(loop.project.name)
    table = [{"stage": stage, "did": describe_outcome(outcome, stage)} for stage, outcome in outcomes.items()]
    create_table_artifact(table=table, key=f"{key}-tick", description=f"The tick of {loop.project.name} at {at}.")
    if lines := list_links(loop):
        create_markdown_artifact(markdown="\n".join(lines), key=f"{key}-links", description=f"As of {at}.")


def artifact_key(name: str) -> str:
    """A project's name as Prefect takes it in a key: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "project"


def describe_outcome(outcome: Mapping[str, Any], stage: str = "") -> str:
    """What a stage did, in a line.

    >>> describe_outcome({"rows": 24, "batches": 1}, "ingest")
    'rows 24, batches 1'
    >>> describe_outcome({"alarm": "quiet", "decision": "wait", "reasons": ["no new labels"]}, "decide")
    'No alarm; Decided not to train: no new labels'
    """
    if stage == "decide" and {"alarm", "decision"} <= set(outcome):
        alarm, retraining = meaning_of("alarm", outcome["alarm"]), meaning_of("retraining", outcome["decision"])
        reasons = "; ".join(outcome.get("reasons", ()))
        return f"{alarm.title}; {retraining.title}" + (f": {reasons}" if reasons else "")
    return ", ".join(f"{name} {value}" for name, value in outcome.items()) or "nothing to do"


def list_links(loop: Loop) -> list[str]:
    """Lines of Markdown with links to the champion, the newest check and the console, where their pages are known."""
    mlflow = find_mlflow_url(loop.project, loop.paths.tracking_uri)
    console = find_service_url(loop.project, "console", "HOMEOSTAT_CONSOLE_UI")
    lines = [f"- [The console page of {loop.project.name}]({console}/)"] if console else []
    if mlflow is None:
        return lines
    with suppress(HomeostatError):
        champion = loop.version_of("champion")
        if champion is not None:
            page = version_page(mlflow, loop.paths.model_name, champion)
            lines.append(f"- [Version {champion}, the champion]({page})")
        checks = loop.store.list_checks(newest=1)
        if checks and checks[0].run_id:
            experiment = loop.models.tracking.experiment("monitoring")
            page = f"{mlflow}/#/experiments/{experiment}/runs/{checks[0].run_id}/artifacts"
            lines.append(f"- [The check of batch {checks[0].batch}, with Evidently's page]({page})")
    return lines
