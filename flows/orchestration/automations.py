"""Prefect automations of a project: which of its deployments an event starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from homeostat.flows import events

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import Automation, AutomationCore

# The event, in words for the automation's name, and the flow whose deployment it starts.
WAKES = {
    events.INPUTS_ARRIVED: ("inputs arrived", "arrivals"),
    events.LABELS_ARRIVED: ("labels arrived", "labels"),
    events.RETRAINING_DECIDED: ("retraining decided", "act"),
    events.MODEL_APPROVED: ("model approved", "deliver"),
    events.ALERT_RAISED: ("alert raised", "deliver"),
}


def automation_name(project: str, words: str) -> str:
    """The name by which an automation is found again."""
    return f"homeostat {project}: {words}"


def build_automations(project: str, deployments: Mapping[str, UUID]) -> list[AutomationCore]:
    """The automations of a project; `deployments` has the id of each flow's deployment."""
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    resource = {"prefect.resource.id": events.resource_of(project)}
    return [
        AutomationCore(
            name=automation_name(project, words),
            description=f"Starts {flow}/{project} on {event}. Made by Homeostat.",
            trigger=EventTrigger(
                expect={event},
                match=ResourceSpecification.model_validate(resource),
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[_run(deployments[flow])],
        )
        for event, (words, flow) in WAKES.items()
    ]


async def put_automations(client: PrefectClient, project: str, deployments: Mapping[str, UUID]) -> None:
    """Create the automations of a project, or bring them up to date; said again, nothing changes."""
    for automation in build_automations(project, deployments):
        existing = await client.read_automations_by_name(automation.name)
        if not existing:
            await client.create_automation(automation)
            continue
        if _differs(existing[0], automation):
            await client.update_automation(existing[0].id, automation)
        for surplus in existing[1:]:
            await client.delete_automation(surplus.id)


async def drop_automations(client: PrefectClient, project: str) -> None:
    """Take the automations of a project away."""
    for words, _ in WAKES.values():
        for existing in await client.read_automations_by_name(automation_name(project, words)):
            await client.delete_automation(existing.id)


def _run(deployment: UUID) -> RunDeployment:
    from prefect.events.actions import RunDeployment

    return RunDeployment(source="selected", deployment_id=deployment, parameters=None, job_variables=None)


def _differs(existing: Automation, wanted: AutomationCore) -> bool:
    return any(getattr(existing, part) != getattr(wanted, part) for part in ("description", "trigger", "actions"))
