"""Flow runs that Prefect still calls running though the process that ran them was killed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

WHY = "The process of this run was killed; the next tick or sweep does the rest."
UNFINISHED = ["RUNNING", "PENDING", "CANCELLING"]


def end_orphaned_ticks(project: str, scope: str) -> int:
    """Call the ticks of a project crashed that still seem to run; returns how many.

    Call it while the project is claimed, before a tick is begun: then none can be running.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
    from prefect.states import Crashed

    named = FlowFilter.model_validate({"name": {"any_": ["tick"]}})
    runs = FlowRunFilter.model_validate({"state": {"type": {"any_": UNFINISHED}}, "tags": {"all_": [project, scope]}})
    with get_client(sync_client=True) as client:
        unfinished = client.read_flow_runs(flow_filter=named, flow_run_filter=runs)
        for run in unfinished:
            client.set_flow_run_state(run.id, Crashed(message=WHY), force=True)
    return len(unfinished)


async def end_orphans(client: PrefectClient, deployments: Sequence[UUID]) -> int:
    """Call the runs of these deployments crashed that still seem to run; returns how many.

    Call it while nothing is being run for them: Prefect itself would call them running for ever.
    """
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Crashed

    if not deployments:
        return 0
    wanted = {"state": {"type": {"any_": UNFINISHED}}, "deployment_id": {"any_": list(deployments)}}
    unfinished = await client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))
    for run in unfinished:
        await client.set_flow_run_state(run.id, Crashed(message=WHY), force=True)
    return len(unfinished)


async def drop_missed(client: PrefectClient, deployments: Sequence[UUID], before: datetime) -> int:
    """Of each deployment's runs that were scheduled before a time and not begun, keep the newest: it does all.

    After some minutes without a runner, dozens would start in the same second and wait for each other.
    """
    from prefect.client.schemas.filters import FlowRunFilter

    dropped = 0
    for deployment in deployments:
        wanted = {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "deployment_id": {"any_": [deployment]},
            "expected_start_time": {"before_": before},
        }
        scheduled = await client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))
        late = sorted(
            (run for run in scheduled if run.auto_scheduled), key=lambda run: run.expected_start_time or before
        )
        for run in late[:-1]:
            await client.delete_flow_run(run.id)
            dropped += 1
    return dropped
