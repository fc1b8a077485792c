"""What happened, told to Prefect as an event, whose automations wake the deployment that looks after it.

Events only wake: the store is the queue, and the next sweep makes good one that nobody heard. Told by plain HTTP, so
that whoever posts an answer or approves a model need not load Prefect.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.request
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from homeostat.flows.servers.spec import opener_for

if TYPE_CHECKING:
    from homeostat.flows.loop import Loop

INPUTS_ARRIVED = "homeostat.inputs.arrived"
LABELS_ARRIVED = "homeostat.labels.arrived"
RETRAINING_DECIDED = "homeostat.retraining.decided"
MODEL_APPROVED = "homeostat.model.approved"
MODEL_REJECTED = "homeostat.model.rejected"
ALERT_RAISED = "homeostat.alert.raised"

TIMEOUT_SECONDS = 10.0
"""Long for a busy server; one that is not there refuses at once."""


def resource_of(project: str) -> str:
    """The id by which a project's events are told apart."""
    return f"homeostat.project.{project}"


def announce(event: str, project: str, payload: Mapping[str, Any]) -> bool:
    """Tell Prefect that something happened to a project; False, and no error, where nobody could be told.

    The server is that of `PREFECT_API_URL`, with `PREFECT_API_KEY` or `PREFECT_API_AUTH_STRING` where they are set.
    """
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return False
    message = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": {"prefect.resource.id": resource_of(project), "prefect.resource.name": project},
        "payload": dict(payload),
    }
    with suppress(OSError, ValueError, TypeError):
        request = urllib.request.Request(f"{url.rstrip('/')}/events", json.dumps([message]).encode(), _headers())
        with opener_for(url).open(request, timeout=TIMEOUT_SECONDS) as answer:
            return 200 <= answer.status < 300
    return False


def announce_word(loop: Loop, event: str, payload: Mapping[str, Any]) -> None:
    """Announce a person's word about a loop; what is said to a replay is not told."""
    if not loop.replaying:
        announce(event, loop.project.name, payload)


def _headers() -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif words := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(words.encode()).decode()}"
    return headers
