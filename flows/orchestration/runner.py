"""The process that runs the flows of every project of an installation.

Started as `python -m homeostat.flows.orchestration.runner --root ROOT PLACE...`.

It serves the deployments of all projects in its places on the Prefect server of `PREFECT_API_URL`, each flow run a
process; finds new, changed and removed projects by itself; and writes what it finds to `ROOT/runner.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from homeostat.errors import HomeostatError
from homeostat.flows.locks import exclusive
from homeostat.flows.orchestration.file_watch import FileWatch
from homeostat.flows.orchestration.heartbeat import Beat, write_heartbeat
from homeostat.installation import Found, list_projects
from homeostat.project import Project

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.runner import Runner

BEAT_SECONDS = 5.0
SCAN_SECONDS = 5.0
POLL_SECONDS = 10.0
RETRY_SECONDS = 3.0
MOST_RUNS = 4
MARK = "homeostat"
PAGE = 200
SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PYTHONSAFEPATH": "1",
}

log = logging.getLogger("homeostat.runner")


@dataclass(slots=True)
class Served:
    """A project that is deployed: its file's stamp then, and the ids of its deployments by their flows."""

    project: Project
    stamp: int
    deployments: dict[str, UUID] = field(default_factory=dict)


class Keeper:
    """Keeps a Prefect runner in this process, and in it the deployments of whatever projects there are."""

    def __init__(self, root: Path, places: Sequence[Path], poll_seconds: float = POLL_SECONDS) -> None:
        self._root, self._places = root, [place.resolve() for place in places]
        self._poll_seconds = poll_seconds
        self._served: dict[str, Served] = {}
        self._failed: dict[Path, tuple[int, str]] = {}
        self._projects: list[Found] = []
        self._files = FileWatch()

    async def run(self) -> None:
        """Serve until cancelled; a server that goes away is waited for, and told everything anew."""
        # Runs are processes of their own: this is how they find the pages to link to.
        os.environ["HOMEOSTAT_INSTALLATION"] = str(self._root)
        self._scan()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._files.run())
            while True:
                try:
                    await self._serve()
                except Exception as fault:
                    log.warning(
                        "the Prefect server cannot be reached, or the runner failed: %s; retrying", _reason(fault)
                    )
                self._served.clear()
                await asyncio.sleep(RETRY_SECONDS)

    async def _serve(self) -> None:
        """Run one Prefect runner until it fails."""
        from prefect.client.orchestration import get_client
        from prefect.runner import Runner

        async with get_client() as client:
            await self._tidy(client)
            runner = Runner(name=MARK, query_seconds=self._poll_seconds, limit=MOST_RUNS, pause_on_shutdown=False)
            serving = asyncio.create_task(runner.start())
            try:
                while not runner.started and not serving.done():
                    await asyncio.sleep(0.05)
                stop_in_order()
                while not serving.done():
                    self._scan()
                    await self._deploy(runner, client)
                    await asyncio.wait([serving], timeout=SCAN_SECONDS)
                serving.result()
            finally:
                serving.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await serving

    def _scan(self) -> None:
        self._projects = list_projects([place for place in self._places if place.is_dir()])
        self._files.watch([entry.project for entry in self._projects if entry.project is not None])

    async def _deploy(self, runner: Runner, client: PrefectClient) -> None:
        for entry in self._projects:
            stamp = _stamp(entry.folder)
            if entry.project is None or self._failed.get(entry.folder, (None, ""))[0] == stamp:
                continue
            served = self._served.get(entry.project.name)
            if served is None or served.stamp != stamp or served.project.folder != entry.folder:
                await self._deploy_one(runner, client, entry.project, stamp)
        # A project whose file is broken for now keeps what was deployed.
        folders = {entry.folder for entry in self._projects}
        for name in [name for name, served in self._served.items() if served.project.folder not in folders]:
            await remove(client, name, list(self._served.pop(name).deployments.values()))
            log.info("%s: removed", name)

    async def _deploy_one(self, runner: Runner, client: PrefectClient, project: Project, stamp: int) -> None:
        from homeostat.flows.orchestration.automations import put_automations
        from homeostat.flows.orchestration.deployments import build_deployments, place_in

        served = Served(project, stamp)
        try:
            for deployment in await asyncio.to_thread(build_deployments, project):
                place_in(deployment, None, {})
                served.deployments[str(deployment.flow_name)] = await runner.aadd_deployment(deployment)
        except HomeostatError as fault:
            self._failed[project.folder] = (stamp, str(fault))
            log.error("%s: not deployed: %s", project.name, fault)
            return
        self._failed.pop(project.folder, None)
        await put_automations(client, project.name, served.deployments)
        # What is due already does not wait for the next cron.
        await client.create_flow_run_from_deployment(served.deployments["sweep"])
        log.info("%s: %s", project.name, "redeployed" if project.name in self._served else "deployed")
        self._served[project.name] = served

    async def _tidy(self, client: PrefectClient) -> None:
        """Before anything runs: end what a killed runner left behind, and forget projects that are gone."""
        from homeostat.flows.orchestration.orphaned_runs import drop_missed, end_orphans

        mine = await self._list_mine(client)
        folders = {entry.folder for entry in self._projects}
        gone = [deployment for deployment in mine if Path(deployment.parameters["folder"]) not in folders]
        kept = [deployment for deployment in mine if deployment not in gone]
        ended = await end_orphans(client, [deployment.id for deployment in kept])
        dropped = await drop_missed(
            client, [deployment.id for deployment in kept if deployment.schedules], datetime.now(UTC)
        )
        if ended or dropped:
            log.info("%d killed runs marked as crashed, %d missed runs dropped in favour of the newest", ended, dropped)
        for name in {deployment.name for deployment in gone}:
            await remove(client, name, [deployment.id for deployment in gone if deployment.name == name])

    async def _list_mine(self, client: PrefectClient) -> list[DeploymentResponse]:
        """The deployments whose project lies, or lay, in one of our places."""
        from prefect.client.schemas.filters import DeploymentFilter

        marked = DeploymentFilter.model_validate({"tags": {"all_": [MARK]}})
        deployments: list[DeploymentResponse] = []
        while page := await client.read_deployments(deployment_filter=marked, limit=PAGE, offset=len(deployments)):
            deployments += page
        return [
            deployment for deployment in deployments if self._is_mine(Path(deployment.parameters.get("folder", "/")))
        ]

    def _is_mine(self, folder: Path) -> bool:
        return folder in self._places or folder.parent in self._places

    async def _beat(self) -> None:
        while True:
            write_heartbeat(self._root, self._describe())
            await asyncio.sleep(BEAT_SECONDS)

    def _describe(self) -> dict[str, Beat]:
        report: dict[str, Beat] = {}
        for entry in self._projects:
            name = entry.folder.name if entry.project is None else entry.project.name
            stamp, words = self._failed.get(entry.folder, (None, None))
            problem = entry.problem or (words if stamp == _stamp(entry.folder) else None)
            report[name] = {"folder": str(entry.folder), "problem": problem}
        return report


async def remove(client: PrefectClient, name: str, deployments: Sequence[UUID]) -> None:
    """Take a project's deployments and automations away; what its runs left stays to be seen."""
    from prefect.exceptions import ObjectNotFound

    from homeostat.flows.orchestration.automations import drop_automations

    await drop_automations(client, name)
    for deployment in deployments:
        with suppress(ObjectNotFound):
            await client.delete_deployment(deployment)


def stop_in_order() -> None:
    """End on SIGTERM and Ctrl-C as by a cancellation: what runs is ended, and Prefect is told."""
    task = asyncio.current_task()
    assert task is not None
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, task.cancel)


def _stamp(folder: Path) -> int:
    file = folder / "homeostat.toml"
    return file.stat().st_mtime_ns if file.exists() else 0


def _reason(fault: BaseException) -> str:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]


async def _main(keeper: Keeper) -> None:
    stop_in_order()
    with suppress(asyncio.CancelledError):
        await keeper.run()


def main() -> int:
    """Run until a signal ends it."""
    parser = argparse.ArgumentParser(prog="homeostat.flows.orchestration.runner")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--poll", type=float, default=POLL_SECONDS, help="Seconds between looks for due runs.")
    parser.add_argument("places", type=Path, nargs="+")
    given = parser.parse_args()
    for name, value in {**SETTINGS, "PREFECT_HOME": str(given.root / "prefect")}.items():
        os.environ.setdefault(name, value)
    os.environ.pop("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", None)
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    try:
        with exclusive(given.root / "runner", f"a runner of {given.root}"):
            asyncio.run(_main(Keeper(given.root, given.places, given.poll)))
    except HomeostatError as fault:
        log.error("%s", fault)
        return fault.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
